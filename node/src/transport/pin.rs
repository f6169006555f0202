//! Whom we admit: one set of pins, one rule, both directions.
//!
//! A peer is admitted when its certificate's key is ECDSA P-256, the SHA-256 of that key (RFC 7469
//! section 2.4) is in the [`PinSet`], the date beside the pin has not passed, and, when we dialled,
//! it is the very peer we meant. The handshake's signature is really verified, by rustls' own
//! helper. Names, issuers and dates inside certificates take no part.
//!
//! The set can change at any time. Every connection subscribes before it is checked, so a pin that
//! leaves the set closes its connections however the two race. A peer may also be barred for a
//! while, whatever is granted: that is a decision of whoever runs the set, and can be taken back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use engine::id::PeerId;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tokio::sync::watch;

use super::{code, tls, unix_seconds};

/// Admitted peers, each with the second since 1970 after which it no longer is, if any.
pub type Pins = BTreeMap<PeerId, Option<u64>>;

/// The shared, replaceable set of admitted peers. Clones are the same set.
#[derive(Clone)]
pub struct PinSet {
    told: Arc<Mutex<Told>>,
    pins: Arc<watch::Sender<Arc<Pins>>>,
}

/// What a set was told: who may come, and who may not for now.
#[derive(Default)]
struct Told {
    granted: Pins,
    barred: BTreeSet<PeerId>,
}

impl PinSet {
    /// A set that admits `pins`.
    #[must_use]
    pub fn new(pins: Pins) -> Self {
        let told = Told { granted: pins.clone(), barred: BTreeSet::new() };
        Self {
            told: Arc::new(Mutex::new(told)),
            pins: Arc::new(watch::Sender::new(Arc::new(pins))),
        }
    }

    /// Admits exactly `pins` from now on. Connections of all others are closed.
    pub fn replace(&self, pins: Pins) {
        self.tell(|told| told.granted = pins);
    }

    /// Admits `peer` too, until `not_after` (seconds since 1970) if given.
    pub fn admit(&self, peer: PeerId, not_after: Option<u64>) {
        self.tell(|told| {
            told.granted.insert(peer, not_after);
        });
    }

    /// Admits `peer` no longer and closes its connections. False when it was not admitted.
    pub fn revoke(&self, peer: &PeerId) -> bool {
        self.tell(|told| told.granted.remove(peer).is_some())
    }

    /// Keeps exactly these peers out from now on, whatever is granted to them, and closes their
    /// connections; whoever was barred before and is not now may come again.
    pub fn bar(&self, peers: BTreeSet<PeerId>) {
        self.tell(|told| told.barred = peers);
    }

    fn tell<T>(&self, change: impl FnOnce(&mut Told) -> T) -> T {
        // Published under the lock, so that two changes are seen in their order.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut told);
        let mut pins = told.granted.clone();
        pins.retain(|peer, _| !told.barred.contains(peer));
        self.pins.send_if_modified(|current| {
            let changed = **current != pins;
            if changed {
                *current = Arc::new(pins);
            }
            changed
        });
        result
    }

    /// The set as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Pins> {
        Arc::clone(&self.pins.borrow())
    }

    /// Wakes whenever the set changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Pins>> {
        self.pins.subscribe()
    }

    /// The rule. Returns the date beside the pin.
    pub(super) fn check(
        &self,
        peer: PeerId,
        expected: Option<PeerId>,
        now: u64,
    ) -> Result<Option<u64>, Refusal> {
        if let Some(expected) = expected.filter(|expected| *expected != peer) {
            return Err(Refusal::NotExpected { peer, expected });
        }
        match self.pins.borrow().get(&peer) {
            None => Err(Refusal::NotAdmitted { peer }),
            Some(Some(not_after)) if *not_after < now => {
                Err(Refusal::Expired { peer, not_after: *not_after })
            }
            Some(not_after) => Ok(*not_after),
        }
    }

    /// The witness for a QUIC connection. A [`quinn::Connection`] exists only once its handshake is
    /// complete, since nothing here uses early data.
    pub(super) fn witness_quic(
        &self,
        connection: &quinn::Connection,
        expected: Option<PeerId>,
    ) -> Result<Authenticated, Refusal> {
        let protocol = connection
            .handshake_data()
            .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
            .and_then(|data| data.protocol);
        let chain = connection
            .peer_identity()
            .and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
        self.witness(protocol.as_deref(), chain.as_deref().map(Vec::as_slice), expected)
    }

    /// The witness for a TLS session, refused while its handshake is not complete.
    pub(super) fn witness_tls(
        &self,
        session: &rustls::CommonState,
        expected: Option<PeerId>,
    ) -> Result<Authenticated, Refusal> {
        let chain = if session.is_handshaking() { None } else { session.peer_certificates() };
        self.witness(session.alpn_protocol(), chain, expected)
    }

    fn witness(
        &self,
        protocol: Option<&[u8]>,
        chain: Option<&[CertificateDer<'_>]>,
        expected: Option<PeerId>,
    ) -> Result<Authenticated, Refusal> {
        if protocol != Some(tls::ALPN) {
            return Err(Refusal::OtherProtocol);
        }
        let leaf = chain.and_then(<[_]>::first).ok_or(Refusal::Unreadable)?;
        let spki = p256_spki(leaf)?;
        let peer = PeerId::of_spki(&spki);
        self.check(peer, expected, unix_seconds())?;
        Ok(Authenticated { peer, spki })
    }
}

