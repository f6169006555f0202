//! A sheet: the bodies and files of a run, with like beside like (PROTOCOL.md section 3.1).
//!
//! Invoices are XML: the same few hundred marks in nearly the same order, some 300 of them in a
//! file of 5.5 kB, and zstd spends half of its bytes on saying so again. A sheet says each mark
//! once, their order as a walk in which the usual next step is a zero, and what stands behind each
//! mark in one column, as stores by column do (Stonebraker et al., "C-Store", VLDB 2005; for the
//! lines of a log Rodrigues et al., "CLP", OSDI 2021). No rule of XML has to hold: any bytes are
//! laid out, and come back the same.
//!
//! A body tells its file's hash three times, and 32 random bytes are what no compression finds.
//! Whoever has the file can compute it, so a sheet leaves it out.

use std::collections::BTreeMap;

use memchr::{memchr, memchr_iter, memmem};

use crate::{bundle::Body, chunk::reader::Reader, fault::Fault, id::BlobHash, limits};

/// Begins a mark, and ends the text before it. `>` ends the mark.
const OPEN: u8 = b'<';
const CLOSE: u8 = b'>';
/// Steps of the walk: to the mark that followed the last time, to the next that was not met before;
/// any other number is the place of a mark, and one.
const USUAL: usize = 0;
const NEW: usize = 1;
/// Shortest part of a hash that is left out: what a document's id has of it.
const NAME_BYTES_MIN: usize = 15;

/// What a sheet says.
pub(super) struct Sheet {
    /// All bodies.
    pub bodies: Vec<u8>,
    /// All files.
    pub inline: Vec<u8>,
    /// Length and hash of each file.
    pub files: Vec<(usize, BlobHash)>,
}

