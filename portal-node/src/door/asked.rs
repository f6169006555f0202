//! What was asked: the parts of a request that a handler may look at, all of them bounded.

use std::net::IpAddr;

use axum::{
    extract::{FromRequest as _, Multipart, Query, Request},
    http::{HeaderMap, Method, StatusCode, header},
};

/// Longest body of a form.
pub const FORM_BYTES_MAX: usize = 64 * 1024;
/// Longest body with files: the largest file the SdI takes (5 MB), and what a form adds.
pub const UPLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Fields of one form.
const FIELDS_MAX: usize = 100;

/// Names and values, in the order they came.
pub type Fields = Vec<(String, String)>;

/// A file that came with a form.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The field.
    pub field: String,
    /// The file's name, as the browser gave it.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A request.
#[derive(Debug)]
pub struct Asked {
    /// How.
    pub method: Method,
    /// The whole path with its query.
    pub uri: String,
    /// Parts of the path.
    pub params: Fields,
    /// The query.
    pub query: Fields,
    /// Fields of the form.
    pub form: Fields,
    /// Files of the form.
    pub files: Vec<Upload>,
    /// Headers.
    pub headers: HeaderMap,
    /// From where.
    pub address: IpAddr,
}

impl Asked {
    /// Reads all of a request but its body.
    ///
    /// # Errors
    /// The status to answer with.
    pub fn head(request: &Request, params: Fields, address: IpAddr) -> Result<Self, StatusCode> {
        let query = Query::<Fields>::try_from_uri(request.uri());
        Ok(Self {
            method: request.method().clone(),
            uri: request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            params,
            query: query.map_err(|_| StatusCode::BAD_REQUEST)?.0,
            form: Fields::new(),
            files: Vec::new(),
            headers: request.headers().clone(),
            address,
        })
    }

    /// Reads the body of a form; files only where `has_files`.
    ///
    /// # Errors
    /// The status to answer with: too large, or malformed.
    pub async fn read_form(&mut self, request: Request, has_files: bool) -> Result<(), StatusCode> {
        let is_parts = self.header("content-type").starts_with("multipart/form-data");
        if !is_parts {
            let form = axum::Form::<Fields>::from_request(request, &()).await;
            self.form = form.map_err(|refused| refused.status())?.0;
            return if self.form.len() > FIELDS_MAX {
                Err(StatusCode::BAD_REQUEST)
            } else {
                Ok(())
            };
        }
        if !has_files {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let parts = Multipart::from_request(request, &()).await;
        let mut parts = parts.map_err(|_| StatusCode::BAD_REQUEST)?;
        while let Some(part) = parts.next_field().await.map_err(|error| error.status())? {
            if self.form.len() + self.files.len() >= FIELDS_MAX {
                return Err(StatusCode::BAD_REQUEST);
            }
            let field = part.name().unwrap_or_default().to_owned();
            if let Some(name) = part.file_name().map(str::to_owned) {
                let bytes = part.bytes().await.map_err(|error| error.status())?.to_vec();
                self.files.push(Upload { field, name, bytes });
            } else {
                let text = part.text().await.map_err(|error| error.status())?;
                self.form.push((field, text));
            }
        }
        Ok(())
    }

    /// A part of the path.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        find(&self.params, name)
    }

    /// A field of the query, without spaces around it; empty when it is not there.
    #[must_use]
    pub fn query(&self, name: &str) -> &str {
        find(&self.query, name)
    }

    /// A field of the form, without spaces around it; empty when it is not there.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        find(&self.form, name)
    }

    /// A field of the form as it was typed.
    #[must_use]
    pub fn secret(&self, name: &str) -> &str {
        self.form.iter().find(|(here, _)| here == name).map_or("", |(_, value)| value)
    }

    /// A file of the form; `None` when none was chosen.
    #[must_use]
    pub fn file(&self, field: &str) -> Option<&Upload> {
        self.files.iter().find(|file| file.field == field && !file.bytes.is_empty())
    }

    /// A header as text; empty when it is not there, or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The value of a cookie.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.headers.get_all(header::COOKIE).iter();
        let pairs = cookies.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(';'));
        pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(n, _)| *n == name).map(|p| p.1)
    }

    /// Whether another site's page sent this: browsers say so, and nothing else does.
    #[must_use]
    pub fn is_from_another_site(&self) -> bool {
        !matches!(self.header("sec-fetch-site"), "" | "same-origin" | "none")
    }
}

fn find<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.iter().find(|(here, _)| here == name).map_or("", |(_, value)| value.trim())
}
