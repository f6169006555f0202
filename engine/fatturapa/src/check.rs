//! One file, one verdict: what it is, whether it conforms, and what the SdI would say, in the order in
//! which the SdI checks (RULES.md section 2). The caller gives the time and what it knows of the past.

use serde::Serialize;

use crate::date::Date;
use crate::envelope::{self, EnvelopeError, Opened};
use crate::id::SdiFileName;
use crate::invoice;
use crate::judge::{self, Finding, Findings, NoRegister, Register, Table};
use crate::limits;
use crate::messages;
use crate::schema;
use crate::signature::{self, Signature, Trust};
use crate::xml::{self, Tree};

/// What a verdict depends on beside the file.
pub struct Context<'c> {
    /// Day of reception by the SdI, in the Italian calendar: see [`Date::italian`].
    pub received: Date,
    /// Authorities trusted for signatures.
    pub trust: Trust<'c>,
    /// Whether the file name is to be judged (00001, 00002): true for a file about to be sent.
    pub is_name_judged: bool,
    /// The table of codes.
    pub table: &'c Table,
    /// What was sent and accepted before.
    pub register: &'c dyn Register,
}

impl Context<'static> {
    /// The embedded table, no register, the name not judged.
    #[must_use]
    pub fn received(day: Date) -> Self {
        Self {
            received: day,
            trust: Trust::Unjudged,
            is_name_judged: false,
            table: Table::embedded(),
            register: &NoRegister,
        }
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An invoice or a batch, in XML.
    Invoice,
    /// The same in a CMS envelope.
    P7m,
    /// A message of the SdI.
    Notification,
    /// An archive, which is not opened.
    Archive,
    /// Something else.
    Unknown,
}

/// The XSD verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Xsd {
    /// Conforms to the schema of its root.
    Valid,
    /// Does not, or is not XML.
    Invalid,
}

/// The verdict on a file; as JSON, one line of `check --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the file.
    pub file: String,
    /// What it is.
    pub kind: Kind,
    /// XSD verdict.
    pub xsd: Xsd,
    /// Codes of the SdI, each once, in order.
    pub codes: Vec<String>,
    /// All findings, with advice that rejects nothing.
    pub findings: Vec<Finding>,
    /// Signatures, with signer and signing time.
    pub signatures: Vec<Signature>,
}

impl Report {
    /// True when the SdI would accept the file as far as can be told here.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.xsd == Xsd::Valid && self.codes.is_empty()
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            let name = serde_json::Value::from(self.file.as_str());
            format!("{{\"file\":{name},\"error\":\"{error}\"}}")
        })
    }

    /// Lines for a person, in Italian.
    #[must_use]
    pub fn to_text(&self) -> String {
        let kind = match self.kind {
            Kind::Invoice => "fattura",
            Kind::P7m => "fattura firmata (p7m)",
            Kind::Notification => "messaggio del SdI",
            Kind::Archive => "archivio",
            Kind::Unknown => "file non riconosciuto",
        };
        let verdict = match (self.is_accepted(), self.xsd) {
            (true, _) => "nessun motivo di scarto",
            (false, Xsd::Invalid) => "il formato non è valido",
            (false, Xsd::Valid) => "verrebbe scartata",
        };
        let mut text = format!("{}: {kind}, {verdict}\n", self.file);
        for signature in &self.signatures {
            let verdict = if signature.is_intact { "integra" } else { "non valida" };
            let day = signature.signed_at.and_then(Date::italian).map(Date::italian_text);
            let day = day.map_or_else(String::new, |day| format!(" il {day}"));
            text.push_str(&format!("  firma {verdict}: {}{day}\n", signature.signer));
        }
        for finding in &self.findings {
            let code = finding.code.as_deref().unwrap_or("nota ");
            text.push_str(&format!("  {code}  {}\n         {}\n", finding.sentence, finding.path));
            if !finding.fix.is_empty() {
                text.push_str(&format!("         Cosa fare: {}\n", finding.fix));
            }
        }
        text
    }
}

