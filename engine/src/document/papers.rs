//! What people decide merges so that the lesser right counts, and facts stay facts.

use super::{
    account::{self, AccountEdit, AccountRole, PasswordHash},
    contract::{self, ContractEdit},
    customer::{self, CustomerEdit, DoorCertificate},
    profile::{self, ProfileField},
    step::{Act, Step},
};
use crate::{
    id::{BlobHash, DocumentId, Kind, LogId, PeerId, VatNumber},
    record::Record,
};

fn log(byte: u8) -> LogId {
    LogId::from_bytes([byte; 16])
}

fn vat(text: &str) -> VatNumber {
    VatNumber::parse(text).unwrap()
}

fn step(at_ms: u64, act: Act) -> Step {
    let peer = PeerId::of_spki(b"a key");
    Step { at_ms, act, user: "rossi".to_owned(), peer, note: String::new() }
}

#[test]
fn steps_of_a_contract_are_facts() {
    let id = DocumentId::single(Kind::Contract);
    let drawn = [
        ContractEdit::Drawn(BlobHash::of(b"%PDF")),
        ContractEdit::Text("2026-11".to_owned()),
        ContractEdit::Step(step(1, Act::Drawn)),
    ];
    let first = contract::edit(log(1), &[], &drawn).unwrap().unwrap();
    let one = [ContractEdit::Step(step(2, Act::CodeSent))];
    let one = contract::edit(log(1), &[&first], &one).unwrap().unwrap();
    let two = [ContractEdit::Step(step(2, Act::SignedByFile))];
    let two = contract::edit(log(2), &[&first], &two).unwrap().unwrap();
    let Record::Contract(record) = Record::derive(id, &[two, one, first]) else { panic!() };
    assert_eq!((record.drawn, &*record.text), (Some(BlobHash::of(b"%PDF")), "2026-11"));
    let acts: Vec<_> = record.steps.iter().map(|step| step.act).collect();
    assert_eq!(acts, [Act::Drawn, Act::CodeSent, Act::SignedByFile]);
    assert!(record.conflicts.is_empty());
}

#[test]
fn of_an_account_the_lesser_right_counts() {
    let (ours, other) = (vat("02038490237"), vat("12345678903"));
    let id = DocumentId::named(Kind::Account, "rossi");
    let start = [
        AccountEdit::User("rossi".to_owned()),
        AccountEdit::Password(PasswordHash("$argon2id$secret".to_owned())),
        AccountEdit::Member(ours, Some(AccountRole::Owner)),
        AccountEdit::Member(other, Some(AccountRole::Owner)),
    ];
    let first = account::edit(log(1), &[], &start).unwrap().unwrap();
    let one = [AccountEdit::Member(ours, Some(AccountRole::Reader)), AccountEdit::Closed(true)];
    let one = account::edit(log(1), &[&first], &one).unwrap().unwrap();
    let two = [
        AccountEdit::Member(ours, Some(AccountRole::Administrator)),
        AccountEdit::Member(other, None),
        AccountEdit::Closed(false),
    ];
    let two = account::edit(log(2), &[&first], &two).unwrap().unwrap();
    let Record::Account(record) = Record::derive(id, &[&two, &one, &first]) else { panic!() };
    assert_eq!(record.members, [(ours, AccountRole::Reader)]);
    assert!(record.closed, "closed by one portal is closed");
    assert!(!format!("{record:?}").contains("argon2id"), "no password in Debug");

    let other_name = DocumentId::named(Kind::Account, "bianchi");
    assert!(matches!(Record::derive(other_name, &[first]), Record::Unreadable(_)));
}

#[test]
fn a_certificate_that_ended_anywhere_has_ended() {
    let ours = vat("02038490237");
    let id = DocumentId::named(Kind::Customer, "02038490237");
    let door = DoorCertificate { spki: b"a key".to_vec(), not_after_ms: 9, bound_ms: 1 };
    let start = [CustomerEdit::Vat(ours), CustomerEdit::Bound(door.clone())];
    let first = customer::edit(log(1), &[], &start).unwrap().unwrap();
    let again = [CustomerEdit::Bound(DoorCertificate { bound_ms: 2, ..door.clone() })];
    let again = customer::edit(log(1), &[&first], &again).unwrap().unwrap();
    let end = [CustomerEdit::Ended(door.peer(), 5)];
    let end = customer::edit(log(2), &[&first], &end).unwrap().unwrap();
    for changes in [[&end, &again, &first], [&first, &again, &end]] {
        let Record::Customer(record) = Record::derive(id, &changes) else { panic!() };
        assert_eq!(record.certificates.len(), 1);
        assert_eq!(record.certificates[0].1, Some(5));
    }
}

#[test]
fn only_what_was_confirmed_is_confirmed() {
    let field = |field, text: &str| (field, text.to_owned());
    let data = [field(ProfileField::Name, "Alfa"), field(ProfileField::Pec, "a@pec.it")];
    let confirmed = profile::confirmation(&data);
    let mut more = vec![data[1].clone(), data[0].clone()];
    more.push(field(ProfileField::Confirmed, &confirmed));
    more.push(field(ProfileField::ArchiveEnabled, "yes"));
    more.push(field(ProfileField::Phone, ""));
    assert_eq!(profile::confirmation(&more), confirmed);
    more.push(field(ProfileField::City, "Verona"));
    assert_ne!(profile::confirmation(&more), confirmed);
}
