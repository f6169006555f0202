//! A PDF signed in itself (PAdES, ISO 32000-1 section 12.8): whether it is a given PDF and nothing
//! else than signatures added to it, and what each signature covers.
//!
//! A signed PDF is the original, byte for byte, with an update behind it. What the update may do is
//! judged strictly, since one could also show other pages in the original's place: it may write
//! new objects, and of the original's the catalogue, a page and the information only, with pages,
//! contents and resources as they were. Objects that an update hides in a compressed stream
//! cannot be judged, and are refused. A signature's picture may lie over the page: that is what a
//! visible signature is. Nothing here verifies the cryptography of a signature.

use std::ops::Range;

/// A signature: the CMS, and the bytes that it was made over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The CMS, with the zeros that fill its place.
    pub cms: Vec<u8>,
    /// What it covers.
    pub content: Vec<u8>,
}

/// Why a PDF is not the original with signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOurs {
    /// It does not begin with the original.
    Other,
    /// It is the original, and nothing is signed.
    Unsigned,
    /// More was changed than a signature changes, or it cannot be told.
    Changed,
    /// A signature does not cover what it must.
    Coverage,
}

/// Most signatures in one file.
const SIGNATURES_MAX: usize = 16;
/// The keys of an object of the original that an update must leave as they were.
const KEPT: [&[u8]; 4] = [b"/Pages", b"/Contents", b"/Resources", b"/MediaBox"];
/// Keys by which a catalogue or page does something by itself or hides something.
const NEVER: [&[u8]; 4] = [b"/OpenAction", b"/OCProperties", b"/AA", b"/ObjStm"];

/// The signatures that `file` adds to `original`. The last covers all of the file.
///
/// # Errors
/// [`NotOurs`]
pub fn signatures(file: &[u8], original: &[u8]) -> Result<Vec<Signed>, NotOurs> {
    if !file.starts_with(original) {
        return Err(NotOurs::Other);
    }
    let update = &file[original.len()..];
    let ranges: Vec<_> = finds(update, b"/ByteRange").collect();
    if ranges.is_empty() {
        return Err(NotOurs::Unsigned);
    }
    if ranges.len() > SIGNATURES_MAX {
        return Err(NotOurs::Changed);
    }
    let mut signed = Vec::new();
    let mut reach = 0;
    for at in ranges {
        let covered = numbers(&update[at + b"/ByteRange".len()..]).ok_or(NotOurs::Coverage)?;
        let (one, upto) = covers(file, original.len(), covered).ok_or(NotOurs::Coverage)?;
        reach = reach.max(upto);
        signed.push(one);
    }
    if reach != file.len() {
        return Err(NotOurs::Coverage);
    }
    judge(update, original)?;
    Ok(signed)
}

/// What one byte range covers, and up to where: all from the start of the file, but for the place
/// of the signature itself, which lies behind the original.
fn covers(file: &[u8], original: usize, range: [usize; 4]) -> Option<(Signed, usize)> {
    let [start, before, second, after] = range;
    let upto = second.checked_add(after)?;
    if start != 0 || before < original || second < before || upto > file.len() {
        return None;
    }
    let digits = file.get(before..second)?.strip_prefix(b"<")?.strip_suffix(b">")?;
    let cms = hex(digits)?;
    let content = [&file[..before], &file[second..upto]].concat();
    Some((Signed { cms, content }, upto))
}

/// Whether an update leaves the original's pages as they are.
fn judge(update: &[u8], original: &[u8]) -> Result<(), NotOurs> {
    if NEVER.iter().any(|word| has(update, word)) {
        return Err(NotOurs::Changed);
    }
    let root = |of: &[u8]| last(of, b"/Root").map(|at| reference(&of[at + 5..]));
    if root(update) != root(original) {
        return Err(NotOurs::Changed);
    }
    let before = objects(original).ok_or(NotOurs::Changed)?;
    for (number, body) in objects(update).ok_or(NotOurs::Changed)? {
        let Some((_, old)) = before.iter().find(|(here, _)| *here == number) else { continue };
        let (old, new) = (&original[old.clone()], &update[body]);
        let kind = |word: &[u8]| has(old, word) && has(new, word);
        let is_info = last(original, b"/Info")
            .is_some_and(|at| reference(&original[at + 5..]).is_some_and(|(n, _)| n == number));
        if !(kind(b"/Catalog") || kind(b"/Page") || is_info) {
            return Err(NotOurs::Changed);
        }
        for key in KEPT {
            if value(old, key) != value(new, key) {
                return Err(NotOurs::Changed);
            }
        }
    }
    Ok(())
}

/// The objects of a part of a file, by number, each with the place of its body.
fn objects(bytes: &[u8]) -> Option<Vec<(usize, Range<usize>)>> {
    let mut objects = Vec::new();
    for at in finds(bytes, b"obj") {
        let before = &bytes[..at];
        let next = bytes.get(at + 3).copied().unwrap_or(b' ');
        if before.ends_with(b"end") || next.is_ascii_alphanumeric() {
            continue;
        }
        // `12 0 obj`, read backwards.
        let number = before.trim_ascii_end();
        let generation = number.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let number = &number[..number.len() - generation];
        let trimmed = number.trim_ascii_end();
        let digits = trimmed.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        if generation == 0 || trimmed.len() == number.len() || digits == 0 || digits > 9 {
            // Something that only looks like one, or is written so that it is not seen.
            return None;
        }
        let number = std::str::from_utf8(&trimmed[trimmed.len() - digits..]).ok()?.parse().ok()?;
        let end = finds(&bytes[at..], b"endobj").next()?;
        objects.push((number, at + 3..at + end));
    }
    Some(objects)
}

