//! TLS for guests: whoever comes to a server that is not a replica, such as a portal's pages.
//!
//! The handshake proves that a guest holds the key of the certificate it shows, and decides
//! nothing: a guest without a certificate gets as far, so that it can be told in words what it
//! lacks, and who a certificate belongs to is asked again at every request, since it may end
//! while the connection lives. TLS 1.3 only, no tickets.

use std::sync::Arc;

use engine::id::PeerId;
use rustls::{
    CommonState, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::verify_tls13_signature,
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};

use super::{identity::Identity, pin, tls};

/// How a server with `identity` answers guests that speak one of `protocols` (ALPN).
///
/// # Errors
/// What rustls says of the key.
pub fn server(identity: &Identity, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(GuestRule))
        .with_cert_resolver(identity.certified());
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    Ok(Arc::new(config))
}

/// The pin of the key that a guest proved to hold, once its handshake is complete; `None` when it
/// showed no certificate.
#[must_use]
pub fn peer(session: &CommonState) -> Option<PeerId> {
    let chain = if session.is_handshaking() { None } else { session.peer_certificates() };
    pin::p256_spki(chain?.first()?).ok().map(|spki| PeerId::of_spki(&spki))
}

/// Any certificate of a P-256 key, or none.
#[derive(Debug)]
struct GuestRule;

impl ClientCertVerifier for GuestRule {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        pin::p256_spki(end_entity)
            .map(|_| ClientCertVerified::assertion())
            .map_err(|_| rustls::CertificateError::BadEncoding.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // Never asked for: only TLS 1.3 is spoken.
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
