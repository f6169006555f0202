//! A tenant's invoices in the order of their days, held in memory so that a list with filters
//! is a walk and not a search. Derived from the mirror, brought up to it before every question,
//! and never kept on disk: some 200 bytes an invoice. Many ask at once and wait for one another
//! only while it is brought up.

mod sums;
mod texts;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use engine::{
    document::invoice::{Direction, InvoiceContent},
    id::{DocumentId, Kind, VatNumber},
    record::{OutcomeState, Record},
};
use fatturapa::Date;

pub use self::sums::{Currency, Sums};
use self::{
    sums::Addend,
    texts::{Part, Texts, Word},
};
use crate::mirror::{Mirror, MirrorError};

/// Changes read at a time.
const BATCH: usize = 1024;
/// Sums kept until the next change.
const SUMMED_MAX: usize = 32;

/// Where an invoice stands in the register: by day, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Days since 1970; the least there is when the invoice has no readable date.
    pub days: i64,
    /// The invoice.
    pub invoice: DocumentId,
}

/// Which invoices are asked for. The default asks for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Sent or received.
    pub direction: Option<Direction>,
    /// First day.
    pub from: Option<Date>,
    /// Last day.
    pub to: Option<Date>,
    /// Part of the name, VAT number or tax code of supplier or buyer.
    pub party: Option<String>,
    /// Where it stands with the SdI.
    pub state: Option<OutcomeState>,
    /// Words that must all be found in number, file name, SdI id, parties or notes.
    pub text: Option<String>,
    /// Whether the ERP has registered it.
    pub registered: Option<bool>,
    /// Whether it is paid.
    pub paid: Option<bool>,
}

#[derive(Default)]
struct Entry {
    received: bool,
    state: Option<OutcomeState>,
    registered: bool,
    paid: bool,
    addend: Addend,
    texts: Texts,
}

#[derive(Default)]
struct Indexed {
    renewals: usize,
    position: u64,
    places: HashMap<DocumentId, i64>,
    entries: BTreeMap<Place, Entry>,
    /// What was summed since the last change: whoever turns pages asks for it with each.
    summed: Mutex<Vec<(Filter, Sums)>>,
}

/// The register of one tenant. See the module's header.
pub struct Register {
    tenant: VatNumber,
    mirror: Arc<Mirror>,
    indexed: RwLock<Indexed>,
}

impl Register {
    /// An empty one; the first question fills it.
    #[must_use]
    pub fn new(tenant: VatNumber, mirror: Arc<Mirror>) -> Self {
        Self { tenant, mirror, indexed: RwLock::default() }
    }

    /// Up to `limit` invoices, the latest day first, after `after`. Blocks: it reads the mirror.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn list(
        &self,
        filter: &Filter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Place>, MirrorError> {
        let indexed = self.followed()?;
        let wanted = Wanted::of(filter);
        let found = indexed.between(filter, after).filter(|(_, entry)| wanted.admits(entry));
        Ok(found.map(|(place, _)| *place).take(limit).collect())
    }

