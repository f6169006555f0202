//! Two tenants with a few invoices each, a user for each, and a server for them.

use std::{net::SocketAddr, num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use ring::{digest, hmac, pbkdf2};
use sql::{
    Value,
    reader::{Outside, Status},
    server::{House, Login, Options, Server, Tenant},
    shelf::{Entry, Shelf, ShelfError},
};

pub const PASSWORD: &str = "pencil case";
pub const ORIGINAL: &[u8] = b"<FatturaElettronica>\x00\xff</FatturaElettronica>";

/// The users are called as the P.IVA they see.
pub struct Sample {
    pub tenants: Vec<Tenant>,
}

pub struct Files {
    vat: String,
}

impl Outside for Files {
    fn original(&self, _: &str, sha256: &str) -> Option<Vec<u8>> {
        (sha256.len() == 64).then(|| ORIGINAL.to_vec())
    }

    fn attachment(&self, original: &[u8], body: usize, position: usize) -> Option<Vec<u8>> {
        (original == ORIGINAL).then(|| format!("attachment {position} of body {body}").into_bytes())
    }

    fn status(&self) -> Status {
        Status {
            vat: self.vat.clone(),
            as_of: Some(1_795_521_600_000_000),
            connected: true,
            pending: 3,
            feed: 107,
        }
    }
}

impl House for Sample {
    fn login(&self, user: &str) -> Result<Login, String> {
        let salt = b"0123456789abcdef".to_vec();
        let mut salted = [0; 32];
        let rounds = NonZeroU32::new(4096).unwrap();
        let password = PASSWORD.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut salted);
        let mac = |key: &[u8], text: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
        };
        let stored =
            digest::digest(&digest::SHA256, &mac(&salted, b"Client Key")).as_ref().to_vec();
        let server = mac(&salted, b"Server Key");
        let tenant = self.tenants.iter().find(|tenant| tenant.vat == user).cloned();
        let known = tenant.is_some();
        Ok(Login {
            salt,
            iterations: 4096,
            answer: Box::new(move |message, proof| {
                let signature = mac(&stored, message);
                let key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
                let right = known && digest::digest(&digest::SHA256, &key).as_ref() == stored;
                right.then(|| mac(&server, message).try_into().unwrap())
            }),
            tenant,
            still: Box::new(|| true),
        })
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Fills a shelf with `count` invoices: number `n`, dates through 2026, two lines, one VAT row.
pub fn fill(path: &Path, vat: &str, count: u32) {
    let mut shelf = Shelf::open(path).unwrap();
    for first in (1..=count).step_by(500) {
        let entries: Vec<_> =
            (first..(first + 500).min(count + 1)).map(|n| invoice(vat, n)).collect();
        apply(&mut shelf, 100, entries);
    }
    let document = format!("{:032x}", 1);
    let outcome = vec![
        text(&document),
        Value::Integer(1),
        text("RC"),
        Value::Integer(1_795_521_600_000_000),
        text("111"),
        Value::Null,
        Value::Null,
        text("IT_RC_001.xml"),
        text(&"cd".repeat(32)),
    ];
    let annotation = Entry::Annotation {
        registered_at: Some(1_795_521_600_500_000),
        paid_at: None,
        notes: Some("pagata \"in parte\", dall'ufficio".into()),
    };
    let outcome = Entry::Outcome {
        state: "delivered",
        sdi_id: Some("111".into()),
        alarm: false,
        rows: vec![outcome],
    };
    apply(&mut shelf, 105, vec![(document.clone(), outcome), (document, annotation)]);
    let mut profile = vec![text(vat), text("Società Esempio S.r.l.")];
    profile.extend(vec![Value::Null; 11]);
    apply(&mut shelf, 106, vec![("p".into(), Entry::Profile(profile))]);
}

/// Adds invoice `n`.
pub fn add(path: &Path, vat: &str, n: u32) {
    apply(&mut Shelf::open(path).unwrap(), 200 + u64::from(n), vec![invoice(vat, n)]);
}

fn apply(shelf: &mut Shelf, position: u64, entries: Vec<(String, Entry)>) {
    shelf.apply((position, 0), entries.into_iter().map(Ok::<_, ShelfError>)).unwrap();
}

fn invoice(vat: &str, n: u32) -> (String, Entry) {
    let id = format!("{n:032x}");
    let day = 20_454 + i64::from(n % 365);
    let total = format!("{n}.10");
    let invoice = vec![
        text(&id),
        text(&id),
        Value::Integer(1),
        text(if n.is_multiple_of(2) { "sent" } else { "received" }),
        text(&n.to_string()),
        Value::Integer(day),
        text("TD01"),
        text("FPR12"),
        text(&format!("IT{vat}")),
        Value::Null,
        text("Società Esempio S.r.l."),
        Value::Null,
        Value::Null,
        text("Caffè 'Perù' & C."),
        text("0000000"),
        text("EUR"),
        text(&total),
        text(&total),
        text("0.00"),
        text("queued"),
        Value::Null,
        Value::Integer(0),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        text(&format!("IT{vat}_{n:05}.xml")),
        text(&"ab".repeat(32)),
        Value::Integer(40),
        Value::Null,
    ];
    let line = |position: i64| {
        vec![
            text(&id),
            Value::Integer(position),
            text(&position.to_string()),
            text("Farina 00 €"),
            text("0.12345678"),
            text("kg"),
            text("8.10000000"),
            text("0.05"),
            text("22.00"),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
        ]
    };
    let vat_row = vec![
        text(&id),
        Value::Integer(1),
        text(if n.is_multiple_of(3) { "10.00" } else { "22.00" }),
        Value::Null,
        text(&total),
        text("0.10"),
        text("I"),
        Value::Null,
    ];
    let attachment = vec![
        text(&id),
        Value::Integer(1),
        text("nota.pdf"),
        text("PDF"),
        Value::Null,
        Value::Null,
        Value::Integer(22),
    ];
    let original = vec![text(&id), text("x.xml"), text(&"ab".repeat(32)), Value::Integer(40)];
    let rows = vec![
        ("invoices", invoice),
        ("invoice_lines", line(1)),
        ("invoice_lines", line(2)),
        ("vat_summary", vat_row),
        ("attachments", attachment),
        ("originals", original),
    ];
    (id, Entry::Invoice(rows))
}

pub const A: &str = "02038490237";
pub const B: &str = "12345678903";

/// A server over two tenants of `count` and 3 invoices.
pub fn serve(dir: &Path, count: u32, options: impl FnOnce(&mut Options)) -> Server {
    let tenant = |vat: &str, count| {
        let shelf = dir.join(format!("{vat}.sqlite"));
        if !shelf.exists() {
            fill(&shelf, vat, count);
        }
        let outside: Arc<dyn Outside> = Arc::new(Files { vat: vat.to_owned() });
        Tenant { vat: vat.to_owned(), shelf, outside }
    };
    let tenants = vec![tenant(A, count), tenant(B, 3)];
    let mut bounds = Options {
        tls: Some(tls()),
        connections_max: 40,
        statement_timeout: Duration::from_secs(20),
        ..Options::default()
    };
    options(&mut bounds);
    Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), Sample { tenants }, bounds).unwrap()
}

fn tls() -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![made.cert.der().clone()], key.into())
    .unwrap();
    Arc::new(config)
}
