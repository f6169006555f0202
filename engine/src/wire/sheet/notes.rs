//! What is noted of a body that brings files: their lengths, and where it names them
//! (PROTOCOL.md section 3.1).
//!
//! A body tells its file's hash three times, and 32 random bytes are what no compression finds.
//! Whoever has the file can compute it, so a sheet leaves it out.

use memchr::memmem;

use super::{at_most, number, part, put};
use crate::{bundle::Body, chunk::reader::Reader, fault::Fault, id::BlobHash, limits};

/// Shortest part of a hash that is left out: what a document's id has of it.
const NAME_BYTES_MIN: usize = 15;

/// What is noted of a body.
#[derive(Clone, Default)]
pub(super) struct Note {
    /// The length of each of its inline files.
    files: Vec<usize>,
    /// Where it names them.
    names: Vec<Name>,
}

/// A file's name inside a body.
#[derive(Clone)]
struct Name {
    /// Bytes before it, from the name before it or the beginning.
    gap: usize,
    /// Whose name, among the body's inline files.
    file: usize,
    /// How much of it.
    len: usize,
}

impl Note {
    /// What there is to note of a body with so many bytes of inline files; `None` if it does not
    /// tell of them.
    pub(super) fn of(body: &[u8], inline: usize) -> Option<Self> {
        let told = Body::decode(body).ok()?;
        let files: Vec<_> = told.blobs.iter().filter(|blob| blob.is_inline()).collect();
        if files.iter().map(|blob| blob.len).sum::<u64>() != inline as u64 {
            return None;
        }
        let mut found = Vec::new();
        for (file, blob) in files.iter().enumerate() {
            let name = name(&blob.hash, blob.len as usize);
            for at in memmem::find_iter(body, &name[..NAME_BYTES_MIN]) {
                let alike = body[at..].iter().zip(&name).take_while(|(one, other)| one == other);
                found.push((at, file, alike.count()));
            }
        }
        found.sort_unstable();
        let (mut end, mut names) = (0, Vec::new());
        for (at, file, len) in found {
            if at >= end {
                names.push(Name { gap: at - end, file, len });
                end = at + len;
            }
        }
        Some(Self { files: files.iter().map(|blob| blob.len as usize).collect(), names })
    }

    /// Whether there is nothing to note.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn put(&self, sheet: &mut Vec<u8>) {
        put(sheet, self.files.len());
        self.files.iter().for_each(|len| put(sheet, *len));
        put(sheet, self.names.len());
        for Name { gap, file, len } in &self.names {
            [*gap, *file, *len].into_iter().for_each(|number| put(sheet, number));
        }
    }

    /// Reads what [`Note::put`] added, of a body of `len` bytes.
    pub(super) fn read(reader: &mut Reader<'_>, len: usize) -> Result<Self, Fault> {
        let mut note = Self::default();
        for _ in 0..at_most(number(reader)?, limits::BODY_BLOBS_MAX)? {
            note.files.push(number(reader)?);
        }
        // How much of the body is not accounted for: a name has a length, so names have an end.
        let mut left = len;
        for _ in 0..number(reader)? {
            let gap = at_most(number(reader)?, left)?;
            let file = number(reader)?;
            let len = at_most(number(reader)?, left - gap)?;
            if len < NAME_BYTES_MIN || file >= note.files.len() {
                return Err(Fault::Malformed);
            }
            left -= gap + len;
            note.names.push(Name { gap, file, len });
        }
        Ok(note)
    }

    /// The body without the names.
    pub(super) fn rest(&self, mut body: &[u8]) -> Vec<u8> {
        let mut rest = Vec::with_capacity(body.len());
        for Name { gap, len, .. } in &self.names {
            rest.extend_from_slice(&body[..*gap]);
            body = &body[gap + len..];
        }
        rest.extend_from_slice(body);
        rest
    }

    /// How much of a body of `len` bytes is left without the names.
    pub(super) fn rest_len(&self, len: usize) -> usize {
        len - self.names.iter().map(|name| name.len).sum::<usize>()
    }

    /// Takes the body's files off `text`; their lengths and hashes.
    pub(super) fn files(&self, text: &mut &[u8]) -> Result<Vec<(usize, BlobHash)>, Fault> {
        let take = |len: &usize| {
            let (file, behind) = text.split_at_checked(*len).ok_or(Fault::Malformed)?;
            *text = behind;
            Ok((*len, BlobHash::of(file)))
        };
        self.files.iter().map(take).collect()
    }

    /// Adds the body to `all`, from what is left of it and its files.
    pub(super) fn whole(
        &self,
        rest: &[u8],
        files: &[(usize, BlobHash)],
        all: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut rest = Reader(rest);
        for Name { gap, file, len } in &self.names {
            all.extend_from_slice(part(&mut rest, *gap)?);
            let (file, hash) = files.get(*file).ok_or(Fault::Malformed)?;
            all.extend_from_slice(name(hash, *file).get(..*len).ok_or(Fault::Malformed)?);
        }
        all.extend_from_slice(rest.0);
        Ok(())
    }
}

/// What a body says of a file that it brings: hash and length.
fn name(hash: &BlobHash, len: usize) -> Vec<u8> {
    let mut name = hash.as_bytes().to_vec();
    put(&mut name, len);
    name
}