impl fmt::Debug for PinSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PinSet").field(&self.snapshot()).finish()
    }
}

/// The proof that a peer holds the private key it is known by. Made only here, from a completed
/// handshake; whoever takes an `Authenticated` need not check again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    peer: PeerId,
    spki: Vec<u8>,
}

impl Authenticated {
    /// The peer.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Its SubjectPublicKeyInfo in DER, by which its signatures are verified.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
}

/// Why we do not admit a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its pin is not in the set.
    #[error("pin {peer} is not admitted here")]
    NotAdmitted {
        /// Who came.
        peer: PeerId,
    },
    /// Its pin is in the set, with a date that has passed.
    #[error("pin {peer} was admitted until {not_after} (unix seconds) and must be renewed")]
    Expired {
        /// Who came.
        peer: PeerId,
        /// Its last second.
        not_after: u64,
    },
    /// We dialled another one.
    #[error("the server holds pin {peer}, and not the pin {expected} we dialled")]
    NotExpected {
        /// Who answered.
        peer: PeerId,
        /// Whom we meant.
        expected: PeerId,
    },
    /// Its key is not ECDSA P-256.
    #[error("the peer's key is not ECDSA P-256")]
    NotP256,
    /// Its certificate cannot be parsed, or it sent none.
    #[error("the peer's certificate cannot be read")]
    Unreadable,
    /// It agreed on another application protocol than ours, or on none.
    #[error("the peer does not speak staffetta/1")]
    OtherProtocol,
}

impl Refusal {
    /// The close code, when the handshake had already completed.
    pub(super) fn code(&self) -> u32 {
        match self {
            Self::OtherProtocol => code::VERSION,
            _ => code::UNKNOWN_PIN,
        }
    }

    /// The certificate error whose TLS alert tells the peer most nearly why.
    fn alert(&self) -> Error {
        let error = match self {
            Self::NotAdmitted { .. } | Self::NotExpected { .. } | Self::OtherProtocol => {
                CertificateError::ApplicationVerificationFailure
            }
            Self::Expired { .. } => CertificateError::Expired,
            Self::NotP256 => CertificateError::InvalidPurpose,
            Self::Unreadable => CertificateError::BadEncoding,
        };
        Error::InvalidCertificate(error)
    }
}

/// The rule as rustls asks it, for servers and clients alike.
pub(super) struct PinRule {
    pins: PinSet,
    expected: Option<PeerId>,
    algorithms: WebPkiSupportedAlgorithms,
    refusal: OnceLock<Refusal>,
}

impl PinRule {
    /// `expected` is the one peer that will do, when we dial.
    pub(super) fn new(pins: &PinSet, expected: Option<PeerId>) -> Arc<Self> {
        Arc::new(Self {
            pins: pins.clone(),
            expected,
            algorithms: tls::provider().signature_verification_algorithms,
            refusal: OnceLock::new(),
        })
    }

    /// Why the first peer that this rule refused was refused: rustls' error has no room for it.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get().cloned()
    }

    fn judge(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        let judge = || {
            let peer = PeerId::of_spki(&p256_spki(leaf)?);
            self.pins.check(peer, self.expected, now.as_secs())
        };
        judge().map(|_| ()).map_err(|refusal| {
            tracing::debug!(%refusal, "peer refused");
            let alert = refusal.alert();
            // Only the first refusal is kept; on the dialling side there is only one.
            let _ = self.refusal.set(refusal);
            alert
        })
    }

    fn verify(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signature.scheme != SignatureScheme::ECDSA_NISTP256_SHA256 {
            return Err(Refusal::NotP256.alert());
        }
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }
}

impl fmt::Debug for PinRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinRule").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for PinRule {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

impl ClientCertVerifier for PinRule {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Never asked for: no configuration of ours enables TLS 1.2.
fn tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".into())
}

/// The DER that precedes the point of every P-256 SubjectPublicKeyInfo (RFC 5480): a sequence of
/// `id-ecPublicKey`, `prime256v1`, and a bit string of 65 bytes, uncompressed.
const P256_SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
const P256_SPKI_BYTES: usize = 91;

/// The certificate's SubjectPublicKeyInfo, if it is that of a P-256 key.
pub(super) fn p256_spki(leaf: &CertificateDer<'_>) -> Result<Vec<u8>, Refusal> {
    let parsed = ParsedCertificate::try_from(leaf).map_err(|_| Refusal::Unreadable)?;
    let spki = parsed.subject_public_key_info();
    if spki.len() != P256_SPKI_BYTES || !spki.starts_with(&P256_SPKI_PREFIX) {
        return Err(Refusal::NotP256);
    }
    Ok(spki.to_vec())
}

/// The uncompressed point at the end of a P-256 SubjectPublicKeyInfo.
pub(super) fn p256_point(spki: &[u8]) -> &[u8] {
    &spki[P256_SPKI_PREFIX.len() - 1..]
}
