//! A browser as small as can be: one connection that is kept alive, a client certificate, cookies,
//! and the hidden token of the form it last saw.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    pub status: u16,
    pub location: String,
    pub headers: hyper::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Page {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Whether somebody was turned away: told so, or sent to the log-in page.
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, 401 | 403 | 404) || (self.status == 303 && self.location == "/entra")
    }

    /// The hidden fields by which a form says what it showed.
    pub fn shown(&self) -> Vec<(String, String)> {
        let text = self.text();
        let inputs = text.split("<input type=\"hidden\" name=\"").skip(1);
        let pairs = inputs.filter_map(|rest| {
            let (name, rest) = rest.split_once("\" value=\"")?;
            let value = rest.split('"').next()?.replace("&quot;", "\"").replace("&amp;", "&");
            Some((name.to_owned(), value))
        });
        pairs.filter(|(name, _)| name.starts_with("prima_") || name.starts_with("visto_")).collect()
    }

    /// The value of the hidden field `token`.
    pub fn token(&self) -> Option<String> {
        let text = self.text();
        let rest = text.split("name=\"token\" value=\"").nth(1)?;
        Some(rest.split('"').next()?.to_owned())
    }
}

/// A browser. See the module's header.
pub struct Browser {
    pages: SocketAddr,
    connector: TlsConnector,
    open: Option<SendRequest<Full<Bytes>>>,
    /// Connections made.
    pub connections: usize,
    pub cookies: BTreeMap<String, String>,
    pub token: String,
    /// User and password to send with each request, as a program does.
    pub basic: Option<(String, String)>,
}

impl Browser {
    /// One that trusts `authority` and shows the certificate at `stem`, if any.
    pub fn new(pages: SocketAddr, authority: &str, stem: Option<&Path>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match stem {
            None => builder.with_no_client_auth(),
            Some(stem) => {
                let cert = fs::read(stem.with_extension("cert")).unwrap();
                let key = fs::read(stem.with_extension("key")).unwrap();
                let chain = CertificateDer::pem_slice_iter(&cert).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let connector = TlsConnector::from(Arc::new(config));
        Self {
            pages,
            connector,
            open: None,
            connections: 0,
            cookies: BTreeMap::new(),
            token: String::new(),
            basic: None,
        }
    }

    /// Goes to the other portal: another connection, and the cookies stay as a browser keeps them.
    pub fn turn_to(&mut self, pages: SocketAddr) {
        self.pages = pages;
        self.open = None;
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Request::get(path), Bytes::new()).await
    }

    /// Sends a form with the token last seen.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.token.clone();
        let fields = fields.iter().copied().chain([("token", token.as_str())]);
        let body: Vec<String> =
            fields.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let request = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        self.send(request, Bytes::from(body.join("&"))).await
    }

    /// Looks at `page` first, for the token of its form and what the form brings back of what it
    /// showed.
    pub async fn submit(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let seen = self.get(page).await;
        assert_eq!(seen.status, 200, "{page}: {}", seen.text());
        self.fill(&seen, path, fields).await
    }

    /// Sends the form of a page that was seen.
    pub async fn fill(&mut self, seen: &Page, path: &str, fields: &[(&str, &str)]) -> Page {
        let shown = seen.shown();
        let shown = shown.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fields: Vec<_> = fields.iter().copied().chain(shown).collect();
        self.post(path, &fields).await
    }

    /// Sends a file.
    pub async fn upload(&mut self, path: &str, name: &str, bytes: &[u8]) -> Page {
        let mark = "mark-4711";
        let mut body = format!(
            "--{mark}\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n{}\r\n\
             --{mark}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.token
        )
        .into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n--{mark}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={mark}");
        self.send(Request::post(path).header("content-type", kind), Bytes::from(body)).await
    }

    /// Sends a body as a program does.
    pub async fn send_body(&mut self, path: &str, kind: &str, bytes: &[u8]) -> Page {
        let body = Bytes::copy_from_slice(bytes);
        self.send(Request::post(path).header("content-type", kind), body).await
    }

    pub async fn log_in(&mut self, user: &str, password: &str) -> Page {
        self.submit("/entra", "/entra", &[("utente", user), ("password", password)]).await
    }

    async fn send(&mut self, request: hyper::http::request::Builder, body: Bytes) -> Page {
        if self.open.as_ref().is_none_or(SendRequest::is_closed) {
            self.connect().await;
        }
        let cookies: Vec<_> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let mut request = request.header("host", "localhost");
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if let Some((user, password)) = &self.basic {
            let word = STANDARD.encode(format!("{user}:{password}"));
            request = request.header("authorization", format!("Basic {word}"));
        }
        let request = request.body(Full::new(body)).unwrap();
        let open = self.open.as_mut().unwrap();
        open.ready().await.unwrap();
        let answer = open.send_request(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        for cookie in parts.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (pair, rest) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            for word in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
                assert!(rest.contains(word), "{cookie} lacks {word}");
            }
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let location = parts.headers.get("location").map_or("", |v| v.to_str().unwrap());
        let page = Page {
            status: parts.status.as_u16(),
            location: location.to_owned(),
            headers: parts.headers.clone(),
            bytes,
        };
        if let Some(token) = page.token() {
            self.token = token;
        }
        page
    }

    async fn connect(&mut self) {
        self.connections += 1;
        let stream = TcpStream::connect(self.pages).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = self.connector.connect(name, stream).await.unwrap();
        let (open, driving) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driving);
        self.open = Some(open);
    }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => (byte as char).into(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
