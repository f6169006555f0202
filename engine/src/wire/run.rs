//! A run as bytes: bundles of one log, compressed together (PROTOCOL.md section 3).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Tenant,
    effort::{DICTIONARY, Effort, decompress},
    sheet::{self, InvoiceId, Known, Reference},
};
use crate::{
    bundle::{Body, ChainHash, Origin, PublicKey, Signature},
    fault::Fault,
    id::{BlobHash, Incarnation, LogId, Seq},
    limits,
    plant::{self, Bug},
};

/// Consecutive bundles of one log, compressed together under one signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The tenant.
    pub tenant: Tenant,
    /// The log.
    pub log: LogId,
    /// Number of the first bundle.
    pub first: Seq,
    /// Hash of the bundle before the first.
    pub previous: ChainHash,
    /// Who writes the log; present when `first` is 1.
    pub origin: Option<OriginParts>,
    /// Length in bytes of each body, as they travel: see [`Run::lengths`].
    pub bodies: Vec<u32>,
    /// Length in bytes of all inline blobs together.
    pub inline: u32,
    /// Signature of the last bundle.
    pub signature: Signature,
    /// Bodies and inline blobs in a zstd frame, in one of two forms: see [`Form`].
    pub payload: Vec<u8>,
}

/// An [`Origin`] as it travels, before its key is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginParts {
    /// DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// The incarnation.
    pub incarnation: Incarnation,
}

impl From<&Origin> for OriginParts {
    fn from(origin: &Origin) -> Self {
        Self { spki: origin.key.spki().to_vec(), incarnation: origin.incarnation }
    }
}

impl TryFrom<&OriginParts> for Origin {
    type Error = Fault;
    fn try_from(parts: &OriginParts) -> Result<Self, Fault> {
        let key = PublicKey::from_spki(&parts.spki).map_err(|_| Fault::Malformed)?;
        Ok(Self { key, incarnation: parts.incarnation })
    }
}

/// One bundle of an opened run: bytes that fit their lengths, a body that decodes, blobs
/// that answer to their names. Its signature is for [`crate::log`] to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The body's bytes, as hashed: a part of those of the run.
    pub bytes: Bytes,
    /// The body.
    pub body: Body,
    /// Its inline blobs' bytes, in the body's order: a part of those of the run.
    pub inline: Bytes,
}

/// Beyond this [`Effort::Utmost`] takes memory, and time that somebody may wait for: it is a dozen
/// invoices or a thousand status changes.
const UTMOST_BYTES_MAX: usize = 128 * 1024;

/// What is in a run's zstd frame, and how the lengths of its bodies are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All bodies, then each bundle's inline blobs, in order. Every version reads it.
    Plain,
    /// A sheet, behind a byte that says so, with [`DICTIONARY`]. Since version 2.
    Sheet,
}

impl Form {
    /// The form for a peer that speaks versions up to `highest`.
    #[must_use]
    pub const fn for_version(highest: u16) -> Self {
        if highest >= 2 { Self::Sheet } else { Self::Plain }
    }

    /// What zstd is to have read before: plain frames stand for themselves.
    pub(super) const fn dictionary(self) -> &'static [u8] {
        match self {
            Self::Plain => &[],
            Self::Sheet => DICTIONARY,
        }
    }

    /// Lengths of bodies as they travel. A body is never empty, so since version 2 a 0 says that
    /// the length before it comes again, and how often: of a thousand status changes all are alike.
    #[must_use]
    pub fn told(self, lengths: &[u32]) -> Vec<u32> {
        if self == Self::Plain {
            return lengths.to_vec();
        }
        let mut told = Vec::new();
        for alike in lengths.chunk_by(|one, other| one == other) {
            match alike {
                [len, _, _, ..] => told.extend([*len, 0, alike.len() as u32 - 1]),
                few => told.extend_from_slice(few),
            }
        }
        told
    }
}

/// How a run is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// In which form.
    pub form: Form,
    /// How hard.
    pub effort: Effort,
}

impl Packing {
    /// Bytes of bodies and inline blobs at which a run is closed.
    #[must_use]
    pub const fn raw_bytes_target(self) -> usize {
        match self {
            Self { form: Form::Sheet, effort: Effort::Thorough } => {
                limits::LONG_RUN_RAW_BYTES_TARGET
            }
            Self { form: Form::Sheet, effort: Effort::Fair } => limits::RUN_RAW_BYTES_TARGET,
            _ => limits::SHORT_RUN_RAW_BYTES_TARGET,
        }
    }
}

