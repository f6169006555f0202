//! A sheet: the bodies and files of a run, with like beside like (PROTOCOL.md section 3.1). What
//! zstd would have to say again stands where it is said once: files by [`columns`], bodies by
//! [`places`]; what a receiver can compute is left out ([`invoice`], [`notes`]), and so is what it
//! can look up ([`references`]).

mod columns;
mod invoice;
mod notes;
mod places;
mod references;

pub use self::references::{InvoiceId, Known, Reference};
use self::{
    columns::{put_text, read_text},
    notes::Note,
    places::{put_rests, read_rests},
    references::{put_references, read_references},
};
use crate::{
    chunk::reader::Reader,
    fault::Fault,
    id::{BlobHash, LogId},
};

/// What a sheet says.
pub(super) struct Sheet {
    /// All bodies.
    pub bodies: Vec<u8>,
    /// All files.
    pub inline: Vec<u8>,
    /// Length and hash of each file.
    pub files: Vec<(usize, BlobHash)>,
}

/// Lays out bundles of log `own`, each a body and its inline files, for whoever has the known
/// invoices; tells whether it refers to any. `None` where it is longer than [`len_max`], a body does
/// not tell of its files, or there are more marks than [`crate::limits::SHEET_MARKS_MAX`].
pub(super) fn lay(
    bundles: &[(&[u8], &[u8])],
    own: LogId,
    known: &Known,
) -> Option<(Vec<u8>, bool)> {
    let mut references = Vec::new();
    let files = bundles.iter().any(|(_, inline)| !inline.is_empty());
    let (mut text, mut noted, mut notes) = (Vec::new(), 0, Vec::new());
    let (mut rests, mut bodies_len, mut passed) = (Vec::with_capacity(bundles.len()), 0, 0);
    for (body, inline) in bundles {
        let note = match files || !known.is_empty() {
            true => Note::of(body, inline, known, &mut references)?,
            false => Note::default(),
        };
        if note.is_empty() {
            passed += 1;
        } else {
            put(&mut notes, passed);
            note.put(&mut notes);
            (noted, passed) = (noted + 1, 0);
        }
        rests.push(note.rest(body));
        text.extend_from_slice(inline);
        bodies_len += body.len();
    }
    let refers = !references.is_empty();
    let mut sheet = Vec::with_capacity(text.len() / 2 + bodies_len);
    if refers {
        put_references(&references, own, &mut sheet);
    }
    put_text(&text, &mut sheet)?;
    put(&mut sheet, noted);
    sheet.extend(notes);
    put_rests(&rests, &mut sheet);
    (sheet.len() <= len_max(text.len() + bodies_len)).then_some((sheet, refers))
}

/// How long a sheet may be that stands for `raw_len` bytes. One file alone repeats little, and its
/// sheet is a little longer than it is: what is in it stands in the dictionary in the same order.
pub(super) const fn len_max(raw_len: usize) -> usize {
    const NOTHING_TO_SAY: usize = 3;
    2 * raw_len + NOTHING_TO_SAY
}

/// What a sheet of log `own` refers to that does, in order.
///
/// # Errors
/// [`Fault::Malformed`]
pub(super) fn references(sheet: &[u8], own: LogId) -> Result<Vec<Reference>, Fault> {
    read_references(&mut Reader(sheet), own)
}