/// The value of a key in an object's body, in one way of writing; `None` when it has no such key.
fn value(body: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let at = finds(body, key)
        .find(|at| body.get(at + key.len()).is_none_or(|next| !next.is_ascii_alphanumeric()))?;
    let rest = body[at + key.len()..].trim_ascii_start();
    let mut depth = 0_usize;
    let mut end = rest.len();
    for (place, byte) in rest.iter().enumerate() {
        match byte {
            b'[' | b'<' | b'(' => depth += 1,
            b']' | b'>' | b')' if depth == 0 => {
                end = place;
                break;
            }
            b']' | b'>' | b')' => depth -= 1,
            b'/' if depth == 0 && place > 0 => {
                end = place;
                break;
            }
            _ => {}
        }
    }
    // `[0 0 595 842]` and `[ 0 0 595 842 ]` are one value.
    let mut value = Vec::new();
    for byte in &rest[..end] {
        if b"[]<>()/".contains(byte) {
            value.extend([b' ', *byte, b' ']);
        } else {
            value.push(*byte);
        }
    }
    let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    Some(words.collect::<Vec<_>>().join(&b' '))
}

/// Whether a body has a word, and not only one that begins with it.
fn has(body: &[u8], word: &[u8]) -> bool {
    finds(body, word)
        .any(|at| body.get(at + word.len()).is_none_or(|next| !next.is_ascii_alphanumeric()))
}

fn reference(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut words = bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
    Some((number()?, number()?))
}

fn numbers(bytes: &[u8]) -> Option<[usize; 4]> {
    let list = bytes.trim_ascii_start().strip_prefix(b"[")?;
    let list = &list[..list.iter().take(100).position(|byte| *byte == b']')?];
    let words = list.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let numbers: Option<Vec<usize>> =
        words.map(|word| std::str::from_utf8(word).ok()?.parse().ok()).collect();
    numbers?.try_into().ok()
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let digits: Vec<u8> = digits
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(digit)
        .collect::<Option<_>>()?;
    digits
        .len()
        .is_multiple_of(2)
        .then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn finds<'a>(bytes: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(word.len()).enumerate().filter(move |(_, here)| *here == word).map(|(at, _)| at)
}

fn last(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).rposition(|here| here == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page, and it signed by pyHanko 0.38: a program that is not ours.
    const ORIGINAL: &[u8] = include_bytes!("../tests/samples/contratto.pdf");
    const SIGNED: &[u8] = include_bytes!("../tests/samples/contratto-firmato.pdf");

    /// `SIGNED` with other bytes for some, of the same length or not.
    fn with(from: &str, to: &str) -> Vec<u8> {
        let at = ORIGINAL.len() + finds(&SIGNED[ORIGINAL.len()..], from.as_bytes()).next().unwrap();
        [&SIGNED[..at], to.as_bytes(), &SIGNED[at + from.len()..]].concat()
    }

    #[test]
    fn one_signature_is_found_that_covers_all_but_itself() {
        let signed = signatures(SIGNED, ORIGINAL).unwrap();
        assert_eq!(signed.len(), 1);
        assert!(signed[0].content.starts_with(ORIGINAL));
        assert!(signed[0].cms.starts_with(&[0x30]));
        assert_eq!(signed[0].content.len() + signed[0].cms.len() * 2 + 2, SIGNED.len());
    }

    #[test]
    fn another_document_an_unsigned_one_and_more_behind_it_are_refused() {
        let mut other = ORIGINAL.to_vec();
        other[200] ^= 1;
        assert_eq!(signatures(SIGNED, &other), Err(NotOurs::Other));
        assert_eq!(signatures(ORIGINAL, ORIGINAL), Err(NotOurs::Unsigned));
        let longer = [SIGNED, b"\n7 0 obj\n<<>>\nendobj\n"].concat();
        assert_eq!(
            signatures(&longer, ORIGINAL),
            Err(NotOurs::Coverage),
            "not signed: what follows"
        );
        let short = &SIGNED[..SIGNED.len() - 1];
        assert_eq!(signatures(short, ORIGINAL), Err(NotOurs::Coverage));
    }

    #[test]
    fn an_update_that_shows_other_pages_is_refused_though_it_is_signed() {
        for (what, changed) in [
            ("other pages", with("/Pages ", "/Pages 9")),
            ("another root", with("/Root ", "/Root 9")),
            ("something that happens on opening", with("/AcroForm", "/OpenAction 9 0 R /AcroForm")),
            ("objects that are hidden", with("/AcroForm", "/Hidden /ObjStm /AcroForm")),
        ] {
            let at = finds(&changed[ORIGINAL.len()..], b"/ByteRange").next().unwrap();
            let update = &changed[ORIGINAL.len()..];
            assert!(at < update.len());
            assert_eq!(judge(update, ORIGINAL), Err(NotOurs::Changed), "{what}");
        }
        let update = &SIGNED[ORIGINAL.len()..];
        assert_eq!(judge(update, ORIGINAL), Ok(()));
        // The text of the page itself, written anew.
        let contents = objects(ORIGINAL).unwrap();
        let (text, _) =
            contents.into_iter().find(|(_, body)| has(&ORIGINAL[body.clone()], b"stream")).unwrap();
        let forged = format!("{text} 0 obj\n<< /Length 0 >>\nstream\n\nendstream\nendobj\n");
        let forged = [forged.as_bytes(), update].concat();
        assert_eq!(judge(&forged, ORIGINAL), Err(NotOurs::Changed));
    }
}
