//! The customers' door: HTTPS on its own addresses, and who comes in.
//!
//! TLS 1.3 with the portal's certificate; a guest shows its own, which is judged at every
//! request and not once a connection. Connections are bounded in all and per address, and one
//! that does not finish its handshake or its headers is closed.

pub mod api;
pub mod asked;
pub mod pass;
pub mod password;
pub mod routes;
pub mod serve;
pub mod sessions;
pub mod throttle;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use node::transport::{Identity, guest};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::portal::Portal;

/// Longest that a handshake may take, and the headers of a request.
const PATIENCE: Duration = Duration::from_secs(15);
/// Connections at a time.
const CONNECTIONS_MAX: usize = 2048;
/// Connections of one address at a time: an office behind one, six per browser.
const PER_ADDRESS_MAX: usize = 256;
/// Below which path programs ask, as on a node.
const API: &str = "/api/";
/// Pause after the system could not give us a socket.
const PAUSE: Duration = Duration::from_millis(50);

/// The door's TLS.
///
/// # Errors
/// What rustls says of the key.
pub fn tls(identity: &Identity) -> Result<Arc<ServerConfig>, rustls::Error> {
    guest::server(identity, &[b"http/1.1"])
}

/// Serves `portal` on `socket` until the task is dropped.
pub async fn serve(portal: Arc<Portal>, api: Router, tls: Arc<ServerConfig>, socket: TcpListener) {
    let acceptor = TlsAcceptor::from(tls);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let crowd = Arc::new(Crowd::default());
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let Ok((stream, address)) = socket.accept().await else {
            // Too many open files, most likely.
            sleep(PAUSE).await;
            continue;
        };
        let Some(place) = crowd.enter(address.ip()) else { continue };
        let (portal, api, acceptor) = (Arc::clone(&portal), api.clone(), acceptor.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(portal, api, acceptor, stream, address).await {
                tracing::debug!(%address, %error, "connection to the pages ended");
            }
            drop((permit, place));
        });
    }
}

async fn connection(
    portal: Arc<Portal>,
    api: Router,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let _ = stream.set_nodelay(true);
    let stream = timeout(PATIENCE, acceptor.accept(stream)).await??;
    let peer = guest::peer(stream.get_ref().1);
    let api = api::guarded(api, Arc::clone(&portal), peer, address.ip());
    let api = TowerToHyperService::new(api);
    let pages = TowerToHyperService::new(serve::router(portal, peer, address.ip()));
    // Side by side: a router within a router counts the outer one's parts of the path as its own.
    let service = service_fn(move |request: Request<Incoming>| {
        if request.uri().path().starts_with(API) { api.call(request) } else { pages.call(request) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_headers(100)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

/// How many connections each address has.
#[derive(Default)]
struct Crowd(Mutex<HashMap<IpAddr, usize>>);

/// A connection's place in the crowd.
struct Place {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Place { crowd: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
