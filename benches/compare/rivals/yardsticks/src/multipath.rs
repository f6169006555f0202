//! QUIC multipath (draft-ietf-quic-multipath, by noq): one connection to one server over two lines,
//! the second a backup.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use noq::{ClientConfig, Endpoint, PathStatus, ServerConfig, TransportConfig};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{
    AnyError,
    said::{MESSAGE_BYTES, Said, number},
};

const NAME: &str = "yardstick.test";
const PATHS: u32 = 4;
/// How long the second path is tried, and how often.
const PATIENCE: Duration = Duration::from_secs(5);
const BREATH: Duration = Duration::from_millis(10);

/// `iroh`: as iroh 1.4 sets it, 5 s between two signs of life and a path given up after 15.
/// `short`: so that a path is given up after 0.3 s, seven round trips of 40 ms.
fn transport(timers: &str) -> Result<Arc<TransportConfig>, AnyError> {
    let (alive, idle) = match timers {
        "iroh" => (Duration::from_secs(5), Duration::from_secs(15)),
        "short" => (Duration::from_millis(100), Duration::from_millis(300)),
        other => return Err(format!("there are no timers {other}: iroh or short").into()),
    };
    let mut transport = TransportConfig::default();
    transport.max_concurrent_multipath_paths(PATHS);
    transport.default_path_keep_alive_interval(Some(alive));
    transport.default_path_max_idle_timeout(Some(idle));
    Ok(Arc::new(transport))
}

/// Acknowledges what comes, for ever, after it wrote its certificate to a file.
pub async fn serve(timers: &str, cert: impl AsRef<Path>) -> Result<(), AnyError> {
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    std::fs::write(cert, own.cert.der())?;
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let mut config = ServerConfig::with_single_cert(vec![own.cert.der().clone()], key)?;
    config.transport_config(transport(timers)?);
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse()?)?;
    println!("{}", endpoint.local_addr()?.port());
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await?;
            let (mut to, mut from) = connection.accept_bi().await?;
            let mut message = [0; MESSAGE_BYTES];
            while from.read_exact(&mut message).await.is_ok() {
                to.write_all(&(number(&message) + 1).to_be_bytes()).await?;
            }
            Ok::<_, AnyError>(())
        });
    }
    Ok(())
}

/// Writes over the first line, or the second if that one fails.
pub async fn write(
    timers: &str,
    [one, other]: [SocketAddr; 2],
    cert: impl AsRef<Path>,
) -> Result<(), AnyError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(std::fs::read(cert)?))?;
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    config.transport_config(transport(timers)?);
    let endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(one, NAME)?.await?;
    // The server's connection identifiers for a second path come after the handshake.
    let until = Instant::now() + PATIENCE;
    while let Err(error) = connection.open_path(other, PathStatus::Backup).await {
        if Instant::now() > until {
            return Err(error.into());
        }
        sleep(BREATH).await;
    }
    let (mut to, mut from) = connection.open_bi().await?;
    let mut said = Said::start();
    let (mut next, mut answer, mut filled) = (0, [0; 8], 0);
    while !said.is_over() {
        while next < said.count() {
            match timeout_at(said.end(), to.write_all(&Said::message(next))).await {
                Ok(Ok(())) => next += 1,
                _ => break,
            }
        }
        tokio::select! {
            read = from.read(&mut answer[filled..]) => match read {
                Ok(Some(read)) => {
                    filled += read;
                    if filled == answer.len() {
                        said.acknowledge(number(&answer));
                        filled = 0;
                    }
                }
                // The connection is gone, and there is none besides.
                _ => break,
            },
            () = sleep_until(said.at(next)) => {}
            () = sleep_until(said.end()) => break,
        }
    }
    said.print();
    Ok(())
}