/// Lays out bundles, each a body and its inline files; `None` where that would not be shorter, a
/// body does not tell of its files, or there are more marks than [`limits::SHEET_MARKS_MAX`].
pub(super) fn lay(bundles: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    let (mut text, mut notes, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    let mut bodies_len = 0;
    for (body, inline) in bundles {
        leave_out(body, inline.len(), &mut notes, &mut rest)?;
        text.extend_from_slice(inline);
        bodies_len += body.len();
    }
    let mut sheet = Vec::with_capacity((text.len() + bodies_len) / 2);
    by_columns(&text, &mut sheet)?;
    sheet.extend(notes);
    sheet.extend(rest);
    (sheet.len() < text.len() + bodies_len).then_some(sheet)
}

/// Reads a sheet of bodies of these lengths and of `inline` bytes of files.
///
/// # Errors
/// [`Fault::Malformed`]. Memory is bounded by a few times what the lengths say.
pub(super) fn read(sheet: &[u8], bodies: &[u32], inline: usize) -> Result<Sheet, Fault> {
    let mut reader = Reader(sheet);
    let text = from_columns(&mut reader, inline)?;
    let (mut files, mut names) = (Vec::new(), Vec::new());
    let mut unread = text.as_slice();
    for len in bodies {
        let first = files.len();
        for _ in 0..at_most(number(&mut reader)?, limits::BODY_BLOBS_MAX)? {
            let len = number(&mut reader)?;
            let (file, behind) = unread.split_at_checked(len).ok_or(Fault::Malformed)?;
            files.push((len, BlobHash::of(file)));
            unread = behind;
        }
        // How much of the body is not accounted for: a name has a length, so names have an end.
        let mut left = *len as usize;
        for _ in 0..number(&mut reader)? {
            let gap = at_most(number(&mut reader)?, left)?;
            let file = at_most(number(&mut reader)?, limits::BODY_BLOBS_MAX)?;
            let len = at_most(number(&mut reader)?, left - gap)?;
            if len < NAME_BYTES_MIN || first + file >= files.len() {
                return Err(Fault::Malformed);
            }
            left -= gap + len;
            names.push(Name { gap, file: first + file, len });
        }
        names.push(Name { gap: left, file: 0, len: 0 });
    }
    let mut all = Vec::with_capacity(bodies.iter().map(|len| *len as usize).sum());
    for Name { gap, file, len } in names {
        all.extend_from_slice(part(&mut reader, gap)?);
        if len > 0 {
            let (file, hash) = files[file];
            all.extend_from_slice(name(&hash, file).get(..len).ok_or(Fault::Malformed)?);
        }
    }
    let whole = unread.is_empty() && reader.0.is_empty();
    if whole { Ok(Sheet { bodies: all, inline: text, files }) } else { Err(Fault::Malformed) }
}

/// A file's name inside a body, or the end of the body, of which it says nothing.
struct Name {
    /// Bytes before it.
    gap: usize,
    /// Whose name, among all files.
    file: usize,
    /// How much of it.
    len: usize,
}

/// Adds the note about a body's files and where it tells their hashes, and the rest of it.
fn leave_out(body: &[u8], inline: usize, notes: &mut Vec<u8>, rest: &mut Vec<u8>) -> Option<()> {
    let told = Body::decode(body).ok()?;
    let files: Vec<_> = told.blobs.iter().filter(|blob| blob.is_inline()).collect();
    if files.iter().map(|blob| blob.len).sum::<u64>() != inline as u64 {
        return None;
    }
    put(notes, files.len());
    let mut names = Vec::new();
    for (file, blob) in files.iter().enumerate() {
        put(notes, usize::try_from(blob.len).ok()?);
        let name = name(&blob.hash, blob.len as usize);
        for at in memmem::find_iter(body, &name[..NAME_BYTES_MIN]) {
            let alike = body[at..].iter().zip(&name).take_while(|(one, other)| one == other);
            names.push((at, file, alike.count()));
        }
    }
    names.sort_unstable();
    let mut end = 0;
    names.retain(|(at, _, len)| {
        let apart = *at >= end;
        end = if apart { at + len } else { end };
        apart
    });
    put(notes, names.len());
    let mut end = 0;
    for (at, file, len) in names {
        [at - end, file, len].into_iter().for_each(|number| put(notes, number));
        rest.extend_from_slice(&body[end..at]);
        end = at + len;
    }
    rest.extend_from_slice(&body[end..]);
    Some(())
}

/// What a body says of a file that it brings: hash and length.
fn name(hash: &BlobHash, len: usize) -> Vec<u8> {
    let mut name = hash.as_bytes().to_vec();
    put(&mut name, len);
    name
}

/// Adds to `sheet` the marks of `text`, the walk over them, and the texts behind each of them. The
/// first mark is empty and stands before everything.
fn by_columns(text: &[u8], sheet: &mut Vec<u8>) -> Option<()> {
    let mut marks = vec![Mark::default()];
    let mut places = BTreeMap::new();
    let mut walk = Vec::new();
    let (mut here, mut rest) = (0, text);
    loop {
        let end = memchr(OPEN, rest).unwrap_or(rest.len());
        let (behind, after) = rest.split_at(end);
        marks[here].says(behind);
        rest = after;
        if rest.is_empty() {
            break;
        }
        let usual = Some(marks[here].next)
            .filter(|usual| *usual > 0 && rest.starts_with(marks[*usual].mark));
        let (step, there) = usual.map_or_else(
            || {
                let mark = &rest[..memchr(CLOSE, rest).map_or(rest.len(), |end| end + 1)];
                let there = *places.entry(mark).or_insert(marks.len());
                if there < marks.len() {
                    return (there + 1, there);
                }
                marks.push(Mark { mark, ..Mark::default() });
                (NEW, there)
            },
            |usual| (USUAL, usual),
        );
        if marks.len() > limits::SHEET_MARKS_MAX {
            return None;
        }
        put(&mut walk, step);
        marks[here].next = there;
        rest = &rest[marks[there].mark.len()..];
        here = there;
    }
    put(sheet, marks.len());
    for mark in &marks {
        put(sheet, mark.mark.len() * 2 + usize::from(mark.says));
        sheet.extend_from_slice(mark.mark);
    }
    put(sheet, walk.len());
    sheet.extend(walk);
    marks.iter().filter(|mark| mark.says).for_each(|mark| sheet.extend_from_slice(&mark.texts));
    Some(())
}

/// Reads `len` bytes that [`by_columns`] laid out.
fn from_columns(reader: &mut Reader<'_>, len: usize) -> Result<Vec<u8>, Fault> {
    let mut marks = Vec::new();
    for _ in 0..at_most(number(reader)?, limits::SHEET_MARKS_MAX)? {
        let said = number(reader)?;
        let mark = part(reader, said / 2)?;
        marks.push(Column { mark, says: said % 2 == 1, ..Column::default() });
    }
    let first = marks.first_mut().filter(|first| first.mark.is_empty());
    first.ok_or(Fault::Malformed)?.times = 1;
    let steps = number(reader)?;
    let mut steps = Reader(part(reader, steps)?);
    let mut walk = vec![0];
    let (mut here, mut met, mut left) = (0, 0, len);
    while !steps.0.is_empty() {
        let there = match number(&mut steps)? {
            USUAL => marks[here].next,
            NEW => {
                met += 1;
                met
            }
            place => place - 1,
        };
        let column = marks.get_mut(there).filter(|column| !column.mark.is_empty());
        let column = column.ok_or(Fault::Malformed)?;
        // A mark is not empty, so a walk has an end.
        left = left.checked_sub(column.mark.len()).ok_or(Fault::Malformed)?;
        column.times += 1;
        marks[here].next = there;
        walk.push(there as u16);
        here = there;
    }
    for column in marks.iter_mut().filter(|column| column.says && column.times > 0) {
        let end = memchr_iter(OPEN, reader.0).nth(column.times - 1).ok_or(Fault::Malformed)?;
        column.texts = part(reader, end + 1)?;
    }
    let mut text = Vec::with_capacity(len);
    for here in walk {
        let column = &mut marks[usize::from(here)];
        let behind = if column.says { column.text()? } else { &[] };
        left = left.checked_sub(behind.len()).ok_or(Fault::Malformed)?;
        text.extend_from_slice(column.mark);
        text.extend_from_slice(behind);
    }
    if left == 0 { Ok(text) } else { Err(Fault::Malformed) }
}

/// A mark while a text is laid out.
#[derive(Default)]
struct Mark<'a> {
    mark: &'a [u8],
    /// The mark that followed it the last time; the first mark follows none.
    next: usize,
    /// What stood behind it, each text with an [`OPEN`] behind it.
    texts: Vec<u8>,
    /// Whether any of these is more than nothing.
    says: bool,
}

