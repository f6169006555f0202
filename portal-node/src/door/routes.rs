//! Every page there is: how it is asked for, who must ask, and who answers. The router is made
//! from this table, and so is the test that tries each as every kind of stranger.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{http::Method, response::Response};
use engine::document::account::AccountRole;

use super::{
    asked::Asked,
    pass::{Caller, Officer, Visitor},
};
use crate::{pages, portal::Portal};

/// An answer on its way.
pub type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Who must ask, and who answers. Each takes a value that only the door can make.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Somebody with a certificate that may come in.
    Visitor(fn(Arc<Portal>, Visitor, Asked) -> Answer),
    /// Somebody who is logged in, wherever.
    Anyone(fn(Arc<Portal>, Caller, Asked) -> Answer),
    /// Somebody with at least this role for a customer that is not suspended.
    Caller(AccountRole, fn(Arc<Portal>, Caller, Asked) -> Answer),
    /// Somebody of the office.
    Officer(fn(Arc<Portal>, Officer, Asked) -> Answer),
}

/// What a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    None,
    /// Fields.
    Form,
    /// Fields and files.
    Files,
}

/// One way to ask for one page.
pub struct Route {
    /// GET or POST.
    pub method: Method,
    /// The path, with `{parts}`.
    pub path: &'static str,
    /// What it brings.
    pub body: Body,
    /// Who must ask, and who answers.
    pub handler: Handler,
}

const fn get(path: &'static str, handler: Handler) -> Route {
    Route { method: Method::GET, path, body: Body::None, handler }
}

const fn post(path: &'static str, handler: Handler) -> Route {
    Route { method: Method::POST, path, body: Body::Form, handler }
}

const fn upload(path: &'static str, handler: Handler) -> Route {
    Route { method: Method::POST, path, body: Body::Files, handler }
}

/// A handler for a kind of guest, from the path of an async function.
macro_rules! by {
    (Caller $role:ident, $handler:path) => {
        Handler::Caller(AccountRole::$role, |portal, who, asked| {
            Box::pin($handler(portal, who, asked))
        })
    };
    ($who:ident, $handler:path) => {
        Handler::$who(|portal, who, asked| Box::pin($handler(portal, who, asked)))
    };
}

/// The table.
pub static ROUTES: &[Route] = &[
    get("/stile.css", by!(Visitor, pages::assets::style)),
    get("/portale.js", by!(Visitor, pages::assets::script)),
    get("/entra", by!(Visitor, pages::entry::ask)),
    post("/entra", by!(Visitor, pages::entry::log_in)),
    get("/invito/{token}", by!(Visitor, pages::entry::invited)),
    post("/invito/{token}", by!(Visitor, pages::entry::set_password)),
    post("/esci", by!(Anyone, pages::entry::log_out)),
    post("/lingua", by!(Anyone, pages::account::language)),
    get("/account", by!(Anyone, pages::account::show)),
    post("/account/password", by!(Anyone, pages::account::change_password)),
    post("/azienda", by!(Anyone, pages::account::turn_to)),
    get("/", by!(Anyone, pages::home::show)),
    get("/dati", by!(Caller Reader, pages::profile::show)),
    post("/dati", by!(Caller Owner, pages::profile::save)),
    get("/dati/controlla", by!(Caller Owner, pages::profile::check)),
    post("/dati/conferma", by!(Caller Owner, pages::profile::confirm)),
    get("/contratto", by!(Caller Reader, pages::contract::show)),
    post("/condizioni", by!(Caller Owner, pages::contract::accept)),
    post("/contratto/prepara", by!(Caller Owner, pages::contract::draw)),
    get("/contratto/da-firmare.pdf", by!(Caller Owner, pages::contract::drawn)),
    upload("/contratto/firma", by!(Caller Owner, pages::contract::sign_by_file)),
    post("/contratto/codice", by!(Caller Owner, pages::contract::send_code)),
    post("/contratto/codice/conferma", by!(Caller Owner, pages::contract::sign_by_code)),
    get("/contratto/firmato", by!(Caller Reader, pages::contract::signed)),
    get("/fatture/ricevute", by!(Caller Reader, pages::invoices::received)),
    get("/fatture/inviate", by!(Caller Reader, pages::invoices::sent)),
    get("/fatture/eventi", by!(Caller Reader, pages::changes::events)),
    get("/fatture/{id}", by!(Caller Reader, pages::invoice::show)),
    get("/fatture/{id}/vista", by!(Caller Reader, pages::invoice::view)),
    get("/fatture/{id}/originale", by!(Caller Reader, pages::invoice::original)),
    get("/fatture/{id}/pdf", by!(Caller Reader, pages::invoice::pdf)),
    get("/fatture/{id}/messaggi/{sha}", by!(Caller Reader, pages::invoice::message)),
    get("/invia", by!(Caller Operator, pages::sending::compose)),
    upload("/invia", by!(Caller Operator, pages::sending::submit)),
    get("/ufficio", by!(Officer, pages::office::customers)),
    get("/ufficio/rete", by!(Officer, pages::network::show)),
    post("/ufficio/ammetti", by!(Officer, pages::office::admit)),
    post("/ufficio/clienti", by!(Officer, pages::office::invite)),
    get("/ufficio/clienti/{vat}", by!(Officer, pages::customer::show)),
    post("/ufficio/clienti/{vat}/decidi", by!(Officer, pages::customer::decide)),
    upload("/ufficio/clienti/{vat}/certificato", by!(Officer, pages::customer::bind)),
    upload("/ufficio/clienti/{vat}/rilascia", by!(Officer, pages::customer::issue)),
    post("/ufficio/clienti/{vat}/revoca", by!(Officer, pages::customer::revoke)),
    post("/ufficio/clienti/{vat}/utente", by!(Officer, pages::customer::user)),
];
