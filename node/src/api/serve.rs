//! The door on the LAN: a listener with bounds, TLS where others could listen, and users.
//!
//! Beyond loopback everything is TLS with the node's own certificate, whose pin is that of the
//! node, so `curl --pinnedpubkey` and the replication trust one key. Every request is checked
//! anew: whoever is removed is refused at the next one.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{OPENAPI_PATH, caller::Caller, problem::Problem};
use crate::transport::{Identity, tls};

/// Connections at once: those beyond wait in the system's queue.
const CONNECTIONS_MAX: usize = 128;
/// Longest time for a TLS handshake, and for the header of a request.
const HEADER: Duration = Duration::from_secs(10);
/// Longest time for a request, its body included and its answer not.
const REQUEST: Duration = Duration::from_secs(150);
/// A reader that takes nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(60);
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Bytes of a request's header, and of what is read ahead.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Wrong passwords from one address within [`FORGIVEN`] before it has to wait.
const WRONG_MAX: u32 = 10;
/// For how long a wrong password counts.
const FORGIVEN: Duration = Duration::from_secs(60);
/// Addresses that wrong passwords are counted of.
const ADDRESSES_MAX: usize = 4096;
/// Passwords compared at once: each costs a slow hash.
const COMPARED_MAX: usize = 2;
/// Pause after the system could not give us a socket.
const PAUSE: Duration = Duration::from_millis(50);

/// Who is known here. Its questions may take their time.
pub trait Accounts: Send + Sync + 'static {
    /// The user of this name and password.
    fn by_password(&self, name: &str, password: &str) -> Option<Caller>;
    /// Whose token this is.
    fn by_token(&self, token: &str) -> Option<Caller>;
}

/// The address a request came from.
#[derive(Clone, Copy, Debug)]
struct Came(SocketAddr);

struct Door {
    accounts: Arc<dyn Accounts>,
    wrong: Mutex<HashMap<IpAddr, (u32, Instant)>>,
    comparing: Semaphore,
}

/// `router` behind a door that lets in whom `accounts` knows.
pub fn guarded(router: Router, accounts: impl Accounts) -> Router {
    let door = Arc::new(Door {
        accounts: Arc::new(accounts),
        wrong: Mutex::default(),
        comparing: Semaphore::new(COMPARED_MAX),
    });
    router
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let door = Arc::clone(&door);
            async move { door.pass(request, next).await }
        }))
        .layer(middleware::from_fn(super::problem::in_the_language_asked))
}

impl Door {
    async fn pass(&self, mut request: Request, next: Next) -> Response {
        if request.uri().path() == OPENAPI_PATH {
            return next.run(request).await;
        }
        let from = request.extensions().get::<Came>().map(|from| from.0.ip());
        if let Some(wait) = from.and_then(|from| self.has_to_wait(from)) {
            return Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-attempts",
                "troppi tentativi errati da questo indirizzo: attendere un minuto",
                "too many wrong attempts from this address: wait a minute",
            )
            .retry_after(wait.as_secs() + 1)
            .into_response();
        }
        let said = request.headers().get(header::AUTHORIZATION).cloned();
        match self.who(said.as_ref()).await {
            Some(caller) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            None => {
                if let (Some(from), Some(_)) = (from, said) {
                    tracing::warn!(%from, "somebody was not let in");
                    self.was_wrong(from);
                }
                Problem::unauthorised().into_response()
            }
        }
    }

    async fn who(&self, said: Option<&HeaderValue>) -> Option<Caller> {
        let (scheme, rest) = said?.to_str().ok()?.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.accounts.by_token(rest);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        let (name, password) = text.split_once(':')?;
        let _comparing = self.comparing.acquire().await.ok()?;
        let (name, password) = (name.to_owned(), password.to_owned());
        let accounts = Arc::clone(&self.accounts);
        spawn_blocking(move || accounts.by_password(&name, &password)).await.ok().flatten()
    }

    fn has_to_wait(&self, from: IpAddr) -> Option<Duration> {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = wrong.get(&from).copied()?;
        let left = FORGIVEN.checked_sub(since.elapsed());
        if left.is_none() {
            wrong.remove(&from);
        }
        left.filter(|_| count >= WRONG_MAX)
    }

    fn was_wrong(&self, from: IpAddr) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= ADDRESSES_MAX {
            wrong.retain(|_, (_, since)| since.elapsed() < FORGIVEN);
            if wrong.len() >= ADDRESSES_MAX {
                wrong.clear();
            }
        }
        wrong.entry(from).or_insert((0, Instant::now())).0 += 1;
    }
}

/// A listener that answers with a router until it is dropped.
pub struct Served {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens on `address`, in TLS as `identity` if there is one.
///
/// # Errors
/// When the address cannot be had.
pub async fn listen(
    address: SocketAddr,
    identity: Option<&Identity>,
    router: Router,
) -> io::Result<Served> {
    let tls = identity.map(tls::https).transpose().map_err(io::Error::other)?;
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let socket = TcpListener::bind(address).await?;
    let address = socket.local_addr()?;
    let router = router.layer(middleware::from_fn(in_time));
    let task = tokio::spawn(async move {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            match socket.accept().await {
                Ok((stream, from)) => {
                    let (router, tls) = (router.clone(), tls.clone());
                    tokio::spawn(async move {
                        connection(stream, from, tls, router).await;
                        drop(permit);
                    });
                }
                // Too many open files, most likely.
                Err(_) => sleep(PAUSE).await,
            }
        }
    });
    Ok(Served { address, task })
}

async fn connection(stream: TcpStream, from: SocketAddr, tls: Option<TlsAcceptor>, router: Router) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(STALLED));
    #[cfg(not(target_os = "linux"))]
    let _ = STALLED;
    let router = router.layer(Extension(Came(from)));
    match tls {
        None => talk(stream, router).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(HEADER, tls.accept(stream)).await {
                talk(stream, router).await;
            }
        }
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let talking = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // Whoever goes away or speaks nonsense is not our failure.
    let _ = talking.await;
}

/// Ends a request whose body does not come.
async fn in_time(request: Request, next: Next) -> Response {
    timeout(REQUEST, next.run(request)).await.unwrap_or_else(|_| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "la richiesta non si è conclusa in tempo",
            "the request did not end in time",
        )
        .into_response()
    })
}
