//! A history of a customer and of the office, as signed runs, and what it adds up to.

use std::{collections::BTreeSet, sync::Arc};

use engine::{
    archive,
    bundle::Item,
    document::{
        account::{self, AccountEdit, AccountRole, OneTime, PasswordHash},
        annotation::{self, AnnotationEdit},
        contract::{self, ContractEdit, TermsAcceptance},
        customer::{self, CustomerEdit, DoorCertificate},
        invoice::{self, Direction, InvoiceContent, Party, Receiving},
        outcome::{self, OutcomeEntry, Receipt},
        profile::{self, ProfileField},
        step::{Act, Step},
    },
    grant::Revocation,
    id::{BlobHash, DocumentId, Kind, LogId, OFFICE},
    record::Record,
    store::memory::MemoryStore,
    wire::{Frame, Run},
};

use crate::{
    Kept, keep, kept,
    keys::Key,
    replica::{NODE, PORTAL, Replica, Writer, large_file, tenant},
    spoken,
};

const NOON: u64 = 1_764_000_000_000;

/// What a history adds up to: the digest of each space, and the record of each document.
fn sums(history: &[Kept]) -> Vec<Kept> {
    let mut replica = Replica::opened_by(Key::new(PORTAL).peer(), Arc::new(MemoryStore::new()));
    replica.hear_history(history.iter().map(|kept| kept.bytes.clone()));
    let documents = history.iter().flat_map(|kept| {
        let Ok(Frame::Run(run)) = Frame::decode(&kept.bytes) else { panic!("{}", kept.says) };
        let documents = run.open().unwrap().into_iter().flat_map(|bundle| bundle.body.documents());
        documents.map(|document| (run.tenant, document)).collect::<Vec<_>>()
    });
    let documents: BTreeSet<_> = documents.collect();
    let digests = replica.engine.tenants().map(|tenant| {
        let digest = replica.engine.digest(tenant);
        Kept { bytes: digest.0.to_vec(), says: format!("digest of {tenant}") }
    });
    let records = documents.into_iter().map(|(tenant, document)| {
        let changes = archive::changes(&*replica.store, tenant.0, &document).unwrap();
        let record = Record::derive(document, &changes);
        Kept { bytes: document.as_bytes().to_vec(), says: format!("{record:?}") }
    });
    digests.chain(records).collect()
}

#[test]
fn a_history_that_was_kept_is_taken_and_adds_up_to_what_it_did() {
    for version in spoken() {
        let sums = sums(&kept("history", version));
        assert_eq!(sums, kept("sums", version));
        let unreadable = sums.iter().find(|kept| kept.says.contains("Unreadable"));
        assert_eq!(unreadable, None);
        for kind in
            ["Profile", "Contract", "Invoice", "Outcome", "Annotation", "Account", "Customer"]
        {
            assert!(sums.iter().any(|kept| kept.says.starts_with(kind)), "{kind}");
        }
    }
}

