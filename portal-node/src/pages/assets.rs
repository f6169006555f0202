//! The portal's style and its one script. The script only adds comfort: everything works without.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};

use crate::{
    door::{asked::Asked, pass::Visitor},
    portal::Portal,
};

/// The style.
pub async fn style(_: Arc<Portal>, _: Visitor, _: Asked) -> Response {
    asset("text/css; charset=utf-8", include_str!("../../assets/stile.css"))
}

/// The script.
pub async fn script(_: Arc<Portal>, _: Visitor, _: Asked) -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../../assets/portale.js"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
    response
}
