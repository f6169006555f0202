//! Files that are XML, text under text (PROTOCOL.md section 3.1).
//!
//! Invoices have the same few hundred marks in nearly the same order, some 300 of them in a file of
//! 5.5 kB, and zstd spends half of its bytes on saying so again. A sheet says each mark once, their
//! order as a walk in which the usual next step is a zero, and what stands behind each mark in one
//! column, as stores by column do (Stonebraker et al., "C-Store", VLDB 2005; for the lines of a log
//! Rodrigues et al., "CLP", OSDI 2021). An amount that follows from others is not said. No rule of
//! XML has to hold: any bytes are laid out, and come back the same.

use std::collections::BTreeMap;

use memchr::{memchr, memchr_iter};

use super::{
    at_most,
    invoice::{Amounts, Term},
    number, part, put,
};
use crate::{chunk::reader::Reader, fault::Fault, limits};

/// Begins a mark, and ends the text before it. `>` ends the mark.
pub(super) const OPEN: u8 = b'<';
const CLOSE: u8 = b'>';
/// Stands before a text that does not follow from others where one could, and is empty or begins so.
const ESCAPE: u8 = b'=';
/// Steps of the walk: to the mark that followed the last time, to the next that was not met before;
/// any other number is the place of a mark, and one.
const USUAL: usize = 0;
const NEW: usize = 1;

/// Adds to `sheet` the marks of `text`, the walk over them, and the texts behind each of them. The
/// first mark is empty and stands before everything; where there is no text there is no mark.
/// `None` where there are more marks than [`limits::SHEET_MARKS_MAX`].
pub(super) fn put_text(text: &[u8], sheet: &mut Vec<u8>) -> Option<()> {
    if text.is_empty() {
        put(sheet, 0);
        return Some(());
    }
    let mut marks = vec![Mark::default()];
    let mut places = BTreeMap::new();
    let mut amounts = Amounts::default();
    let mut walk = Vec::new();
    let (mut here, mut rest) = (0, text);
    loop {
        let end = memchr(OPEN, rest).unwrap_or(rest.len());
        let (behind, after) = rest.split_at(end);
        let follows = match marks[here].term {
            Term::Result(rule) => amounts.result(rule) == Some(behind),
            Term::Operand(operand) => {
                amounts.keep(operand, behind);
                false
            }
            Term::None => false,
        };
        marks[here].says(behind, follows);
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
                marks.push(Mark { mark, term: Term::of(mark), ..Mark::default() });
                (NEW, there)
            },
            |usual| (USUAL, usual),
        );
        if marks.len() > limits::SHEET_MARKS_MAX {
            return None;
        }
        put(&mut walk, step as u64);
        marks[here].next = there;
        rest = &rest[marks[there].mark.len()..];
        here = there;
    }
    put(sheet, marks.len() as u64);
    for mark in &marks {
        put(sheet, mark.mark.len() as u64 * 2 + u64::from(mark.says));
        sheet.extend_from_slice(mark.mark);
    }
    put(sheet, walk.len() as u64);
    sheet.extend(walk);
    marks.iter().filter(|mark| mark.says).for_each(|mark| sheet.extend_from_slice(&mark.texts));
    Some(())
}

/// Reads `len` bytes that [`put_text`] laid out.
pub(super) fn read_text(reader: &mut Reader<'_>, len: usize) -> Result<Vec<u8>, Fault> {
    let mut marks = Vec::new();
    for _ in 0..at_most(number(reader)?, limits::SHEET_MARKS_MAX)? {
        let said = number(reader)?;
        let mark = part(reader, said / 2)?;
        let (says, term) = (said % 2 == 1, Term::of(mark));
        marks.push(Column { mark, says, term, ..Column::default() });
    }
    if marks.is_empty() && len == 0 {
        return Ok(Vec::new());
    }
    let first = marks.first_mut().filter(|first| first.mark.is_empty());
    first.ok_or(Fault::Malformed)?.times = 1;
    let steps = number(reader)?;
    let mut steps = Reader(part(reader, steps)?);
    let mut walk = Vec::with_capacity(steps.0.len() + 1);
    walk.push(0);
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
    let mut count = 0;
    for column in marks.iter_mut().filter(|column| column.says) {
        column.text = count;
        count += column.times;
    }
    let mut ends = Vec::with_capacity(count);
    ends.extend(memchr_iter(OPEN, reader.0).take(count).map(|end| end as u32));
    if ends.len() < count {
        return Err(Fault::Malformed);
    }
    let texts = part(reader, ends.last().map_or(0, |end| *end as usize + 1))?;
    let mut text = Vec::with_capacity(len);
    let mut amounts = Amounts::default();
    for here in walk {
        let column = &mut marks[usize::from(here)];
        if !column.says && column.term == Term::None {
            text.extend_from_slice(column.mark);
            continue;
        }
        let told = column.text(texts, &ends);
        let behind = match (column.term, told) {
            (Term::Result(rule), []) => amounts.result(rule).ok_or(Fault::Malformed)?,
            (Term::Result(_), [ESCAPE, behind @ ..]) => behind,
            (Term::Operand(operand), _) => {
                amounts.keep(operand, told);
                told
            }
            _ => told,
        };
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
    /// What they have to do with what follows from what.
    term: Term,
}

impl Mark<'_> {
    /// Adds a text; where it follows by its rule nothing is told.
    fn says(&mut self, behind: &[u8], follows: bool) {
        let before = self.texts.len();
        let may_follow = matches!(self.term, Term::Result(_));
        if may_follow && !follows && matches!(behind, [] | [ESCAPE, ..]) {
            self.texts.push(ESCAPE);
        }
        if !follows {
            self.texts.extend_from_slice(behind);
        }
        self.says |= self.texts.len() > before;
        self.texts.push(OPEN);
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
    /// Which text of all is the next that stands behind it.
    text: usize,
    /// What they have to do with what follows from what.
    term: Term,
}

impl Column<'_> {
    /// What is told of the next text, of all that stand one behind the other and end there.
    fn text<'t>(&mut self, texts: &'t [u8], ends: &[u32]) -> &'t [u8] {
        if !self.says {
            return &[];
        }
        let this = self.text;
        self.text += 1;
        let begin = this.checked_sub(1).map_or(0, |before| ends[before] as usize + 1);
        &texts[begin..ends[this] as usize]
    }
}
