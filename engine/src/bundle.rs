//! A bundle: what one writer says once about one tenant, chained and signed.
//!
//! Bundles are the unit of signing, storing and relaying. A relay forwards a body's
//! bytes unchanged; nothing is ever re-encoded, so a hash made by the writer is the
//! hash everyone recomputes. The layout is PROTOCOL.md section 2.

use std::fmt;

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    fault::Fault,
    grant::{Grant, Revocation},
    id::{BlobHash, CutHash, DocumentId, Incarnation, LogId, PeerId, Seq, VatNumber},
    limits,
};

/// The hash of a bundle, which covers every earlier bundle of its log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What stands before the first bundle.
    pub const START: Self = Self([0; 32]);

    /// The hash of bundle `seq` whose body is `body`, after `self`.
    #[must_use]
    pub fn next(&self, tenant: VatNumber, log: &LogId, seq: Seq, body: &[u8]) -> Self {
        let digest = Sha256::new()
            .chain_update(b"staffetta bundle 1")
            .chain_update(tenant.as_u64().to_be_bytes())
            .chain_update(log.as_bytes())
            .chain_update(seq.to_be_bytes())
            .chain_update(self.0)
            .chain_update(body)
            .finalize();
        Self(digest.into())
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "ChainHash({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// An ECDSA P-256 signature over a [`ChainHash`]: `r || s`, 32 bytes each.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    r: [u8; 32],
    s: [u8; 32],
}

impl Signature {
    /// Takes `r || s` apart.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        Self { r, s }
    }

    /// Puts `r || s` together.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.r);
        bytes[32..].copy_from_slice(&self.s);
        bytes
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

