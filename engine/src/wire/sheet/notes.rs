//! What is noted of a body: the lengths of files that it brings, and where it names them, or
//! invoices that the receiver has (PROTOCOL.md section 3.1).
//!
//! A body tells its file's hash three times, and 32 random bytes are what no compression finds.
//! Whoever has the file can compute it, so a sheet leaves it out.

use memchr::memmem;

use super::{
    at_most, number, part, put,
    references::{InvoiceId, Known, Reference},
};
use crate::{
    bundle::{Body, Item},
    chunk::reader::Reader,
    fault::Fault,
    id::{BlobHash, DocumentId},
    limits,
};

/// Shortest part of a hash that is left out: what a document's id has of it.
const NAME_BYTES_MIN: usize = DocumentId::ABOUT_BYTES;

/// What is noted of a body.
#[derive(Clone, Default)]
pub(super) struct Note {
    /// The length of each of its inline files.
    files: Vec<usize>,
    /// Where it names them.
    names: Vec<Name>,
}

/// A name inside a body.
#[derive(Clone)]
struct Name {
    /// Bytes before it, from the name before it or the beginning.
    gap: usize,
    /// Whose.
    of: Named,
    /// How much of it.
    len: usize,
}

/// What has a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    /// One of the body's inline files.
    File(usize),
    /// An invoice that the receiver has: the run's next reference.
    Invoice,
}

impl Note {
    /// What there is to note of a body with so many bytes of inline files, where the receiver has some
    /// invoices; adds those that it refers to. `None` if it does not tell of its files.
    pub(super) fn of(
        body: &[u8],
        inline: usize,
        known: &Known,
        references: &mut Vec<Reference>,
    ) -> Option<Self> {
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
                found.push((at, Named::File(file), alike.count(), None));
            }
        }
        let mut behind = 0;
        for item in told.items.iter().filter(|_| !known.is_empty()) {
            let Item::Change { document, .. } = item else { continue };
            let Some(reference) = known.get(&document.about()) else { continue };
            if let Some(at) = memmem::find(&body[behind..], document.as_bytes()) {
                behind += at + document.as_bytes().len();
                let at = behind - NAME_BYTES_MIN;
                found.push((at, Named::Invoice, NAME_BYTES_MIN, Some(*reference)));
            }
        }
        found.sort_unstable();
        let (mut end, mut names) = (0, Vec::new());
        for (at, of, len, reference) in found {
            let room = reference.is_none() || references.len() < limits::RUN_REFERENCES_MAX;
            if at >= end && room {
                references.extend(reference);
                names.push(Name { gap: at - end, of, len });
                end = at + len;
            }
        }
        Some(Self { files: files.iter().map(|blob| blob.len as usize).collect(), names })
    }

    /// Whether there is nothing to note.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.names.is_empty()
    }

    pub(super) fn put(&self, sheet: &mut Vec<u8>) {
        put(sheet, self.files.len() as u64);
        self.files.iter().for_each(|len| put(sheet, *len as u64));
        put(sheet, self.names.len() as u64);
        for Name { gap, of, len } in &self.names {
            let of = match of {
                Named::File(file) => *file,
                Named::Invoice => self.files.len(),
            };
            [*gap, of, *len].into_iter().for_each(|number| put(sheet, number as u64));
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
            let of = match at_most(number(reader)?, note.files.len())? {
                of if of == note.files.len() => Named::Invoice,
                file => Named::File(file),
            };
            let len = at_most(number(reader)?, left - gap)?;
            if len < NAME_BYTES_MIN || of == Named::Invoice && len > NAME_BYTES_MIN {
                return Err(Fault::Malformed);
            }
            left -= gap + len;
            note.names.push(Name { gap, of, len });
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

    /// Adds the body to `all`, from what is left of it, its files, and the invoices that are
    /// referred to from here on.
    pub(super) fn whole(
        &self,
        rest: &[u8],
        files: &[(usize, BlobHash)],
        invoices: &mut std::slice::Iter<'_, InvoiceId>,
        all: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut rest = Reader(rest);
        for Name { gap, of, len } in &self.names {
            all.extend_from_slice(part(&mut rest, *gap)?);
            match of {
                Named::File(file) => {
                    let (file, hash) = files.get(*file).ok_or(Fault::Malformed)?;
                    all.extend_from_slice(name(hash, *file).get(..*len).ok_or(Fault::Malformed)?);
                }
                Named::Invoice => {
                    all.extend_from_slice(invoices.next().ok_or(Fault::Malformed)?);
                }
            }
        }
        all.extend_from_slice(rest.0);
        Ok(())
    }
}

/// What a body says of a file that it brings: hash and length.
fn name(hash: &BlobHash, len: usize) -> Vec<u8> {
    let mut name = hash.as_bytes().to_vec();
    put(&mut name, len as u64);
    name
}
