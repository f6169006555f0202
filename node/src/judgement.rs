//! What the SdI would say of a file about to be sent, given what this tenant sent before: the
//! content as `fatturapa` judges it, and codes 00002 and 00404 against the tenant's own register.
//!
//! The mirror lags behind what is being said by some milliseconds. Two files of one number that
//! are dropped together are told apart by what was judged last, which is kept here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use engine::{
    document::invoice::{Direction, InvoiceContent},
    id::{BlobHash, DocumentId, Kind},
    record::{OutcomeState, Record},
};
use fatturapa::{
    Date,
    check::{Context, Report, check_bytes},
    id::SdiFileName,
    judge::{self, InvoiceKey, Table},
};

use crate::{
    intake::Intake,
    moment::today,
    register::{Filter, Register},
};

/// Invoices remembered until the mirror shows them.
const RECENT_MAX: usize = 4096;

/// Judges what one tenant is about to send. Clones share what they remember.
#[derive(Clone)]
pub struct Judge {
    register: Arc<Register>,
    recent: Arc<Mutex<VecDeque<(InvoiceKey, DocumentId)>>>,
}

impl Judge {
    /// A judge that knows what `register` shows.
    #[must_use]
    pub fn new(register: Arc<Register>) -> Self {
        Self { register, recent: Arc::default() }
    }

    /// What was sent and received, in order.
    #[must_use]
    pub fn register(&self) -> &Register {
        &self.register
    }

    /// Judges `bytes`, of which `intake` was read, as received by the SdI today. One that would
    /// be accepted counts as sent from now on. Blocks: it reads the mirror.
    ///
    /// `None` when the clock of this machine says no day.
    #[must_use]
    pub fn report(&self, name: &str, bytes: &[u8], intake: &Intake) -> Option<Report> {
        let day = today()?;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let past = Past { register: &self.register, recent: &recent, document: intake.document };
        let context = Context {
            // Any other name is replaced at transmission: only one in the SdI's form is meant.
            is_name_judged: SdiFileName::parse(name).is_ok(),
            register: &past,
            ..Context::received(day)
        };
        let report = check_bytes(name, bytes, &context);
        if report.is_accepted() {
            let keys = intake.file.bodies.iter();
            let keys = keys.map(|body| InvoiceKey::of(&intake.file, body, Table::embedded()));
            recent.extend(keys.map(|key| (key, intake.document)));
            let over = recent.len().saturating_sub(RECENT_MAX);
            recent.drain(..over);
        }
        Some(report)
    }
}

/// What was sent before `document`, as the judge asks it. A mirror that cannot be read is one
/// that knows nothing: the SdI has the last word in any case.
struct Past<'p> {
    register: &'p Register,
    recent: &'p VecDeque<(InvoiceKey, DocumentId)>,
    document: DocumentId,
}

impl Past<'_> {
    /// Whether another invoice was sent that the SdI did not reject, that has `words` somewhere,
    /// and that `is` what is meant.
    fn is_sent(&self, words: &str, is: impl Fn(&InvoiceContent) -> bool) -> bool {
        let filter = Filter {
            direction: Some(Direction::Sent),
            text: Some(words.to_owned()),
            ..Filter::default()
        };
        let places = self.register.list(&filter, None, usize::MAX).unwrap_or_default();
        places.iter().map(|place| place.invoice).filter(|found| *found != self.document).any(
            |found| match self.record(found) {
                Some(Record::Invoice(invoice)) => is(&invoice.content) && !self.is_rejected(found),
                _ => false,
            },
        )
    }

    fn is_rejected(&self, invoice: DocumentId) -> bool {
        matches!(
            self.record(invoice.sibling(Kind::Outcome)),
            Some(Record::Outcome(outcome)) if outcome.state == OutcomeState::Rejected
        )
    }

    fn record(&self, document: DocumentId) -> Option<Record> {
        self.register.record(document).ok().flatten()
    }
}

