//! From a record and its original file to rows, for SQL and for exports alike. The order of the
//! values is that of the columns in [`sql::table`]; a test compares the two.

use engine::{
    document::{
        invoice::{Direction, InvoiceContent, Party},
        outcome::OutcomeEntry,
        profile::ProfileField,
    },
    id::{BlobHash, DocumentId, Kind, VatNumber},
    record::{
        AnnotationRecord, ContractRecord, OutcomeRecord, OutcomeState, ProfileRecord, Record,
    },
};
use fatturapa::{
    Date,
    invoice::{Invoice, InvoiceFile, read},
};
use sql::{Value, shelf::Entry, table::INVOICES};

/// Under which name a document's rows stand: that of its invoice.
pub fn key(document: DocumentId) -> String {
    let document = match document.kind() {
        Some(Kind::Outcome | Kind::Annotation) => document.sibling(Kind::Invoice),
        _ => document,
    };
    hex::encode(document.as_bytes())
}

/// What a document's record comes to. `original` reads its file.
pub fn entry(
    tenant: VatNumber,
    document: DocumentId,
    record: &Record,
    original: &dyn Fn(&BlobHash) -> Option<Vec<u8>>,
) -> Entry {
    match record {
        Record::Invoice(invoice) => {
            let file = original(&invoice.content.original);
            Entry::Invoice(file_rows(document, &invoice.content, file.as_deref()))
        }
        Record::Outcome(outcome) => Entry::Outcome {
            state: state(outcome.state),
            sdi_id: some(&outcome.sdi_id),
            alarm: outcome.alarm,
            rows: messages(document, outcome),
        },
        Record::Annotation(marks) => annotation(marks),
        Record::Profile(profile) => Entry::Profile(self::profile(tenant, profile)),
        Record::Contract(contract) => Entry::Contract(self::contract(tenant, contract)),
        // Accounts are the portal's, and no ERP's to see.
        Record::Unreadable(_) | Record::Account(_) | Record::Customer(_) => Entry::Gone,
    }
}

/// The rows of an invoice's file, whose bytes are `original` where they are here.
pub fn file_rows(document: DocumentId, content: &InvoiceContent, original: Option<&[u8]>) -> Rows {
    let key = key(document);
    match original.map(|bytes| read(&content.file_name, bytes)) {
        Some(Ok(file)) => whole(&key, content, &file),
        Some(Err(error)) => partly(&key, content, &error.to_string()),
        None => partly(&key, content, "the original file is not here"),
    }
}

/// The same with what the SdI said of it and the ERP's marks: what stands in the tables once all
/// three are there.
pub fn all_rows(
    document: DocumentId,
    content: &InvoiceContent,
    original: Option<&[u8]>,
    outcome: Option<&OutcomeRecord>,
    marks: Option<&AnnotationRecord>,
) -> Rows {
    let mut rows = file_rows(document, content, original);
    let mut said = Vec::new();
    if let Some(outcome) = outcome {
        said.push(("state", must(state(outcome.state))));
        said.push(("alarm", Value::Integer(outcome.alarm.into())));
        if let Some(sdi_id) = some(&outcome.sdi_id) {
            said.push(("sdi_id", Value::Text(sdi_id)));
        }
        rows.extend(messages(document, outcome).into_iter().map(|row| ("outcomes", row)));
    }
    if let Some(marks) = marks {
        said.push(("registered_at", moment(marks.registered_ms)));
        said.push(("paid_at", moment(marks.paid_ms)));
        said.push(("notes", may(&marks.notes)));
    }
    for (_, row) in rows.iter_mut().filter(|(table, _)| *table == "invoices") {
        for (name, value) in &said {
            if let Some(place) = INVOICES.stored().position(|column| column.name == *name) {
                row[place] = value.clone();
            }
        }
    }
    rows
}

fn messages(document: DocumentId, outcome: &OutcomeRecord) -> Vec<Vec<Value>> {
    let key = key(document);
    (1..).zip(&outcome.entries).map(|(n, entry)| message(&key, n, entry)).collect()
}

