//! The one way we speak TLS: 1.3, ring, both sides with a certificate, nothing remembered.
//!
//! Used by QUIC and by TCP alike. A resumed session would skip the pin rule and so outlive a
//! revocation: there are no tickets, no session store and no early data, on either side.

use std::sync::{Arc, OnceLock};

use engine::id::PeerId;
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, SupportedCipherSuite,
    client::{Resumption, WantsClientCert},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName},
    server::NoServerSessionStorage,
    version::TLS13,
};

use super::{
    identity::Identity,
    pin::{PinRule, PinSet},
};

/// The application protocol, agreed in every handshake: a peer that speaks another is refused.
pub const ALPN: &[u8] = b"staffetta/1";

/// rustls and quinn want a name to dial. It is not sent and nobody consults it.
pub(super) const SERVER_NAME: &str = "staffetta";

/// Ring, named explicitly in every configuration: two providers in one process, or a default
/// installed by someone else, must not matter.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| {
        // AES-128 first: 128 bits are enough, QUIC needs it for its first packets in any case, and
        // it costs a third less than AES-256. ChaCha20 last, for peers without AES instructions.
        let cipher_suites: Vec<SupportedCipherSuite> = vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
            ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
    }))
}

/// How we answer.
pub(super) fn server(identity: &Identity, pins: &PinSet) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(PinRule::new(pins, None))
        .with_cert_resolver(identity.certified());
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Default 2 tickets after each handshake.
    config.send_tls13_tickets = 0;
    // Default 256 sessions in memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    // Before the client's pin is known nothing is sent to it.
    config.send_half_rtt_data = false;
    config.enable_secret_extraction = false;
    Ok(config)
}

/// How we dial; `rule` holds whom we expect and, afterwards, why we refused.
pub(super) fn client(
    identity: &Identity,
    rule: &Arc<PinRule>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(rule) as _)
        .with_client_cert_resolver(identity.certified());
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Default 256 sessions in memory.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // The name would say nothing and be read by the whole path.
    config.enable_sni = false;
    config.enable_secret_extraction = false;
    Ok(config)
}

/// How we answer browsers and ERPs on the LAN: without a certificate of theirs, and in TLS 1.2
/// too, since older .NET has nothing newer.
///
/// # Errors
/// What rustls says.
pub fn https(identity: &Identity) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(identity.certified());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// How we dial an HTTPS server of this one key, showing `identity` if there is one.
///
/// # Errors
/// What rustls says.
pub fn https_pinned(
    pin: PeerId,
    identity: Option<&Identity>,
) -> Result<ClientConfig, rustls::Error> {
    let pins = PinSet::new([(pin, None)].into());
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(PinRule::new(&pins, Some(pin)));
    Ok(with_client(config, identity))
}

/// How we dial an HTTPS server whose certificate one of `authorities` signed.
///
/// # Errors
/// What rustls says; also where an authority is no certificate.
pub fn https_signed(
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(with_client(config, identity))
}

fn with_client(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&Identity>,
) -> ClientConfig {
    let mut config = match identity {
        Some(identity) => config.with_client_cert_resolver(identity.certified()),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// [`SERVER_NAME`] as rustls takes it.
pub(super) fn server_name() -> ServerName<'static> {
    ServerName::try_from(SERVER_NAME).expect("a lowercase word is a DNS name")
}