/// Reads a sheet of bodies of these lengths and of `inline` bytes of files. `invoices` are what
/// it refers to, if it does.
///
/// # Errors
/// [`Fault::Malformed`]. Memory is bounded by a few times what the lengths say.
pub(super) fn read(
    sheet: &[u8],
    bodies: &[u32],
    inline: usize,
    invoices: Option<&[InvoiceId]>,
) -> Result<Sheet, Fault> {
    let mut reader = Reader(sheet);
    if invoices.is_some() {
        // Whose they are was looked up: here they only have to be stepped over.
        read_references(&mut reader, LogId::from_bytes([0; 16]))?;
    }
    let mut invoices = invoices.unwrap_or_default().iter();
    let text = read_text(&mut reader, inline)?;
    let mut unread = text.as_slice();
    let mut notes = vec![Note::default(); bodies.len()];
    let mut at = 0;
    for _ in 0..at_most(number(&mut reader)?, bodies.len())? {
        at += at_most(number(&mut reader)?, bodies.len())?;
        let len = bodies.get(at).ok_or(Fault::Malformed)?;
        notes[at] = Note::read(&mut reader, *len as usize, &mut unread)?;
        at += 1;
    }
    let left = notes.iter().zip(bodies).map(|(note, len)| note.rest_len(*len as usize));
    let lens: Vec<_> = left.collect();
    let rests = read_rests(&mut reader, &lens)?;
    let mut files = Vec::new();
    let (mut all, mut rests) = (Vec::with_capacity(rests.len()), Reader(&rests));
    for (mut note, len) in notes.into_iter().zip(lens) {
        note.whole(part(&mut rests, len)?, &mut invoices, &mut all)?;
        files.append(&mut note.files);
    }
    let whole = unread.is_empty() && reader.0.is_empty() && invoices.as_slice().is_empty();
    if whole { Ok(Sheet { bodies: all, inline: text, files }) } else { Err(Fault::Malformed) }
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
fn put(out: &mut Vec<u8>, mut number: u64) {
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
        bundle::{BlobRef, Body, Item},
        document::annotation::{self, AnnotationEdit},
        id::{DocumentId, Kind, LogId},
    };
    const OWN: LogId = LogId::from_bytes([8; 16]);
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
        let (sheet, _) = lay(&parts, OWN, &Known::new())?;
        let lens: Vec<_> = all.iter().map(|(body, _)| body.len() as u32).collect();
        let (bodies, inline): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let inline = inline.concat();
        let back = read(&sheet, &lens, inline.len(), None).unwrap();
        assert_eq!(back.bodies, bodies.concat());
        assert_eq!(back.inline, inline);
        let names = bundles.iter().flatten().map(|file| (file.len(), BlobHash::of(file)));
        let names: Vec<_> = names.filter(|_| !inline.is_empty()).collect();
        assert_eq!(back.files, names);
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
    fn what_an_invoice_says_twice_is_said_once() {
        let file = |n: u64, total: &str| {
            let line = format!(
                "<Quantita>{n}.00</Quantita><PrezzoUnitario>10.50</PrezzoUnitario>\
                 <PrezzoTotale>{total}</PrezzoTotale><AliquotaIVA>22.00</AliquotaIVA>"
            );
            format!("<Denominazione>Ditta {n}</Denominazione><Numero>{n}/FE</Numero>{line}")
        };
        let bundle = |n: u64, total: &str| {
            let file = file(n, total).into_bytes();
            let original = BlobHash::of(&file);
            let change = format!("\x06Ditta {n}\x05{n}/FE").into_bytes();
            let items = vec![Item::Change { document: DocumentId::invoice(&original), change }];
            let body = Body { written_ms: 7, items, blobs: vec![BlobRef::of(&file)] };
            (body.encode().unwrap(), file)
        };
        let sheet_of = |total: &dyn Fn(u64) -> String| {
            let all: Vec<_> = (100..140).map(|n| bundle(n, &total(n))).collect();
            let parts: Vec<_> = all.iter().map(|(body, file)| (&body[..], &file[..])).collect();
            let (sheet, _) = lay(&parts, OWN, &Known::new()).unwrap();
            let lens: Vec<_> = all.iter().map(|(body, _)| body.len() as u32).collect();
            let (bodies, inline): (Vec<_>, Vec<_>) = all.iter().cloned().unzip();
            let back = read(&sheet, &lens, inline.concat().len(), None).unwrap();
            assert_eq!((back.bodies, back.inline), (bodies.concat(), inline.concat()));
            sheet
        };
        let said = |sheet: &[u8], text: &str| memchr::memmem::find_iter(sheet, text).count();
        let right = sheet_of(&|n| {
            format!("{}.{}", n * 21 / 2, if n.is_multiple_of(2) { "00" } else { "50" })
        });
        // Once in a column, and not in the body again; a product not even once.
        assert_eq!((said(&right, "Ditta 117"), said(&right, "117/FE")), (1, 1));
        assert_eq!((said(&right, "1228.50"), said(&right, "PrezzoTotale")), (0, 2));
        // One that is not the product is said, and so is one that looks like what we escape with.
        let odd = sheet_of(&|n| match n % 3 {
            0 => String::new(),
            1 => "=".repeat(n as usize % 4),
            _ => format!("{n}.7"),
        });
        assert_eq!(said(&odd, "119.7"), 1);
    }

    #[test]
    fn files_that_are_no_xml_come_back_too() {
        let odd: [&[u8]; 8] =
            [b"", b"<", b">", b"<<>", b"a", b"<a", b"a<b>c<b>c<b", b"<><><>\0<a>\xff<a>"];
        let again = [odd.concat(), odd.concat(), vec![b'<'; 400], b"<a>x".repeat(90)];
        let files: Vec<_> = odd.iter().map(|file| file.to_vec()).chain(again).collect();
        assert!(there_and_back(&[files.clone(), vec![], files]).is_some());
    }

    #[test]
    fn bodies_that_bring_nothing_are_laid_out() {
        let marks: Vec<_> = (0..100_u64).map(|n| marked(n, 9)).collect();
        let parts: Vec<_> = marks.iter().map(|body| (&body[..], &[][..])).collect();
        let (few, _) = lay(&parts[..2], OWN, &Known::new()).unwrap();
        assert_eq!(few, [&[0; 3][..], parts[0].0, parts[1].0].concat());
        let lens: Vec<_> = marks.iter().map(|body| body.len() as u32).collect();
        let (sheet, _) = lay(&parts, OWN, &Known::new()).unwrap();
        assert_eq!(read(&sheet, &lens, 0, None).unwrap().bodies, marks.concat());
        let packed = |bytes: &[u8]| zstd::bulk::compress(bytes, 5).unwrap().len();
        // Of each the id is random, and two bytes of a time.
        let (of_sheet, of_bodies) = (packed(&sheet), packed(&marks.concat()));
        assert!(of_sheet < 1800 && of_bodies > 2100, "{of_sheet} {of_bodies}");
        // Beside others, some of which bring files.
        let mixed = (0..100).flat_map(|n| match n % 4 {
            0 => vec![(body(&[INVOICE.as_bytes().to_vec()]), INVOICE.as_bytes().to_vec())],
            _ => vec![(marked(n, 9), vec![]), (marked(n, n as usize), vec![])],
        });
        let mixed: Vec<_> = mixed.collect();
        let parts: Vec<_> = mixed.iter().map(|(body, file)| (&body[..], &file[..])).collect();
        let lens: Vec<_> = mixed.iter().map(|(body, _)| body.len() as u32).collect();
        let (bodies, inline): (Vec<_>, Vec<_>) = mixed.iter().cloned().unzip();
        let (sheet, _) = lay(&parts, OWN, &Known::new()).unwrap();
        let back = read(&sheet, &lens, inline.concat().len(), None).unwrap();
        assert_eq!((back.bodies, back.inline), (bodies.concat(), inline.concat()));
    }

    /// A mark on invoice `n`, and a note of so many letters.
    fn marked(n: u64, letters: usize) -> Vec<u8> {
        let document = DocumentId::invoice(&BlobHash::of(&n.to_be_bytes()));
        let at = 1_764_000_000_000 + n * 977;
        let mark = [AnnotationEdit::Paid(Some(at)), AnnotationEdit::Notes("x".repeat(letters))];
        let change = annotation::edit(LogId::from_bytes([3; 16]), &[], &mark).unwrap().unwrap();
        let document = document.sibling(Kind::Annotation);
        let items = vec![Item::Change { document, change }];
        Body { written_ms: at / 7, items, blobs: Vec::new() }.encode().unwrap()
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
        fn any_amounts_come_back(
            bundles in prop::collection::vec(
                prop::collection::vec((0_usize..9, 0_usize..9), 0..30),
                0..12,
            )
        ) {
            const MARKS: [&str; 9] = [
                "<Quantita>", "<PrezzoUnitario>", "<PrezzoTotale>", "<ImponibileImporto>",
                "<AliquotaIVA>", "<Imposta>", "<ImportoTotaleDocumento>", "<ImportoPagamento>",
                "<Numero>",
            ];
            const TEXTS: [&str; 9] = ["1", "", "2.00", "=", "==1", "x", "4.00", "-0.02", "0.04"];
            let file = |pieces: Vec<(usize, usize)>| {
                let text = |(mark, text): (usize, usize)| MARKS[mark].to_owned() + TEXTS[text];
                vec![pieces.into_iter().map(text).collect::<String>().into_bytes()]
            };
            there_and_back(&bundles.into_iter().map(file).collect::<Vec<_>>());
        }

        #[test]
        fn a_sheet_that_was_changed_is_read_or_refused(
            flips in prop::collection::vec((0_usize..1500, 0_u8..=255), 1..4),
            cut in 0_usize..3000,
        ) {
            let files = vec![INVOICE.as_bytes().to_vec(), INVOICE.repeat(2).into_bytes()];
            let inline = files.concat();
            let bodies: Vec<_> =
                [body(&files)].into_iter().chain((0..9).map(|n| marked(n, 3))).collect();
            let parts = bodies.iter().zip([&inline[..]].into_iter().chain([&[][..]; 9]));
            let parts: Vec<_> = parts.map(|(body, inline)| (&body[..], inline)).collect();
            let (mut sheet, _) = lay(&parts, OWN, &Known::new()).unwrap();
            for (at, byte) in flips {
                let at = at % sheet.len();
                sheet[at] = byte;
            }
            sheet.truncate(cut.max(1));
            let lens: Vec<_> = bodies.iter().map(|body| body.len() as u32).collect();
            if let Ok(back) = read(&sheet, &lens, inline.len(), None) {
                let lens = (bodies.concat().len(), inline.len());
                prop_assert_eq!((back.bodies.len(), back.inline.len()), lens);
            }
        }
    }
}
