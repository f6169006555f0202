//! What is noted of a body: the lengths of files that it brings, and where it names them, repeats
//! what they say, or names invoices that the receiver has (PROTOCOL.md section 3.1).
//!
//! A body tells its file's hash three times, and 32 random bytes are what no compression finds.
//! Whoever has the file can compute it, so a sheet leaves it out; and so what a body has from its
//! file, which makes the rest of one body much like that of the next.

use memchr::memmem;

use super::{
    at_most,
    invoice::{FIELDS, FIELDS_IN_BODY, fields},
    number, part, put,
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
/// Shortest text of a file that is left out of a body: a currency.
const FIELD_BYTES_MIN: usize = 3;

/// What is noted of a body.
#[derive(Clone, Default)]
pub(super) struct Note<'a> {
    /// The length and hash of each of its inline files.
    pub files: Vec<(usize, BlobHash)>,
    /// Where it names them.
    names: Vec<Name<'a>>,
}

/// A name inside a body.
#[derive(Clone)]
struct Name<'a> {
    /// Bytes before it, from the name before it or the beginning.
    gap: usize,
    /// Whose.
    of: Named<'a>,
    /// How much of it.
    len: usize,
}

/// What has a name.
#[derive(Clone, Copy)]
enum Named<'a> {
    /// One of the body's inline files.
    File(usize),
    /// An invoice that the receiver has: the run's next reference.
    Invoice,
    /// What the first of its inline files says in one of the [`FIELDS`].
    Field(usize, &'a [u8]),
}

impl<'a> Note<'a> {
    /// What there is to note of a body and its inline files, where the receiver has some invoices;
    /// adds those that it refers to. `None` if it does not tell of its files.
    pub(super) fn of(
        body: &[u8],
        inline: &'a [u8],
        known: &Known,
        references: &mut Vec<Reference>,
    ) -> Option<Self> {
        let told = Body::decode(body).ok()?;
        let blobs = told.blobs.iter().filter(|blob| blob.is_inline());
        let files: Vec<_> = blobs.map(|blob| (blob.len as usize, blob.hash)).collect();
        if files.iter().map(|(len, _)| len).sum::<usize>() != inline.len() {
            return None;
        }
        let mut found = Vec::new();
        for (file, (len, hash)) in files.iter().enumerate() {
            let name = name(hash, *len);
            for at in memmem::find_iter(body, &name[..NAME_BYTES_MIN]) {
                let alike = body[at..].iter().zip(&name).take_while(|(one, other)| one == other);
                found.push((at, Named::File(file), alike.count(), None));
            }
        }
        if let Some((len, _)) = files.first() {
            let (fields, mut behind) = (fields(&inline[..*len]), 0);
            for field in FIELDS_IN_BODY {
                let text = fields[field];
                if text.len() < FIELD_BYTES_MIN {
                    continue;
                }
                if let Some(at) = memmem::find(&body[behind..], text) {
                    found.push((behind + at, Named::Field(field, text), text.len(), None));
                    behind += at + text.len();
                }
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
        found.sort_by_key(|(at, ..)| *at);
        let (mut end, mut names) = (0, Vec::new());
        for (at, of, len, reference) in found {
            let room = reference.is_none() || references.len() < limits::RUN_REFERENCES_MAX;
            if at >= end && room {
                references.extend(reference);
                names.push(Name { gap: at - end, of, len });
                end = at + len;
            }
        }
        Some(Self { files, names })
    }

    /// Whether there is nothing to note.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.names.is_empty()
    }

    pub(super) fn put(&self, sheet: &mut Vec<u8>) {
        put(sheet, self.files.len() as u64);
        self.files.iter().for_each(|(len, _)| put(sheet, *len as u64));
        put(sheet, self.names.len() as u64);
        for Name { gap, of, len } in &self.names {
            put(sheet, *gap as u64);
            let (of, len) = match of {
                Named::File(file) => (*file, Some(len)),
                Named::Invoice => (self.files.len(), Some(len)),
                Named::Field(field, _) => (self.files.len() + 1 + field, None),
            };
            put(sheet, of as u64);
            len.iter().for_each(|len| put(sheet, **len as u64));
        }
    }

    /// Reads what [`Note::put`] added, of a body of `len` bytes, and takes its files off `text`.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        len: usize,
        text: &mut &'a [u8],
    ) -> Result<Self, Fault> {
        let mut note = Self::default();
        let mut found = Default::default();
        for file in 0..at_most(number(reader)?, limits::BODY_BLOBS_MAX)? {
            let (bytes, behind) = text.split_at_checked(number(reader)?).ok_or(Fault::Malformed)?;
            *text = behind;
            note.files.push((bytes.len(), BlobHash::of(bytes)));
            if file == 0 {
                found = fields(bytes);
            }
        }
        // How much of the body is not accounted for: a name has a length, so names have an end.
        let mut left = len;
        for _ in 0..number(reader)? {
            let gap = at_most(number(reader)?, left)?;
            left -= gap;
            let of = at_most(number(reader)?, note.files.len() + FIELDS.len())?;
            let (of, len) = match of.checked_sub(note.files.len()) {
                None => (Named::File(of), number(reader)?),
                Some(0) => (Named::Invoice, number(reader)?),
                Some(field) => (Named::Field(field - 1, found[field - 1]), found[field - 1].len()),
            };
            let right = match of {
                Named::File(_) => len >= NAME_BYTES_MIN,
                Named::Invoice => len == NAME_BYTES_MIN,
                Named::Field(..) => len > 0,
            };
            left = left.checked_sub(len).filter(|_| right).ok_or(Fault::Malformed)?;
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

    /// Adds the body to `all`, from what is left of it, its files, and the invoices that are
    /// referred to from here on.
    pub(super) fn whole(
        &self,
        rest: &[u8],
        invoices: &mut std::slice::Iter<'_, InvoiceId>,
        all: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut rest = Reader(rest);
        for Name { gap, of, len } in &self.names {
            all.extend_from_slice(part(&mut rest, *gap)?);
            match of {
                Named::File(file) => {
                    let (file, hash) = self.files.get(*file).ok_or(Fault::Malformed)?;
                    all.extend_from_slice(name(hash, *file).get(..*len).ok_or(Fault::Malformed)?);
                }
                Named::Invoice => {
                    all.extend_from_slice(invoices.next().ok_or(Fault::Malformed)?);
                }
                Named::Field(_, text) => all.extend_from_slice(text),
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