/// Say that a sheet follows, and one that refers to what the receiver has. A zstd frame begins
/// with 0x28.
const SHEET: u8 = 1;
const REFERRING: u8 = 2;

impl Run {
    /// Compresses consecutive bundles, each a body and its inline blobs.
    #[must_use]
    pub fn pack<'a>(
        packing: Packing,
        bundles: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Vec<u8> {
        Self::pack_referring(packing, bundles, LogId::from_bytes([0; 16]), &Known::new())
    }

    /// The same for whoever has the known invoices, which a sheet of this log then refers to.
    #[must_use]
    pub fn pack_referring<'a>(
        Packing { form, effort }: Packing,
        bundles: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        log: LogId,
        known: &Known,
    ) -> Vec<u8> {
        let bundles: Vec<_> = bundles.collect();
        let sheet = (form == Form::Sheet).then(|| sheet::lay(&bundles, log, known)).flatten();
        let len: usize = bundles.iter().map(|(body, inline)| body.len() + inline.len()).sum();
        let is_small = bundles.len() > 1 && len <= UTMOST_BYTES_MAX;
        let effort = if is_small { Effort::Utmost } else { effort };
        let packed = match sheet {
            Some((sheet, refers)) => {
                let kind = if refers { REFERRING } else { SHEET };
                effort.compress(Form::Sheet, &sheet).map(|packed| [&[kind][..], &packed].concat())
            }
            None => {
                let (bodies, inline): (Vec<_>, Vec<_>) = bundles.into_iter().unzip();
                effort.compress(Form::Plain, &[bodies.concat(), inline.concat()].concat())
            }
        };
        packed.expect("compressing into memory does not fail")
    }

    /// Number of the last bundle.
    ///
    /// # Errors
    /// [`Fault`] when the run is empty or its numbers overflow.
    pub fn last(&self) -> Result<Seq, Fault> {
        self.last_of(self.lengths()?.len())
    }

    /// Number of the last of so many bundles.
    fn last_of(&self, count: usize) -> Result<Seq, Fault> {
        if self.first == 0 || count == 0 {
            return Err(Fault::Malformed);
        }
        self.first.checked_add(count as u64 - 1).ok_or(Fault::Malformed)
    }

    /// Length in bytes of each body.
    ///
    /// # Errors
    /// [`Fault::Malformed`] where one comes again that never came, [`Fault::TooLarge`] when there
    /// are more than [`limits::RUN_BUNDLES_MAX`].
    pub fn lengths(&self) -> Result<Vec<u32>, Fault> {
        let (mut lengths, mut told) = (Vec::new(), self.bodies.iter());
        while let Some(len) = told.next() {
            let (len, count) = match len {
                0 => lengths.last().copied().zip(told.next().copied()).ok_or(Fault::Malformed)?,
                len => (*len, 1),
            };
            if count as usize > limits::RUN_BUNDLES_MAX - lengths.len() {
                return Err(Fault::TooLarge);
            }
            lengths.extend(std::iter::repeat_n(len, count as usize));
        }
        Ok(lengths)
    }

    /// Whether it refers to what the receiver has: it opens once that was looked up.
    #[must_use]
    pub fn refers(&self) -> bool {
        self.payload.first() == Some(&REFERRING)
    }

    /// What it refers to, in order: bundles of its tenant, each for the first invoice it brings.
    ///
    /// # Errors
    /// [`Fault`] names what is wrong with the bytes.
    pub fn references(&self) -> Result<Vec<Reference>, Fault> {
        if self.refers() {
            sheet::references(&self.unpacked()?.0, self.log)
        } else {
            Ok(Vec::new())
        }
    }

    /// The run without references, which are to these invoices. If they are to others, so are the
    /// bodies others, for which the signature does not stand.
    ///
    /// # Errors
    /// [`Fault`] names what is wrong with the bytes.
    pub fn resolved(mut self, invoices: &[InvoiceId]) -> Result<Self, Fault> {
        let (sheet, lengths) = self.unpacked()?;
        let sheet = sheet::read(&sheet, &lengths, self.inline as usize, Some(invoices))?;
        let plain = Effort::Quick.compress(Form::Plain, &[sheet.bodies, sheet.inline].concat());
        self.payload = plain.map_err(|_| Fault::Malformed)?;
        Ok(self)
    }

    /// Decompresses and takes apart, within limits. Every inline blob's bytes are checked
    /// against its name.
    ///
    /// # Errors
    /// [`Fault`] names what is wrong with the bytes.
    pub fn open(&self) -> Result<Vec<Received>, Fault> {
        let (unpacked, lengths) = self.unpacked()?;
        let (mut bodies, mut inline, files) = match self.payload.first() {
            Some(&SHEET) => {
                let sheet = sheet::read(&unpacked, &lengths, self.inline as usize, None)?;
                drop(unpacked);
                (Bytes::from(sheet.bodies), Bytes::from(sheet.inline), sheet.files)
            }
            Some(&REFERRING) => return Err(Fault::Malformed),
            _ => {
                let bodies_len: usize = lengths.iter().map(|len| *len as usize).sum();
                if unpacked.len() != bodies_len + self.inline as usize {
                    return Err(Fault::Malformed);
                }
                let mut bodies = Bytes::from(unpacked);
                let inline = bodies.split_off(bodies_len);
                (bodies, inline, Vec::new())
            }
        };
        let mut files = files.into_iter();
        let mut received = Vec::with_capacity(lengths.len());
        for len in lengths {
            let bytes = take(&mut bodies, len as usize)?;
            let body = Body::decode(&bytes)?;
            let own = take(&mut inline, body.inline_bytes())?;
            let mut rest = own.clone();
            for blob in body.blobs.iter().filter(|blob| blob.is_inline()) {
                let file = take(&mut rest, blob.len as usize)?;
                // A sheet's reader had to know it, of the same bytes if the lengths agree so far.
                let hash = match files.next() {
                    Some((len, hash)) if len == file.len() => hash,
                    Some(_) => return Err(Fault::Malformed),
                    None => BlobHash::of(&file),
                };
                if hash != blob.hash && !plant::is(Bug::FileUnchecked) {
                    return Err(Fault::BadChunk);
                }
            }
            received.push(Received { bytes, body, inline: own });
        }
        if inline.is_empty() { Ok(received) } else { Err(Fault::Malformed) }
    }

    /// The payload decompressed, within limits, and the length of each body.
    fn unpacked(&self) -> Result<(Vec<u8>, Vec<u32>), Fault> {
        let lengths = self.lengths()?;
        self.last_of(lengths.len())?;
        let bodies_len: u64 = lengths.iter().map(|len| u64::from(*len)).sum();
        let raw_len = bodies_len + u64::from(self.inline);
        if raw_len > limits::RUN_RAW_BYTES_MAX as u64 {
            return Err(Fault::TooLarge);
        }
        let raw_len = raw_len as usize;
        let (form, packed, len_max) = match self.payload.split_first() {
            Some((&(SHEET | REFERRING), sheet)) => (Form::Sheet, sheet, sheet::len_max(raw_len)),
            _ => (Form::Plain, &self.payload[..], raw_len),
        };
        let unpacked = decompress(form, packed, len_max).map_err(|_| Fault::Malformed)?;
        Ok((unpacked, lengths))
    }
}