/// Judges one file.
#[must_use]
pub fn check_bytes(name: &str, bytes: &[u8], context: &Context<'_>) -> Report {
    let mut run = Run {
        findings: Findings::new(context.table),
        kind: Kind::Unknown,
        xsd: Xsd::Invalid,
        signatures: Vec::new(),
    };
    run.check(name, bytes, context);
    let mut codes: Vec<String> =
        run.findings.list.iter().filter_map(|finding| finding.code.clone()).collect();
    codes.sort();
    codes.dedup();
    let (kind, xsd, findings) = (run.kind, run.xsd, run.findings.list);
    Report { file: name.to_owned(), kind, xsd, codes, findings, signatures: run.signatures }
}

struct Run<'t> {
    findings: Findings<'t>,
    kind: Kind,
    xsd: Xsd,
    signatures: Vec<Signature>,
}

impl Run<'_> {
    /// The stages; one that fails ends the run, but for the XSD verdict, which is always given.
    fn check(&mut self, name: &str, bytes: &[u8], context: &Context<'_>) {
        if context.is_name_judged {
            self.name(name, bytes, context);
        }
        let size_max = context.table.rule("00003").and_then(|rule| rule.limit);
        if size_max.is_some_and(|max| rust_decimal::Decimal::from(bytes.len()) > max) {
            let detail = format!("Il file ha {} byte.", bytes.len());
            let max = size_max.map(|max| format!("al massimo {max}"));
            let found = Some(bytes.len().to_string());
            self.findings.add("00003", String::new(), &detail, found, max);
            return;
        }
        let is_early_stop = !self.findings.list.is_empty();
        let opened = match envelope::open(bytes) {
            Ok(opened) => opened,
            Err(error) => {
                if error == EnvelopeError::Archive {
                    self.kind = Kind::Archive;
                    let sentence =
                        "È un archivio zip: i file dentro vanno controllati uno per uno.";
                    let fix = "Aprire l'archivio e controllare le fatture che contiene.";
                    return self.findings.advise(String::new(), sentence.to_owned(), fix);
                }
                if has_p7m_name(name) {
                    self.kind = Kind::P7m;
                }
                // Bytes that begin neither as XML nor as CMS are a damaged file when they should be an
                // envelope, and a file that is not XML otherwise.
                let looks_signed =
                    matches!(error, EnvelopeError::Corrupt { .. }) && has_p7m_name(name);
                let code = match error {
                    EnvelopeError::Corrupt { .. } if !looks_signed => "00200",
                    _ => "00106",
                };
                return self.findings.add(code, String::new(), &italian(&error), None, None);
            }
        };
        if opened.cms.is_some() {
            self.kind = Kind::P7m;
        }
        let decoded = match xml::decode(&opened.content) {
            Ok(decoded) => decoded,
            Err(error) => return self.not_xml(&error.to_string()),
        };
        let tree = match Tree::parse(&decoded.text) {
            Ok(tree) => tree,
            Err(error) => return self.not_xml(&error.to_string()),
        };
        let root = tree.root();
        match root.name() {
            _ if self.kind == Kind::P7m => {}
            "FatturaElettronica" | "FatturaElettronicaSemplificata" => self.kind = Kind::Invoice,
            _ if matches!(root.namespace(), messages::PUBLIC | messages::PRIVATE) => {
                self.kind = Kind::Notification;
            }
            _ => {}
        }
        self.signatures(&opened, &decoded.text, &tree, context);
        let faults = schema::faults(&tree, limits::FORMAT_ERRORS_MAX + 1);
        if faults.is_empty() && !decoded.guessed {
            self.xsd = Xsd::Valid;
        }
        if is_early_stop {
            return;
        }
        if decoded.guessed {
            let detail = "Il file contiene caratteri che non sono UTF-8.";
            self.findings.add("00200", String::new(), detail, None, Some("UTF-8".to_owned()));
        }
        if faults.len() > limits::FORMAT_ERRORS_MAX {
            let expected = Some(format!("al massimo {}", limits::FORMAT_ERRORS_MAX));
            self.findings.add("00201", root.path(), "", None, expected);
        }
        let is_notification = self.kind == Kind::Notification;
        for fault in faults.into_iter().take(limits::FORMAT_ERRORS_MAX) {
            if is_notification {
                // A message is not sent by us: the codes of rejected invoices do not apply to it.
                self.findings.advise(fault.path, fault.sentence, "");
                continue;
            }
            let fix = context.table.rule("00200").map_or_else(String::new, |rule| rule.fix.clone());
            self.findings.list.push(Finding {
                code: context.table.rule("00200").map(|rule| rule.code.clone()),
                sentence: format!("{} (riga {})", fault.sentence, fault.line),
                path: fault.path,
                found: fault.found,
                expected: fault.expected,
                fix,
            });
        }
        if self.xsd == Xsd::Valid && !is_notification {
            match invoice::read_tree(name, &tree) {
                Ok(mut file) => {
                    file.in_cms = opened.cms.is_some();
                    let judged =
                        judge::judge(&file, context.received, context.table, context.register);
                    self.findings.list.extend(judged);
                }
                Err(error) => {
                    let sentence = format!("Il contenuto non può essere letto: {error}");
                    self.findings.advise(root.path(), sentence, "");
                }
            }
        }
    }

    /// Stage 3. The SdI would stop here; the content is judged all the same, so that one round of
    /// corrections is enough.
    fn signatures(
        &mut self,
        opened: &Opened<'_>,
        text: &str,
        tree: &Tree<'_>,
        context: &Context<'_>,
    ) {
        // The last second of the day of reception: a file is signed before it is received.
        let received_at = (context.received.days() + 1) * 86_400 - 1;
        if let Some(cms) = &opened.cms {
            let own = signature::cades(cms, &opened.content, context.trust, received_at);
            self.signatures.extend(own);
        }
        self.signatures.extend(signature::xades(text, tree, context.trust, received_at));
        for signature in &self.signatures {
            let form = match signature.form {
                signature::Form::Cades => "",
                signature::Form::Xades => "ds:Signature",
            };
            for fault in &signature.faults {
                if self.kind == Kind::Notification {
                    let sentence = format!("Firma del messaggio: {}", fault.detail);
                    self.findings.advise(form.to_owned(), sentence, "");
                } else {
                    self.findings.add(fault.code, form.to_owned(), &fault.detail, None, None);
                }
            }
        }
    }

    fn name(&mut self, name: &str, bytes: &[u8], context: &Context<'_>) {
        match SdiFileName::parse(name) {
            Ok(parsed) if parsed.message().is_none() => {
                if context.register.is_name_used(name) {
                    let detail = "Il nome è già stato usato.";
                    let found = Some(name.to_owned());
                    self.findings.add("00002", String::new(), detail, found, None);
                }
            }
            _ => self.findings.add("00001", String::new(), "", Some(name.to_owned()), None),
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        let digest: [u8; 32] = digest.as_ref().try_into().unwrap_or_default();
        if context.register.is_content_sent(&digest) {
            self.findings.add(
                "00002",
                String::new(),
                "Il contenuto è già stato inviato.",
                None,
                None,
            );
        }
    }

    fn not_xml(&mut self, why: &str) {
        let detail = format!("Non è un XML corretto: {why}");
        self.findings.add("00200", String::new(), &detail, None, None);
    }
}

fn has_p7m_name(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".p7m")
}

fn italian(error: &EnvelopeError) -> String {
    match error {
        EnvelopeError::Empty => "Non contiene nulla.".to_owned(),
        EnvelopeError::TooLarge { size, max } => format!("Ha {size} byte, più di {max}."),
        EnvelopeError::Archive => "È un archivio.".to_owned(),
        EnvelopeError::Corrupt { why } => format!("Non si riesce ad aprirlo ({why})."),
    }
}