fn annotation(marks: &AnnotationRecord) -> Entry {
    Entry::Annotation {
        registered_at: marks.registered_ms.map(micros),
        paid_at: marks.paid_ms.map(micros),
        notes: some(&marks.notes),
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn must(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn may(text: &str) -> Value {
    some(text).map_or(Value::Null, Value::Text)
}

fn opt(text: Option<&str>) -> Value {
    may(text.unwrap_or_default())
}

fn int(n: usize) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

fn decimal(number: &impl ToString) -> Value {
    Value::Text(number.to_string())
}

fn decimal_or<T: ToString>(number: Option<T>) -> Value {
    number.map_or(Value::Null, |number| decimal(&number))
}

fn day(date: Option<Date>) -> Value {
    date.map_or(Value::Null, |date| Value::Integer(date.days()))
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000)
}

fn moment(ms: Option<u64>) -> Value {
    ms.map_or(Value::Null, |ms| Value::Integer(micros(ms)))
}

fn file(hash: Option<&BlobHash>) -> Value {
    hash.map_or(Value::Null, |hash| Value::Text(hash.to_string()))
}

/// Rows, each with the name of its table.
pub type Rows = Vec<(&'static str, Vec<Value>)>;

/// What the two ways to an invoice differ in.
struct Body<'a> {
    number: &'a str,
    date: Value,
    kind: &'a str,
    currency: &'a str,
    total: Value,
    taxable: Value,
    tax: Value,
    problem: Option<&'a str>,
}

fn invoice(
    id: &str,
    key: &str,
    place: usize,
    content: &InvoiceContent,
    body: Body<'_>,
) -> Vec<Value> {
    let received = content.direction == Direction::Received;
    let Party { vat, tax_code, name } = &content.supplier;
    let buyer = &content.buyer;
    vec![
        must(id),
        must(key),
        int(place),
        must(if received { "received" } else { "sent" }),
        must(body.number),
        body.date,
        must(body.kind),
        must(&content.format),
        may(vat),
        may(tax_code),
        must(name),
        may(&buyer.vat),
        may(&buyer.tax_code),
        must(&buyer.name),
        may(&content.recipient_code),
        may(body.currency),
        body.total,
        body.taxable,
        body.tax,
        must(if received { "received" } else { "queued" }),
        opt(content.receiving.as_ref().map(|how| how.sdi_id.as_str())),
        Value::Integer(0),
        moment(content.receiving.as_ref().map(|how| how.at_ms)),
        Value::Null,
        Value::Null,
        Value::Null,
        must(&content.file_name),
        must(&content.original.to_string()),
        Value::Integer(i64::try_from(content.original_len).unwrap_or(i64::MAX)),
        opt(body.problem),
    ]
}

fn original(key: &str, content: &InvoiceContent) -> (&'static str, Vec<Value>) {
    let bytes = Value::Integer(i64::try_from(content.original_len).unwrap_or(i64::MAX));
    let row = vec![must(key), must(&content.file_name), must(&content.original.to_string()), bytes];
    ("originals", row)
}

/// An invoice whose file cannot be read here: what its record says.
fn partly(key: &str, content: &InvoiceContent, problem: &str) -> Rows {
    let body = Body {
        number: &content.number,
        date: day(Date::parse(&content.date)),
        kind: &content.document_type,
        currency: &content.currency,
        total: may(&content.total),
        taxable: Value::Null,
        tax: Value::Null,
        problem: Some(problem),
    };
    vec![("invoices", invoice(key, key, 1, content, body)), original(key, content)]
}

fn whole(key: &str, content: &InvoiceContent, file: &InvoiceFile) -> Rows {
    let mut rows = vec![original(key, content)];
    for (place, body) in (1..).zip(&file.bodies) {
        let id = if place == 1 { key.to_owned() } else { format!("{key}-{place}") };
        let head = Body {
            number: &body.number,
            date: day(Some(body.date)),
            kind: &body.kind,
            currency: &body.currency,
            total: decimal(&body.total()),
            taxable: decimal(&body.taxable()),
            tax: decimal(&body.tax()),
            problem: None,
        };
        rows.push(("invoices", invoice(&id, key, place, content, head)));
        details(&id, body, &mut rows);
    }
    rows
}

fn details(id: &str, body: &Invoice, rows: &mut Rows) {
    for (n, line) in (1..).zip(&body.lines) {
        let article = line.articles.first();
        let row = vec![
            must(id),
            int(n),
            must(&line.number),
            must(&line.description),
            decimal_or(line.quantity),
            opt(line.unit.as_deref()),
            decimal_or(line.unit_price),
            decimal(&line.total),
            decimal_or(line.rate),
            opt(line.nature.as_deref()),
            opt(article.map(|article| article.0.as_str())),
            opt(article.map(|article| article.1.as_str())),
            day(line.from),
            day(line.to),
        ];
        rows.push(("invoice_lines", row));
    }
    for (n, vat) in (1..).zip(&body.vat) {
        let row = vec![
            must(id),
            int(n),
            decimal(&vat.rate),
            opt(vat.nature.as_deref()),
            decimal(&vat.taxable),
            decimal(&vat.tax),
            opt(vat.due.as_deref()),
            opt(vat.law.as_deref()),
        ];
        rows.push(("vat_summary", row));
    }
    for (n, payment) in (1..).zip(&body.payments) {
        let row = vec![
            must(id),
            int(n),
            must(&payment.conditions),
            must(&payment.method),
            day(payment.due),
            decimal(&payment.amount),
            opt(payment.beneficiary.as_deref()),
            opt(payment.bank.as_deref()),
            opt(payment.iban.as_deref()),
            opt(payment.bic.as_deref()),
            opt(payment.code.as_deref()),
        ];
        rows.push(("payments", row));
    }
    for (n, attachment) in (1..).zip(&body.attachments) {
        let row = vec![
            must(id),
            int(n),
            must(&attachment.name),
            opt(attachment.format.as_deref()),
            opt(attachment.compression.as_deref()),
            opt(attachment.description.as_deref()),
            int(attachment.size),
        ];
        rows.push(("attachments", row));
    }
}

fn message(key: &str, n: usize, entry: &OutcomeEntry) -> Vec<Value> {
    vec![
        must(key),
        int(n),
        must(entry.receipt.code()),
        moment(Some(entry.at_ms)),
        may(&entry.sdi_id),
        may(&entry.codes),
        may(&entry.note),
        may(&entry.file_name),
        file(entry.file.as_ref()),
    ]
}

fn profile(tenant: VatNumber, profile: &ProfileRecord) -> Vec<Value> {
    use ProfileField::{
        City, Country, Email, Name, Pec, Phone, PostalCode, Province, RecipientCode, Street,
        TaxCode, TaxRegime,
    };
    let fields = [
        Name,
        TaxCode,
        RecipientCode,
        Pec,
        Email,
        Phone,
        Street,
        PostalCode,
        City,
        Province,
        Country,
        TaxRegime,
    ];
    let mut row = vec![must(&tenant.to_string())];
    row.extend(fields.map(|field| may(profile.get(field))));
    row
}

fn contract(tenant: VatNumber, contract: &ContractRecord) -> Vec<Value> {
    let newest = contract.terms.last();
    vec![
        must(&tenant.to_string()),
        moment(contract.signed_ms),
        may(&contract.signatory),
        moment(contract.enabled_ms),
        opt(newest.map(|terms| terms.version.as_str())),
        moment(newest.map(|terms| terms.at_ms)),
        file(contract.signed.as_ref()),
    ]
}

/// As the API has it too.
fn state(state: OutcomeState) -> &'static str {
    match state {
        OutcomeState::Silent => "queued",
        OutcomeState::Received => "received",
        OutcomeState::Sent => "sent",
        OutcomeState::NotDelivered => "not_delivered",
        OutcomeState::Delivered => "delivered",
        OutcomeState::Attested => "attested",
        OutcomeState::Expired => "expired",
        OutcomeState::Accepted => "accepted",
        OutcomeState::Refused => "refused",
        OutcomeState::Rejected => "rejected",
    }
}