    /// The same, and what all invoices that are asked for add up to, in one walk.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn page(
        &self,
        filter: &Filter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<(Vec<Place>, Sums), MirrorError> {
        let indexed = self.followed()?;
        let wanted = Wanted::of(filter);
        let admitted =
            |after| indexed.between(filter, after).filter(|(_, entry)| wanted.admits(entry));
        let summed = || indexed.summed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sums)) = summed().iter().find(|(asked, _)| asked == filter) {
            let places = admitted(after).map(|(place, _)| *place).take(limit).collect();
            return Ok((places, sums.clone()));
        }
        let (mut places, mut sums) = (Vec::new(), Sums::default());
        for (place, entry) in admitted(None) {
            sums.add(&entry.addend);
            if places.len() < limit && after.is_none_or(|after| *place < after) {
                places.push(*place);
            }
        }
        let mut summed = summed();
        summed.truncate(SUMMED_MAX - 1);
        summed.insert(0, (filter.clone(), sums.clone()));
        drop(summed);
        Ok((places, sums))
    }

    /// The record of a document of the tenant. Blocks.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn record(&self, document: DocumentId) -> Result<Option<Record>, MirrorError> {
        let bytes = self.mirror.get(self.tenant, document)?;
        Ok(bytes.and_then(|bytes| Record::decode(&bytes).ok()))
    }

    /// How many invoices there are. Blocks.
    ///
    /// # Errors
    /// [`MirrorError`]
    pub fn count(&self) -> Result<usize, MirrorError> {
        Ok(self.followed()?.entries.len())
    }

    /// The register as of this moment, to read.
    fn followed(&self) -> Result<RwLockReadGuard<'_, Indexed>, MirrorError> {
        // Before the position: one that is set aside between them is met at the next question.
        let renewals = self.mirror.renewals(self.tenant);
        let position = self.mirror.position(self.tenant)?;
        let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
        if (indexed.renewals, indexed.position) == (renewals, position) {
            return Ok(indexed);
        }
        drop(indexed);
        let mut indexed = self.indexed.write().unwrap_or_else(PoisonError::into_inner);
        self.follow(&mut indexed)?;
        Ok(RwLockWriteGuard::downgrade(indexed))
    }

    fn follow(&self, indexed: &mut Indexed) -> Result<(), MirrorError> {
        let renewals = self.mirror.renewals(self.tenant);
        let position = self.mirror.position(self.tenant)?;
        if renewals != indexed.renewals {
            // The mirror is being built anew: whatever it does not have yet cannot be read.
            *indexed = Indexed { renewals, ..Indexed::default() };
        }
        loop {
            let changes = self.mirror.changes_after(self.tenant, indexed.position, BATCH)?;
            let Some(last) = changes.last() else { break };
            indexed.summed.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
            let last = last.position;
            for change in &changes {
                let Some(kind) = change.document.kind() else { continue };
                let record = self.record(change.document)?;
                self.take(indexed, change.document.sibling(Kind::Invoice), kind, record)?;
            }
            indexed.position = last;
        }
        indexed.position = indexed.position.max(position);
        Ok(())
    }

    fn take(
        &self,
        indexed: &mut Indexed,
        invoice: DocumentId,
        kind: Kind,
        record: Option<Record>,
    ) -> Result<(), MirrorError> {
        match (kind, record) {
            (Kind::Invoice, Some(Record::Invoice(record))) => {
                let days = Date::parse(&record.content.date).map_or(i64::MIN, Date::days);
                let mut entry = Entry::of(&record.content);
                // What is said about it may have come before it, and then was passed over.
                for kind in [Kind::Outcome, Kind::Annotation] {
                    entry.note(self.record(invoice.sibling(kind))?);
                }
                indexed.drop(&invoice);
                indexed.places.insert(invoice, days);
                indexed.entries.insert(Place { days, invoice }, entry);
            }
            (Kind::Invoice, _) => indexed.drop(&invoice),
            (Kind::Outcome | Kind::Annotation, record) => {
                if let Some(days) = indexed.places.get(&invoice)
                    && let Some(entry) = indexed.entries.get_mut(&Place { days: *days, invoice })
                {
                    entry.note(record);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Indexed {
    /// The entries of the filter's days, the latest first, after `after`.
    fn between(
        &self,
        filter: &Filter,
        after: Option<Place>,
    ) -> impl Iterator<Item = (&Place, &Entry)> {
        let least = Place { days: i64::MIN, invoice: DocumentId::from_bytes([0; 16]) };
        let lowest = filter.from.map_or(least, |day| Place { days: day.days(), ..least });
        let end = filter.to.map(|day| Place { days: day.days() + 1, ..least });
        let end = [end, after].into_iter().flatten().min();
        let highest = match end {
            // No range at all: it must not end before it begins.
            Some(end) => Bound::Excluded(end.max(lowest)),
            None => Bound::Unbounded,
        };
        self.entries.range((Bound::Included(lowest), highest)).rev()
    }

    fn drop(&mut self, invoice: &DocumentId) {
        if let Some(days) = self.places.remove(invoice) {
            self.entries.remove(&Place { days, invoice: *invoice });
        }
    }
}

impl Entry {
    fn of(content: &InvoiceContent) -> Self {
        let InvoiceContent { supplier, buyer, .. } = content;
        let parties = [supplier, buyer].map(|party| {
            [party.name.as_str(), party.vat.as_str(), party.tax_code.as_str()].join("\n")
        });
        let text = [content.number.as_str(), content.file_name.as_str()].join("\n");
        let mut texts = Texts::default();
        texts.set(Part::Parties, &parties.join("\n"));
        texts.set(Part::Invoice, &text);
        if let Some(receiving) = &content.receiving {
            texts.set(Part::SdiId, &receiving.sdi_id);
        }
        Self {
            received: content.direction == Direction::Received,
            addend: Addend::of(content),
            texts,
            ..Self::default()
        }
    }

    fn note(&mut self, record: Option<Record>) {
        match record {
            Some(Record::Outcome(outcome)) => {
                self.state = Some(outcome.state);
                self.texts.set(Part::SdiId, &outcome.sdi_id);
            }
            Some(Record::Annotation(annotation)) => {
                self.registered = annotation.registered_ms.is_some();
                self.paid = annotation.paid_ms.is_some();
                self.texts.set(Part::Notes, &annotation.notes);
            }
            _ => {}
        }
    }
}

/// A filter made ready to be compared.
struct Wanted<'f> {
    filter: &'f Filter,
    party: Option<Word>,
    words: Vec<Word>,
}

impl<'f> Wanted<'f> {
    fn of(filter: &'f Filter) -> Self {
        let words = filter.text.as_deref().unwrap_or_default().split_whitespace();
        Self {
            filter,
            party: filter.party.as_deref().map(Word::new),
            words: words.map(Word::new).collect(),
        }
    }

    fn admits(&self, entry: &Entry) -> bool {
        let Filter { direction, state, registered, paid, .. } = self.filter;
        let is = |wanted: &Option<bool>, found| wanted.is_none_or(|wanted| wanted == found);
        let found = if entry.received { Direction::Received } else { Direction::Sent };
        direction.is_none_or(|wanted| wanted == found)
            && state.is_none_or(|wanted| wanted == standing(entry.received, entry.state))
            && is(registered, entry.registered)
            && is(paid, entry.paid)
            && self.party.as_ref().is_none_or(|party| entry.texts.name(party))
            && self.words.iter().all(|word| entry.texts.have(word))
    }
}

/// Where an invoice stands when its outcome document says `said`, or when there is none.
#[must_use]
pub fn standing(received: bool, said: Option<OutcomeState>) -> OutcomeState {
    match said {
        Some(OutcomeState::Silent) | None if received => OutcomeState::Received,
        said => said.unwrap_or(OutcomeState::Silent),
    }
}

#[cfg(test)]
mod tests {
    use engine::{
        document::{
            annotation::{self, AnnotationEdit},
            invoice::{self, Party, Receiving},
            outcome::{self, OutcomeEntry, Receipt},
        },
        id::{BlobHash, LogId},
    };

    use rust_decimal::Decimal;

    use super::*;
    use crate::{
        feed::Cursor,
        mirror::{Derived, MirrorOptions},
    };

    fn actor() -> LogId {
        LogId::from_bytes([1; 16])
    }

    struct Books {
        _home: tempfile::TempDir,
        mirror: Arc<Mirror>,
        register: Register,
        position: u64,
    }

    fn tenant() -> VatNumber {
        VatNumber::parse("02038490237").unwrap()
    }

    impl Books {
        fn open() -> Self {
            let home = tempfile::tempdir().unwrap();
            let (mirror, _) = Mirror::open(home.path(), MirrorOptions::default()).unwrap();
            let mirror = Arc::new(mirror);
            let register = Register::new(tenant(), Arc::clone(&mirror));
            Self { _home: home, mirror, register, position: 0 }
        }

        fn put(&mut self, document: DocumentId, changes: &[Vec<u8>]) {
            self.position += 1;
            let record = Some(Record::derive(document, changes).encode());
            let derived = Derived { document, changed_at: self.position, record };
            self.mirror.apply(tenant(), Cursor::new(self.position, 0), &[derived]).unwrap();
        }

        fn invoice(&mut self, number: &str, date: &str, received: bool) -> DocumentId {
            let content = InvoiceContent {
                file_name: format!("IT02038490237_{number}.xml"),
                original: BlobHash::of(number.as_bytes()),
                original_len: 1,
                direction: if received { Direction::Received } else { Direction::Sent },
                format: "FPR12".into(),
                number: number.into(),
                date: date.into(),
                document_type: if number == "3" { "TD04" } else { "TD01" }.into(),
                supplier: Party { name: "Caffè Rossi".into(), ..Party::default() },
                buyer: Party { vat: "IT12345678903".into(), ..Party::default() },
                recipient_code: String::new(),
                total: "1.00".into(),
                currency: "EUR".into(),
                bodies: 1,
                receiving: received.then(|| Receiving {
                    sdi_id: format!("99{number}"),
                    at_ms: 1,
                    metadata: None,
                }),
            };
            let id = DocumentId::invoice(&content.original);
            self.put(id, &[invoice::create(actor(), &content).unwrap()]);
            id
        }

        fn numbers(&self, filter: &Filter) -> Vec<String> {
            let places = self.register.list(filter, None, 99).unwrap();
            places.iter().map(|place| self.number(place)).collect()
        }

        fn number(&self, place: &Place) -> String {
            let bytes = self.mirror.get(tenant(), place.invoice).unwrap().unwrap();
            match Record::decode(&bytes).unwrap() {
                Record::Invoice(record) => record.content.number,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn invoices_are_listed_by_day_and_filtered() {
        let mut books = Books::open();
        let old = books.invoice("1", "2026-01-31", false);
        books.invoice("2", "2026-02-01", true);
        books.invoice("3", "", false);
        // Said before the invoice itself arrives, and counted when it does.
        let late = DocumentId::invoice(&BlobHash::of(b"4"));
        let sent = OutcomeEntry::new(Receipt::Delivered, "777", 1);
        let said = outcome::add(actor(), &[], &sent).unwrap().unwrap();
        books.put(late.sibling(Kind::Outcome), &[said]);
        assert_eq!(books.numbers(&Filter::default()), ["2", "1", "3"]);
        books.invoice("4", "2026-02-02", false);
        assert_eq!(books.numbers(&Filter::default()), ["4", "2", "1", "3"]);

        let paid =
            annotation::edit(actor(), &[], &[AnnotationEdit::Paid(Some(5))]).unwrap().unwrap();
        books.put(old.sibling(Kind::Annotation), &[paid]);
        let all = Filter::default;
        let day = Date::parse;
        for (filter, numbers) in [
            (Filter { direction: Some(Direction::Received), ..all() }, vec!["2"]),
            (Filter { from: day("2026-01-31"), to: day("2026-02-01"), ..all() }, vec!["2", "1"]),
            (Filter { from: day("2026-02-03"), to: day("2026-02-01"), ..all() }, vec![]),
            (Filter { state: Some(OutcomeState::Delivered), ..all() }, vec!["4"]),
            (Filter { state: Some(OutcomeState::Received), ..all() }, vec!["2"]),
            (Filter { paid: Some(true), ..all() }, vec!["1"]),
            (Filter { text: Some("CAFFÈ _4.".into()), ..all() }, vec!["4"]),
            (Filter { text: Some("992".into()), ..all() }, vec!["2"]),
            (Filter { text: Some("caffè 777".into()), ..all() }, vec!["4"]),
            (Filter { party: Some("it1234".into()), ..all() }, vec!["4", "2", "1", "3"]),
            (Filter { party: Some("_4".into()), ..all() }, vec![]),
        ] {
            assert_eq!(books.numbers(&filter), numbers, "{filter:?}");
        }

        let sums = |filter: &Filter| books.register.page(filter, None, 0).unwrap().1;
        let paid = Filter { paid: Some(true), ..all() };
        let sums_of_paid = sums(&paid);
        let sums = sums(&Filter { text: Some("caffè".into()), ..all() });
        assert_eq!((sums.invoices, sums.credit_notes, sums.batches), (4, 1, 0));
        assert_eq!(sums.totals, BTreeMap::from([(*b"EUR", Decimal::new(200, 2))]));
        assert_eq!(sums_of_paid.totals, BTreeMap::from([(*b"EUR", Decimal::new(100, 2))]));

        // Summed by the first question, remembered for the second: the same page.
        let second = books.register.list(&all(), None, 2).unwrap().last().copied();
        let any_party = Filter { party: Some(String::new()), ..all() };
        for (filter, after) in [(all(), None), (any_party, second)] {
            let listed = books.register.list(&filter, after, 1).unwrap();
            for _ in 0..2 {
                let (places, sums) = books.register.page(&filter, after, 1).unwrap();
                assert_eq!((&places, sums.invoices), (&listed, 4));
            }
        }

        let first = books.register.list(&all(), None, 2).unwrap();
        let rest = books.register.list(&all(), first.last().copied(), 9).unwrap();
        let read = |places: &[Place]| places.iter().map(|p| books.number(p)).collect::<Vec<_>>();
        assert_eq!(
            (read(&first), read(&rest)),
            (vec!["4".into(), "2".into()], vec!["1".into(), "3".into()])
        );

        books.mirror.renew().unwrap();
        assert_eq!(books.register.count(), Ok(0), "what cannot be read is not listed");

        // Set aside and as far again before anybody asks, without what it had before.
        books.invoice("5", "2026-02-05", false);
        assert_eq!(books.numbers(&all()), ["5"]);
        books.mirror.renew().unwrap();
        books.position -= 1;
        books.invoice("6", "2026-02-06", false);
        assert_eq!(books.numbers(&all()), ["6"]);
        // The tenant alone, for another truth that is as far.
        books.mirror.clear(tenant()).unwrap();
        books.position -= 1;
        books.invoice("7", "2026-02-07", false);
        assert_eq!(books.numbers(&all()), ["7"]);
    }
}