impl Mark<'_> {
    fn says(&mut self, behind: &[u8]) {
        self.texts.extend_from_slice(behind);
        self.texts.push(OPEN);
        self.says |= !behind.is_empty();
    }
}

/// A mark while a text is put together.
#[derive(Default)]
struct Column<'a> {
    mark: &'a [u8],
    next: usize,
    says: bool,
    /// How often the walk comes here.
    times: usize,
    /// What is still to stand behind it.
    texts: &'a [u8],
}

impl<'a> Column<'a> {
    fn text(&mut self) -> Result<&'a [u8], Fault> {
        let end = memchr(OPEN, self.texts).ok_or(Fault::Malformed)?;
        let (text, rest) = self.texts.split_at(end);
        self.texts = &rest[1..];
        Ok(text)
    }
}

fn at_most(number: usize, max: usize) -> Result<usize, Fault> {
    if number <= max { Ok(number) } else { Err(Fault::Malformed) }
}

fn part<'a>(reader: &mut Reader<'a>, len: usize) -> Result<&'a [u8], Fault> {
    reader.take(len).map_err(|_| Fault::Malformed)
}

fn number(reader: &mut Reader<'_>) -> Result<usize, Fault> {
    let number = reader.u64().map_err(|_| Fault::Malformed)?;
    usize::try_from(number).map_err(|_| Fault::Malformed)
}

