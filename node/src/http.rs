//! One HTTP request to one server: a connection for each, bounded in time and size. For webhooks
//! and the client; it follows no redirect, keeps no cookie and asks no proxy.

use std::{io, path::Path, sync::Arc, time::Duration};

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::Scheme,
};
use bytes::Bytes;
use engine::id::PeerId;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::transport::{Identity, tls};

/// Whom to believe that it is the server.
#[derive(Clone)]
pub struct Trust(Option<Arc<rustls::ClientConfig>>);

impl Trust {
    /// Nobody: for `http` alone.
    #[must_use]
    pub fn plain() -> Self {
        Self(None)
    }

    /// The server that has this key, showing `identity` to it if there is one.
    ///
    /// # Errors
    /// [`HttpError::Tls`]
    pub fn pin(pin: PeerId, identity: Option<&Identity>) -> Result<Self, HttpError> {
        let config = tls::https_pinned(pin, identity);
        Ok(Self(Some(Arc::new(config.map_err(|error| HttpError::Tls(error.to_string()))?))))
    }

    /// Servers whose certificate an authority in this PEM file signed.
    ///
    /// # Errors
    /// [`HttpError::Tls`]
    pub fn authorities(path: &Path, identity: Option<&Identity>) -> Result<Self, HttpError> {
        let tls = |why: String| HttpError::Tls(format!("{}: {why}", path.display()));
        let found = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| tls(error.to_string()))?;
        if found.is_empty() {
            return Err(tls("it holds no certificate in PEM".to_owned()));
        }
        let config = tls::https_signed(found, identity).map_err(|error| tls(error.to_string()))?;
        Ok(Self(Some(Arc::new(config))))
    }
}

/// What to ask.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where, with scheme and host.
    pub uri: Uri,
    /// Its headers, but for `Host`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body.
    pub body: Bytes,
    /// Longest time for all of it.
    pub time_max: Duration,
    /// Longest answer read.
    pub bytes_max: usize,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Asks.
///
/// # Errors
/// [`HttpError`]; whether the server did what was asked is then unknown.
pub async fn send(trust: &Trust, request: Request) -> Result<Answer, HttpError> {
    let time_max = request.time_max;
    timeout(time_max, talk(trust, request)).await.unwrap_or(Err(HttpError::Late(time_max)))
}

async fn talk(trust: &Trust, request: Request) -> Result<Answer, HttpError> {
    let uri = &request.uri;
    let named = || HttpError::Address(uri.to_string());
    let host = uri.host().ok_or_else(named)?.trim_matches(['[', ']']).to_owned();
    let secure = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(named()),
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(HttpError::Connect)?;
    if !secure {
        return over(stream, request).await;
    }
    let Some(config) = &trust.0 else {
        return Err(HttpError::Tls("https needs a pin or a file of authorities".to_owned()));
    };
    let name = ServerName::try_from(host).map_err(|_| named())?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
    over(stream.map_err(|error| HttpError::Tls(error.to_string()))?, request).await
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request,
) -> Result<Answer, HttpError> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(HttpError::Talk)?;
    let driving = tokio::spawn(connection);
    let authority = request.uri.authority().map_or("", |authority| authority.as_str());
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut asked = hyper::Request::builder()
        .method(request.method)
        .uri(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("staffetta/", env!("CARGO_PKG_VERSION")));
    for (name, value) in request.headers {
        asked = asked.header(name, value);
    }
    let asked = asked
        .body(Full::new(request.body))
        .map_err(|_| HttpError::Address(request.uri.to_string()))?;
    let answer = sender.send_request(asked).await.map_err(HttpError::Talk)?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, request.bytes_max).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            HttpError::Long(request.bytes_max)
        } else {
            HttpError::Short(error.to_string())
        }
    })?;
    driving.abort();
    Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not an address of a server.
    #[error("{0:?} is not an address: write it as https://host:port/path")]
    Address(String),
    /// Nobody there.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// TLS.
    #[error("cannot speak TLS: {0}")]
    Tls(String),
    /// HTTP.
    #[error("cannot speak HTTP: {0}")]
    Talk(hyper::Error),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// More than is read.
    #[error("the answer is longer than {0} bytes")]
    Long(usize),
    /// Cut off.
    #[error("the answer is not whole: {0}")]
    Short(String),
}