fn take(rest: &mut Bytes, len: usize) -> Result<Bytes, Fault> {
    if len <= rest.len() { Ok(rest.split_to(len)) } else { Err(Fault::Malformed) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{bundle::BlobRef, id::VatNumber, wire::Frame};

    pub fn run(body: &Body, inline: &[u8]) -> Run {
        let bytes = body.encode().unwrap();
        Run {
            tenant: Tenant(VatNumber::parse("02038490237").unwrap()),
            log: LogId::from_bytes([1; 16]),
            first: 1,
            previous: ChainHash::START,
            origin: None,
            bodies: vec![bytes.len() as u32],
            inline: inline.len() as u32,
            signature: Signature::from_bytes(&[0; 64]),
            payload: Run::pack(
                Packing { form: Form::Sheet, effort: Effort::Quick },
                [(&bytes[..], inline)].into_iter(),
            ),
        }
    }

    #[test]
    fn a_run_reads_back_with_its_files() {
        let file = b"<FatturaElettronica/>";
        let body = Body { blobs: vec![BlobRef::of(file)], ..Body::default() };
        let frame = Frame::Run(run(&body, file));
        let Frame::Run(back) = Frame::decode(&frame.encode()).unwrap() else { panic!() };
        let opened = back.open().unwrap();
        assert_eq!(opened[0].inline, &file[..]);
        assert_eq!(opened[0].body, body);
    }

    #[test]
    fn a_file_that_is_not_the_one_named_is_refused() {
        let body = Body { blobs: vec![BlobRef::of(b"right")], ..Body::default() };
        let mut run = run(&body, b"wrong");
        let bytes = body.encode().unwrap();
        let packing = Packing { form: Form::Plain, effort: Effort::Quick };
        run.payload = Run::pack(packing, [(&bytes[..], &b"wrong"[..])].into_iter());
        assert_eq!(run.open(), Err(Fault::BadChunk));
        // In a sheet nobody can name another file than is there: the body is another then, which
        // its signature does not vouch for.
        run.payload = sheet_of(&bytes, b"wrong");
        let opened = run.open().unwrap();
        assert_eq!(opened[0].body.blobs, [BlobRef::of(b"wrong")]);
    }

    #[test]
    fn a_sheet_is_read_whatever_the_version_and_a_bomb_in_it_is_not() {
        let file = b"<Riga><N>1</N></Riga>".repeat(40);
        let body = Body { blobs: vec![BlobRef::of(&file)], ..Body::default() };
        let bytes = body.encode().unwrap();
        let mut run = run(&body, &file);
        assert_eq!(run.payload, sheet_of(&bytes, &file));
        let opened = run.open().unwrap();
        assert_eq!((&opened[0].bytes[..], &opened[0].inline[..]), (&bytes[..], &file[..]));
        run.inline += 1;
        assert_eq!(run.open(), Err(Fault::Malformed));
        run.payload =
            [&[SHEET][..], &zstd::bulk::compress(&vec![0; 50_000_000], 1).unwrap()].concat();
        assert_eq!(run.open(), Err(Fault::Malformed));
    }

    #[test]
    fn lengths_that_come_again_are_told_once() {
        let lengths: Vec<_> = [vec![7; 4095], vec![3], vec![5; 2], vec![6; 3]].concat();
        let told = Form::Sheet.told(&lengths);
        assert_eq!(told, [7, 0, 4094, 3, 5, 5, 6, 0, 2]);
        assert_eq!(Form::Plain.told(&lengths), lengths);
        let of = |bodies: &[u32]| Run { bodies: bodies.to_vec(), ..run(&Body::default(), b"") };
        assert_eq!(of(&told[..7]).lengths(), Err(Fault::TooLarge), "one more than there may be");
        assert_eq!(of(&told[3..]).lengths(), Ok(lengths[4095..].to_vec()));
        assert_eq!(of(&told[3..]).last(), Ok(6));
        for (told, fault) in [
            (&[][..], Fault::Malformed),
            (&[0, 2], Fault::Malformed),
            (&[4, 0], Fault::Malformed),
            (&[4, 0, u32::MAX], Fault::TooLarge),
            (&[4, 0, 4095, 4], Fault::TooLarge),
        ] {
            assert_eq!(of(told).last(), Err(fault), "{told:?}");
            assert_eq!(of(told).open(), Err(fault), "{told:?}");
        }
    }

    fn sheet_of(body: &[u8], file: &[u8]) -> Vec<u8> {
        let (sheet, _) =
            sheet::lay(&[(body, file)], LogId::from_bytes([1; 16]), &Known::new()).unwrap();
        [&[SHEET][..], &Effort::Quick.compress(Form::Sheet, &sheet).unwrap()].concat()
    }

    #[test]
    fn a_decompression_bomb_stops_at_the_declared_length() {
        let mut bomb = run(&Body::default(), b"");
        bomb.payload = zstd::bulk::compress(&vec![0; 50_000_000], 1).unwrap();
        assert!(bomb.payload.len() < 10_000);
        assert_eq!(bomb.open(), Err(Fault::Malformed));
        bomb.inline = u32::MAX;
        assert_eq!(bomb.open(), Err(Fault::TooLarge));
    }
}
