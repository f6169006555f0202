//! Somebody at a portal's pages, as a browser comes: HTTPS with a certificate of its own, one
//! connection that is kept, cookies, and the hidden token of the form it last saw. It reads no
//! page for its meaning; what it is told to do is in [`welcome`](crate::welcome).

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1::SendRequest, http::request::Builder};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::TLS13,
};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use crate::end::{AnyError, Papers};

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// Where it sends the browser; empty when nowhere.
    pub location: String,
    /// The page.
    pub text: String,
}

impl Page {
    /// The value of the hidden field `name`.
    #[must_use]
    pub fn hidden(&self, name: &str) -> Option<&str> {
        let rest = self.text.split(&format!("name=\"{name}\" value=\"")).nth(1)?;
        rest.split('"').next()
    }

    /// The page, if it leads to `location`.
    ///
    /// # Errors
    /// What was answered instead.
    pub fn leads_to(self, location: &str) -> Result<Self, AnyError> {
        if self.status == 303 && self.location == location {
            return Ok(self);
        }
        Err(format!("instead of {location}: {} {} {}", self.status, self.location, self.text)
            .into())
    }
}

/// A guest. See the module's header.
pub struct Guest {
    pages: SocketAddr,
    from: Option<IpAddr>,
    connector: TlsConnector,
    open: Option<SendRequest<Full<Bytes>>>,
    cookies: BTreeMap<String, String>,
    token: String,
}

impl Guest {
    /// One that believes `authority` (PEM) and holds the certificate of `papers`, if any.
    ///
    /// # Errors
    /// What rustls says of them.
    pub fn new(
        pages: SocketAddr,
        authority: &str,
        papers: Option<&Papers>,
    ) -> Result<Self, AnyError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots);
        let config = match papers {
            None => builder.with_no_client_auth(),
            Some(Papers { cert, key }) => {
                let chain = CertificateDer::pem_slice_iter(cert.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
                builder.with_client_auth_cert(chain.collect::<Result<_, _>>()?, key)?
            }
        };
        Ok(Self {
            pages,
            from: None,
            connector: TlsConnector::from(Arc::new(config)),
            open: None,
            cookies: BTreeMap::new(),
            token: String::new(),
        })
    }

    /// Comes from this address of the machine.
    #[must_use]
    pub fn coming_from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Goes to another portal, with the same certificate and cookies.
    pub fn turn_to(&mut self, pages: SocketAddr) {
        self.pages = pages;
        self.open = None;
    }

    /// Hangs up: the next request makes a connection of its own.
    pub fn hang_up(&mut self) {
        self.open = None;
    }

    /// Looks at a page.
    ///
    /// # Errors
    /// The portal does not answer.
    pub async fn get(&mut self, path: &str) -> Result<Page, AnyError> {
        self.send(Request::get(path), Bytes::new()).await
    }

    /// Sends a form, with the token last seen.
    ///
    /// # Errors
    /// The portal does not answer.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Page, AnyError> {
        let mut body = format!("token={}", self.token);
        for (name, value) in fields {
            write!(body, "&{name}=")?;
            for byte in value.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                        body.push(char::from(byte));
                    }
                    other => write!(body, "%{other:02X}")?,
                }
            }
        }
        let request = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        self.send(request, Bytes::from(body)).await
    }

    /// Looks at `page`, and sends the form there.
    ///
    /// # Errors
    /// The portal does not answer, or `page` is not shown.
    pub async fn submit(
        &mut self,
        page: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Page, AnyError> {
        let seen = self.get(page).await?;
        if seen.status != 200 {
            return Err(format!("{page}: {} {}", seen.status, seen.text).into());
        }
        self.post(path, fields).await
    }

    /// Sends a file in the field `file`, with the token last seen.
    ///
    /// # Errors
    /// The portal does not answer.
    pub async fn upload(&mut self, path: &str, name: &str, bytes: &[u8]) -> Result<Page, AnyError> {
        let mark = "a-file-comes-here";
        let part = format!("--{mark}\r\nContent-Disposition: form-data; name=");
        let mut body = format!(
            "{part}\"token\"\r\n\r\n{}\r\n{part}\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.token
        )
        .into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n--{mark}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={mark}");
        self.send(Request::post(path).header("content-type", kind), Bytes::from(body)).await
    }

    async fn send(&mut self, mut request: Builder, body: Bytes) -> Result<Page, AnyError> {
        let mut open = match self.open.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => self.connect().await?,
        };
        request = request.header("host", self.pages.to_string());
        let cookies: Vec<_> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        open.ready().await?;
        let (parts, body) = open.send_request(request.body(Full::new(body))?).await?.into_parts();
        let bytes = body.collect().await?.to_bytes();
        self.open = Some(open);
        for cookie in parts.headers.get_all("set-cookie") {
            let (pair, rest) = cookie.to_str()?.split_once(';').unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or_default();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let location = parts.headers.get("location").and_then(|value| value.to_str().ok());
        let page = Page {
            status: parts.status.as_u16(),
            location: location.unwrap_or_default().to_owned(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        };
        if let Some(token) = page.hidden("token") {
            self.token = token.to_owned();
        }
        Ok(page)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, AnyError> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(self.pages).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.pages.ip());
        let stream = self.connector.connect(name, stream).await?;
        let (open, driving) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driving);
        Ok(open)
    }
}