/// Adds a number as LEB128.
fn put(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        bundle::{BlobRef, Item},
        id::DocumentId,
    };
    const INVOICE: &str = "<?xml version=\"1.0\"?>\n<Fattura><Riga><N>1</N><Q>2.00</Q></Riga>\
        <Riga><N>2</N><Q/></Riga>\n<Riga><N>3</N></Riga></Fattura>";

    /// A body that brings these files, and says of which invoice each is.
    fn body(files: &[Vec<u8>]) -> Vec<u8> {
        let items = files.iter().map(|file| {
            let original = BlobHash::of(file);
            Item::Change {
                document: DocumentId::invoice(&original),
                change: original.as_bytes().to_vec(),
            }
        });
        let blobs = files.iter().map(|file| BlobRef::of(file)).collect();
        Body { written_ms: 7, items: items.collect(), blobs }.encode().unwrap()
    }

    /// Lays out bundles of these files and reads them back; how long the sheet was.
    fn there_and_back(bundles: &[Vec<Vec<u8>>]) -> Option<usize> {
        let all: Vec<_> = bundles.iter().map(|files| (body(files), files.concat())).collect();
        let parts: Vec<_> = all.iter().map(|(body, inline)| (&body[..], &inline[..])).collect();
        let sheet = lay(&parts)?;
        let lens: Vec<_> = all.iter().map(|(body, _)| body.len() as u32).collect();
        let (bodies, inline): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let inline = inline.concat();
        let back = read(&sheet, &lens, inline.len()).unwrap();
        assert_eq!(back.bodies, bodies.concat());
        assert_eq!(back.inline, inline);
        let names = bundles.iter().flatten().map(|file| (file.len(), BlobHash::of(file)));
        assert_eq!(back.files, names.collect::<Vec<_>>());
        Some(sheet.len())
    }

    #[test]
    fn what_repeats_is_said_once_and_hashes_not_at_all() {
        let invoices: Vec<_> = (0..50)
            .map(|n| vec![INVOICE.replace("2.00", &format!("{n}.00")).into_bytes()])
            .collect();
        let len = there_and_back(&invoices).unwrap();
        // A body is 93 bytes of which 79 are its file's hash; of the file, 13 steps and four texts.
        assert!(len < 50 * 60, "{len}");
    }

    #[test]
    fn files_that_are_no_xml_come_back_too() {
        let odd: [&[u8]; 8] =
            [b"", b"<", b">", b"<<>", b"a", b"<a", b"a<b>c<b>c<b", b"<><><>\0<a>\xff<a>"];
        let again = [odd.concat(), odd.concat(), vec![b'<'; 400], b"<a>x".repeat(90)];
        let files: Vec<_> = odd.iter().map(|file| file.to_vec()).chain(again).collect();
        assert!(there_and_back(&[files.clone(), vec![], files]).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            bundles in prop::collection::vec(
                prop::collection::vec("[<>a-c/]{0,40}".prop_map(String::into_bytes), 0..4),
                0..12,
            )
        ) {
            there_and_back(&bundles);
        }

        #[test]
        fn a_sheet_that_was_changed_is_read_or_refused(
            flips in prop::collection::vec((0_usize..600, 0_u8..=255), 1..4),
            cut in 0_usize..600,
        ) {
            let files = vec![INVOICE.as_bytes().to_vec(), INVOICE.repeat(2).into_bytes()];
            let (body, inline) = (body(&files), files.concat());
            let mut sheet = lay(&[(&body[..], &inline[..])]).unwrap();
            for (at, byte) in flips {
                let at = at % sheet.len();
                sheet[at] = byte;
            }
            sheet.truncate(cut.max(1));
            if let Ok(back) = read(&sheet, &[body.len() as u32], inline.len()) {
                prop_assert_eq!((back.bodies.len(), back.inline.len()), (body.len(), inline.len()));
            }
        }
    }
}