/// Something of every kind, by whoever may write it. Writes what it adds up to beside it.
pub fn sample() -> Vec<Kept> {
    let mut portal = Writer::new(PORTAL, tenant());
    let mut node = Writer::new(NODE, tenant());
    let mut office = Writer::new(PORTAL, OFFICE);
    let lost = Key::new(2);
    let step = |act| Step {
        at_ms: NOON,
        act,
        user: "rossi".to_owned(),
        peer: Key::new(PORTAL).peer(),
        note: "una nota".to_owned(),
    };
    let change =
        |document, change: Option<Vec<u8>>| Item::Change { document, change: change.unwrap() };

    let (sent, sent_file) = sent(node.id(), b"<FatturaElettronica/>");
    let (large, _) = self::sent(node.id(), &large_file());
    let note = [
        AnnotationEdit::Notes("pagata in contanti".to_owned()),
        AnnotationEdit::Paid(Some(NOON)),
        AnnotationEdit::Registered(Some(NOON)),
    ];
    let note = annotation::edit(node.id(), &[], &note).unwrap();
    let mut entry = OutcomeEntry::new(Receipt::Sent, "1234567890", NOON);
    let first = outcome::add(portal.id(), &[], &entry).unwrap();
    entry = OutcomeEntry {
        file: Some(BlobHash::of(b"<RicevutaConsegna/>")),
        file_name: "IT02038490237_00001_RC_001.xml".to_owned(),
        codes: "00404".to_owned(),
        note: "consegnata".to_owned(),
        ..OutcomeEntry::new(Receipt::Delivered, "1234567890", NOON + 1)
    };
    let second = outcome::add(portal.id(), &[first.as_deref().unwrap()], &entry).unwrap();
    let fields = [(ProfileField::Pec, "a@pec.it"), (ProfileField::Name, "Esempio Srl")];
    let profile = profile::edit(portal.id(), &[], &fields).unwrap();
    let fields = [(ProfileField::Pec, "b@pec.it")];
    let profile_of_node =
        profile::edit(node.id(), &[profile.as_deref().unwrap()], &fields).unwrap();
    let contract = [
        ContractEdit::Drawn(BlobHash::of(b"%PDF")),
        ContractEdit::Text("2026-11".to_owned()),
        ContractEdit::Terms(TermsAcceptance {
            version: "2026-10".to_owned(),
            at_ms: NOON,
            user: "rossi".to_owned(),
        }),
        ContractEdit::Signed(BlobHash::of(b"%PDF signed")),
        ContractEdit::SignedAt(NOON),
        ContractEdit::Signatory("Mario Rossi".to_owned()),
        ContractEdit::Enabled(Some(NOON)),
        ContractEdit::Step(step(Act::Drawn)),
    ];
    let contract = contract::edit(portal.id(), &[], &contract).unwrap();
    let account = [
        AccountEdit::User("rossi".to_owned()),
        AccountEdit::Name("Mario Rossi".to_owned()),
        AccountEdit::Email("rossi@esempio.it".to_owned()),
        AccountEdit::Language("it".to_owned()),
        AccountEdit::Password(PasswordHash("$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA".to_owned())),
        AccountEdit::Link(Some(OneTime { hash: [5; 32], until_ms: NOON, about: vec![1] })),
        AccountEdit::Member(tenant(), Some(AccountRole::Owner)),
        AccountEdit::Step(step(Act::UserChanged)),
    ];
    let account = account::edit(office.id(), &[], &account).unwrap();
    let spki = Key::new(NODE).public().spki().to_vec();
    let peer = Key::new(NODE).peer();
    let customer = [
        CustomerEdit::Vat(tenant()),
        CustomerEdit::Name("Esempio".to_owned()),
        CustomerEdit::Pilot(true),
        CustomerEdit::Admitted(Some(NOON)),
        CustomerEdit::Suspended(None),
        CustomerEdit::Bound(certificate(spki)),
        CustomerEdit::Ended(peer, NOON + 9),
        CustomerEdit::Code(Some(OneTime { hash: [6; 32], until_ms: NOON, about: vec![] })),
        CustomerEdit::Step(step(Act::CertificateBound)),
    ];
    let customer = customer::edit(office.id(), &[], &customer).unwrap();

    let outcome = sent_file.sibling(Kind::Outcome);
    let named = DocumentId::named;
    let runs: Vec<Run> = vec![
        portal.say(vec![Key::new(NODE).grant(), lost.grant()], &[]),
        portal.say(
            vec![
                change(DocumentId::single(Kind::Profile), profile),
                change(DocumentId::single(Kind::Contract), contract),
            ],
            &[b"%PDF", b"%PDF signed"],
        ),
        node.say(vec![sent], &[b"<FatturaElettronica/>"]),
        node.say(vec![large], &[&large_file()]),
        node.say(
            vec![
                change(sent_file.sibling(Kind::Annotation), note),
                change(DocumentId::single(Kind::Profile), profile_of_node),
            ],
            &[],
        ),
        portal.say(vec![received(portal.id())], &[b"<FatturaElettronica>", b"<Metadati/>"]),
        portal.say(vec![change(outcome, first)], &[]),
        portal.say(vec![change(outcome, second)], &[b"<RicevutaConsegna/>"]),
        portal.say(
            vec![Item::Revocation(Revocation {
                peer: lost.peer(),
                cuts: vec![(LogId::from_bytes([9; 16]), 300)],
            })],
            &[],
        ),
        office.say(vec![change(named(Kind::Account, "rossi"), account)], &[]),
        office.say(vec![change(named(Kind::Customer, &tenant().to_string()), customer)], &[]),
    ];
    let history: Vec<_> = runs
        .into_iter()
        .map(Frame::Run)
        .map(|frame| Kept { bytes: frame.encode(), says: format!("{frame:?}") })
        .map(|kept| Kept { says: kept.says.split(", payload").next().unwrap().to_owned(), ..kept })
        .collect();
    keep("sums", &sums(&history));
    history
}

fn certificate(spki: Vec<u8>) -> DoorCertificate {
    DoorCertificate { spki, not_after_ms: NOON + 10, bound_ms: NOON }
}

fn content(file: &[u8]) -> InvoiceContent {
    let party = |name: &str| Party {
        vat: "IT02038490237".to_owned(),
        tax_code: "02038490237".to_owned(),
        name: name.to_owned(),
    };
    InvoiceContent {
        file_name: "IT02038490237_00001.xml".to_owned(),
        original: BlobHash::of(file),
        original_len: file.len() as u64,
        direction: Direction::Sent,
        format: "FPR12".to_owned(),
        number: "1/A".to_owned(),
        date: "2026-11-24".to_owned(),
        document_type: "TD01".to_owned(),
        supplier: party("Esempio Srl"),
        buyer: party("Cliente Spa"),
        recipient_code: "ABCDEFG".to_owned(),
        total: "122.00".to_owned(),
        currency: "EUR".to_owned(),
        bodies: 1,
        receiving: None,
    }
}

fn sent(log: LogId, file: &[u8]) -> (Item, DocumentId) {
    let content = content(file);
    let document = DocumentId::invoice(&content.original);
    (Item::Change { document, change: invoice::create(log, &content).unwrap() }, document)
}

fn received(log: LogId) -> Item {
    let content = InvoiceContent {
        direction: Direction::Received,
        receiving: Some(Receiving {
            sdi_id: "987654321".to_owned(),
            at_ms: NOON,
            metadata: Some(BlobHash::of(b"<Metadati/>")),
        }),
        ..content(b"<FatturaElettronica>")
    };
    let document = DocumentId::invoice(&content.original);
    Item::Change { document, change: invoice::create(log, &content).unwrap() }
}