/// Signs with the writer's private key. The host implements it, since signing wants
/// randomness and the engine has none.
pub trait Signer: Send {
    /// The public key that verifies what [`Signer::sign`] makes.
    fn public_key(&self) -> &PublicKey;
    /// ECDSA P-256 with SHA-256 over `message`, `r || s`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// The SubjectPublicKeyInfo of an ECDSA P-256 key: these 26 bytes, then the
/// uncompressed point (RFC 5480 section 2).
pub const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A writer's public key. Having one proves that it is an ECDSA P-256 key in the one
/// encoding we accept, and that its [`PeerId`] is its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: Vec<u8>,
    peer: PeerId,
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KeyError`] when it is not an uncompressed P-256 point.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        if spki.len() != SPKI_P256.len() + 65
            || !spki.starts_with(&SPKI_P256)
            || spki[SPKI_P256.len()] != 4
        {
            return Err(KeyError);
        }
        Ok(Self { spki: spki.to_vec(), peer: PeerId::of_spki(spki) })
    }

    /// The key's name.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The DER SubjectPublicKeyInfo, 91 bytes.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Whether `signature` over `hash` was made by this key.
    #[must_use]
    pub fn verifies(&self, hash: &ChainHash, signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.spki[SPKI_P256.len()..])
            .verify(&hash.0, &signature.to_bytes())
            .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?})", self.peer)
    }
}

/// A public key we do not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ECDSA P-256 public key: issue the certificate with staffetta-certgen")]
pub struct KeyError;

/// Who writes a log. Sent once, with its first bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The writer's key.
    pub key: PublicKey,
    /// Which of the writer's incarnations.
    pub incarnation: Incarnation,
}

impl Origin {
    /// The log's name.
    #[must_use]
    pub fn log(&self) -> LogId {
        LogId::derive(&self.key.peer(), &self.incarnation)
    }
}

/// What a bundle says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// The writer's clock, milliseconds since 1970. For people to read: no decision uses it.
    pub written_ms: u64,
    /// Changes and statements, applied in order.
    pub items: Vec<Item>,
    /// The original files this bundle brings.
    pub blobs: Vec<BlobRef>,
}

/// One thing said in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// The contents of one Automerge change to one document (see [`crate::chunk`]).
    Change {
        /// Which document; its kind decides who may write it.
        document: DocumentId,
        /// Change chunk contents.
        change: Vec<u8>,
    },
    /// A portal admits a key.
    Grant(Grant),
    /// A portal ends a key.
    Revocation(Revocation),
}

/// A file the bundle brings: its name, its size, and for a large one the name of each chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// SHA-256 of the whole file.
    pub hash: BlobHash,
    /// Its size in bytes.
    pub len: u64,
    /// SHA-256 of each 64 KiB chunk; empty when the bytes travel inside the run.
    pub chunks: Vec<[u8; 32]>,
}

impl BlobRef {
    /// Names `bytes`, cut into chunks when they are too long to travel inline.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let chunks = if bytes.len() <= limits::BLOB_INLINE_BYTES_MAX {
            Vec::new()
        } else {
            bytes.chunks(limits::CHUNK_BYTES).map(|chunk| Sha256::digest(chunk).into()).collect()
        };
        Self { hash: BlobHash::of(bytes), len: bytes.len() as u64, chunks }
    }

    /// Whether the bytes travel beside the body in the same run.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The name under which its chunks are asked for and stored.
    #[must_use]
    pub fn cut(&self) -> CutHash {
        CutHash::of(&self.hash, self.len, &self.chunks)
    }

    /// The length in bytes of chunk `index`, if there is such a chunk.
    #[must_use]
    pub fn chunk_len(&self, index: u32) -> Option<usize> {
        let start = u64::from(index) * limits::CHUNK_BYTES as u64;
        ((index as usize) < self.chunks.len())
            .then(|| (self.len - start).min(limits::CHUNK_BYTES as u64) as usize)
    }
}

impl Body {
    /// Encodes the bytes that are hashed, stored and relayed.
    ///
    /// # Errors
    /// [`BodyError`] when it is over a limit, which the caller asked for.
    pub fn encode(&self) -> Result<Vec<u8>, BodyError> {
        self.check()?;
        let bytes = postcard::to_stdvec(self).map_err(|_| BodyError::Malformed)?;
        if bytes.len() > limits::BODY_BYTES_MAX {
            return Err(BodyError::TooLarge("a bundle's body"));
        }
        Ok(bytes)
    }

    /// Decodes a body. A decoded body is within every limit that concerns one bundle. What a
    /// later version adds stands behind the fields and is left unread: whoever stores or relays
    /// a body does so with the bytes that came (PROTOCOL.md section 7).
    ///
    /// # Errors
    /// [`BodyError`]
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        if bytes.len() > limits::BODY_BYTES_MAX {
            return Err(BodyError::TooLarge("a bundle's body"));
        }
        let (body, _later) =
            postcard::take_from_bytes::<Self>(bytes).map_err(|_| BodyError::Malformed)?;
        body.check().map(|()| body)
    }

    /// Bytes of the blobs that travel inside the run.
    #[must_use]
    pub fn inline_bytes(&self) -> usize {
        self.blobs.iter().filter(|blob| blob.is_inline()).map(|blob| blob.len as usize).sum()
    }

    /// The blobs whose bytes travel as chunks.
    pub fn large_blobs(&self) -> impl Iterator<Item = &BlobRef> {
        self.blobs.iter().filter(|blob| !blob.is_inline())
    }

    /// The documents this bundle touches, each once.
    #[must_use]
    pub fn documents(&self) -> Vec<DocumentId> {
        let mut documents: Vec<_> = self
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Change { document, .. } => Some(*document),
                Item::Grant(_) | Item::Revocation(_) => None,
            })
            .collect();
        documents.sort_unstable();
        documents.dedup();
        documents
    }

    fn check(&self) -> Result<(), BodyError> {
        if self.items.len() > limits::BODY_ITEMS_MAX || self.blobs.len() > limits::BODY_BLOBS_MAX {
            return Err(BodyError::TooLarge("a bundle's list"));
        }
        for blob in &self.blobs {
            if blob.len > limits::BLOB_BYTES_MAX {
                return Err(BodyError::TooLarge("a file"));
            }
            let chunks = blob.len.div_ceil(limits::CHUNK_BYTES as u64);
            let fits = if blob.is_inline() {
                blob.len <= limits::BLOB_INLINE_BYTES_MAX as u64
            } else {
                blob.chunks.len() as u64 == chunks
            };
            if !fits {
                return Err(BodyError::Malformed);
            }
        }
        if self.inline_bytes() > limits::BUNDLE_INLINE_BYTES_MAX {
            return Err(BodyError::TooLarge("a bundle's inline files"));
        }
        Ok(())
    }
}

/// A body that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Over one of [`crate::limits`].
    #[error("{0} is over its limit")]
    TooLarge(&'static str),
    /// Not a body of protocol version 1.
    #[error("the body of a bundle is malformed")]
    Malformed,
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(_) => Self::TooLarge,
            BodyError::Malformed => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> VatNumber {
        VatNumber::parse("02038490237").unwrap()
    }

    #[test]
    fn a_chain_hash_depends_on_everything_before_it() {
        let log = LogId::from_bytes([7; 16]);
        let first = ChainHash::START.next(tenant(), &log, 1, b"a");
        assert_ne!(first, ChainHash::START.next(tenant(), &log, 1, b"b"));
        assert_ne!(first, ChainHash::START.next(tenant(), &log, 2, b"a"));
        assert_ne!(first, ChainHash::START.next(tenant(), &LogId::from_bytes([8; 16]), 1, b"a"));
        let second = first.next(tenant(), &log, 2, b"c");
        assert_ne!(second, ChainHash::START.next(tenant(), &log, 2, b"c"));
    }

    #[test]
    fn a_body_reads_back_whatever_a_later_version_adds_and_a_shorter_one_does_not() {
        let body = Body {
            written_ms: 5,
            items: vec![Item::Change {
                document: DocumentId::from_bytes([3; 16]),
                change: vec![1, 2, 3],
            }],
            blobs: vec![BlobRef::of(b"<xml/>"), BlobRef::of(&vec![1; 200_000])],
        };
        let bytes = body.encode().unwrap();
        assert_eq!(Body::decode(&bytes).as_ref(), Ok(&body));
        let longer = [&bytes[..], b"what version 9 adds"].concat();
        assert_eq!(Body::decode(&longer), Ok(body));
        for len in 0..bytes.len() {
            assert_eq!(Body::decode(&bytes[..len]), Err(BodyError::Malformed));
        }
    }

    #[test]
    fn a_blob_whose_chunks_do_not_add_up_is_refused() {
        let mut blob = BlobRef::of(&vec![1; 200_000]);
        assert_eq!(blob.chunks.len(), 4);
        assert_eq!(blob.chunk_len(3), Some(200_000 - 3 * 65_536));
        assert_eq!(blob.chunk_len(4), None);
        blob.chunks.pop();
        let body = Body { blobs: vec![blob], ..Body::default() };
        assert_eq!(body.encode(), Err(BodyError::Malformed));
    }

    #[test]
    fn only_p256_keys_are_keys() {
        assert!(PublicKey::from_spki(b"rsa").is_err());
        let mut spki = SPKI_P256.to_vec();
        spki.push(4);
        spki.extend([9; 64]);
        let key = PublicKey::from_spki(&spki).unwrap();
        assert_eq!(key.peer(), PeerId::of_spki(&spki));
    }
}