impl judge::Register for Past<'_> {
    fn is_name_used(&self, file_name: &str) -> bool {
        self.is_sent(file_name, |content| content.file_name.eq_ignore_ascii_case(file_name))
    }

    fn is_content_sent(&self, sha256: &[u8; 32]) -> bool {
        let document = DocumentId::invoice(&BlobHash::from_bytes(*sha256));
        document != self.document && self.record(document).is_some()
    }

    fn is_invoice_accepted(&self, key: &InvoiceKey) -> bool {
        let credit = Table::embedded().rule("00409");
        let is_recent = self.recent.iter().any(|(recent, document)| {
            recent == key && *document != self.document && !self.is_rejected(*document)
        });
        is_recent
            || self.is_sent(&key.number, |content| {
                content.number == key.number
                    && content.supplier.vat == key.supplier
                    && Date::parse(&content.date).is_some_and(|date| date.year() == key.year)
                    && credit.is_some_and(|rule| rule.is_about(&content.document_type))
                        == key.is_credit
            })
    }
}

#[cfg(test)]
mod tests {
    use engine::{
        document::{
            invoice,
            outcome::{self, OutcomeEntry, Receipt},
        },
        id::{LogId, VatNumber},
    };

    use super::*;
    use crate::{
        feed::Cursor,
        mirror::{Derived, Mirror, MirrorOptions},
    };

    /// A company and what it sends.
    struct Company {
        _home: tempfile::TempDir,
        mirror: Arc<Mirror>,
        judge: Judge,
        position: u64,
    }

    fn tenant() -> VatNumber {
        VatNumber::parse("02038490237").unwrap()
    }

    fn file(number: &str, seller: &str) -> String {
        let text = include_str!("../tests/invoice.xml").replace("NUMERO", number);
        text.replace("Prova Srl", seller)
    }

    impl Company {
        fn open() -> Self {
            let home = tempfile::tempdir().unwrap();
            let (mirror, _) = Mirror::open(home.path(), MirrorOptions::default()).unwrap();
            let mirror = Arc::new(mirror);
            let judge = Judge::new(Arc::new(Register::new(tenant(), Arc::clone(&mirror))));
            Self { _home: home, mirror, judge, position: 0 }
        }

        /// The codes of a file; one without any is sent.
        fn send(&self, name: &str, text: &str) -> (Vec<String>, Intake) {
            let intake = Intake::read(name, text.as_bytes(), None).unwrap();
            (self.judge.report(name, text.as_bytes(), &intake).unwrap().codes, intake)
        }

        fn show(&mut self, document: DocumentId, change: Vec<u8>) {
            self.position += 1;
            let record = Some(Record::derive(document, &[change]).encode());
            let derived = Derived { document, changed_at: self.position, record };
            self.mirror.apply(tenant(), Cursor::new(self.position, 0), &[derived]).unwrap();
        }
    }

    #[test]
    fn what_was_sent_is_not_sent_again_until_the_sdi_has_rejected_it() {
        let mut company = Company::open();
        let actor = LogId::from_bytes([1; 16]);
        let none: Vec<String> = Vec::new();
        let (codes, first) = company.send("a.xml", &file("1", "Prova Srl"));
        assert_eq!(codes, none);
        assert_eq!(company.send("a.xml", &file("1", "Prova Srl")).0, none, "the same file again");
        let double = file("1", "Prova S.r.l.");
        assert_eq!(company.send("b.xml", &double).0, ["00404"], "before the mirror shows it");
        assert_eq!(company.send("c.xml", &file("11", "Prova Srl")).0, none);

        company.judge.recent.lock().unwrap().clear();
        company.show(first.document, invoice::create(actor, &first.content).unwrap());
        assert_eq!(company.send("b.xml", &double).0, ["00404"], "once it does");
        assert_eq!(company.send("d.xml", &file("12", "Prova Srl")).0, none);

        let rejected = OutcomeEntry::new(Receipt::Rejected, "777", 1);
        let said = outcome::add(actor, &[], &rejected).unwrap().unwrap();
        company.show(first.document.sibling(Kind::Outcome), said);
        assert_eq!(company.send("b.xml", &double).0, none, "rejected: the number is free");
    }

    #[test]
    fn a_name_in_the_form_of_the_sdi_is_used_once() {
        let mut company = Company::open();
        let name = "IT02038490237_00001.xml";
        let (codes, first) = company.send(name, &file("1", "Prova Srl"));
        assert_eq!(codes, Vec::<String>::new());
        let change = invoice::create(LogId::from_bytes([1; 16]), &first.content).unwrap();
        company.show(first.document, change);
        assert_eq!(company.send(name, &file("2", "Prova Srl")).0, ["00002"]);
        let (codes, _) = company.send("IT02038490237_00002.xml", &file("2", "Prova Srl"));
        assert_eq!(codes, Vec::<String>::new());
    }
}
