//! Consumers that were away for a month: changes every day, restarts and mirrors built anew later,
//! each meets every document that changed, once, as it is now, whichever way it follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use engine::store::memory::MemoryStore;
use serde_json::{Value, json};

use super::{
    changes::events,
    hooks::{Erp, hook},
    office::{ANNA, Office},
};

/// A node that is restarted now and then, and what a consumer must be told of it: by kind and
/// invoice, the notes that go with it.
struct Month {
    store: Arc<MemoryStore>,
    /// None for a moment, while it is restarted.
    office: Option<Office>,
    invoices: Vec<String>,
    changed: BTreeMap<(String, String), String>,
}

impl Month {
    async fn begin() -> Self {
        let store = Arc::new(MemoryStore::new());
        let office = Office::over(Arc::clone(&store) as _, None).await;
        let office = Some(office);
        let mut month = Self { store, office, invoices: Vec::new(), changed: BTreeMap::new() };
        for n in 0..20 {
            month.receive(&format!("0-{n}")).await;
        }
        month
    }

    fn office(&self) -> &Office {
        self.office.as_ref().unwrap()
    }

    async fn restart(&mut self) {
        self.office = None;
        self.office = Some(Office::over(Arc::clone(&self.store) as _, None).await);
    }

    fn build_anew(&self) {
        self.office().mirror.renew().unwrap();
    }

    async fn receive(&mut self, number: &str) {
        let id = self.office().receive(number).await;
        self.changed.insert(("invoice".into(), id.clone()), String::new());
        self.invoices.push(id);
    }

    async fn mark(&mut self, id: &str, notes: &str) {
        let path = format!("/api/v1/invoices/{id}/annotation");
        let body = json!({ "notes": notes }).to_string();
        self.office().ask("PATCH", &path, &[ANNA], body.as_bytes()).await.is(200);
        self.changed.insert(("annotation".into(), id.to_owned()), String::new());
        for kind in ["invoice", "annotation"] {
            if let Some(known) = self.changed.get_mut(&(kind.into(), id.to_owned())) {
                notes.clone_into(known);
            }
        }
    }

    async fn day(&mut self, day: usize) {
        for n in 0..4 {
            self.receive(&format!("{day}-{n}")).await;
        }
        for n in 0..3 {
            let id = self.invoices[(day * 7 + n * 5) % self.invoices.len()].clone();
            self.mark(&id, &format!("giorno {day}")).await;
        }
    }

    /// The consumer met exactly what changed, as it is now, and each once.
    #[track_caller]
    fn is_met_by(&self, met: &[Value]) {
        let of = |change: &Value| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let notes = &change["invoice"]["annotation"]["notes"];
            ((text(&change["kind"]), text(&change["id"])), text(notes))
        };
        let found: BTreeMap<_, _> = met.iter().map(of).collect();
        assert_eq!(found.len(), met.len(), "something came twice");
        assert_eq!(found, self.changed);
    }
}

/// Pages of seven from `since` on; a node that is `disturbed` is restarted between some of them.
async fn poll(month: &mut Month, since: &mut String, disturbed: bool) -> Vec<Value> {
    let mut met = Vec::new();
    for page in 0.. {
        let path = format!("/api/v1/changes?limit=7&wait=0&since={since}");
        let answer = month.office().get(&path).await.is(200).json();
        met.extend(answer["changes"].as_array().unwrap().clone());
        answer["next"].as_str().unwrap().clone_into(since);
        if answer["more"] == false {
            break;
        }
        // A node that starts has an empty mirror, which it fills from its truth.
        if disturbed && page % 3 == 1 {
            month.restart().await;
            month.office().space.settled().await;
        }
    }
    met
}

/// `count` events after the last one taken, in several sittings.
async fn stream(month: &Month, last: &mut String, mut count: usize) -> Vec<Value> {
    let mut met = Vec::new();
    while count > 0 {
        let sitting = count.min(61);
        let head =
            if last.is_empty() { String::new() } else { format!("Last-Event-ID: {last}\r\n") };
        for (event, id, data) in events(month.office(), &head, sitting).await {
            assert_eq!(event, "change");
            *last = id;
            met.push(data);
        }
        count -= sitting;
    }
    met
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_away_a_month_misses_nothing_and_meets_nothing_twice() {
    let mut month = Month::begin().await;
    let dir = tempfile::tempdir().unwrap();
    let (erp, url, _serving) = Erp::open(204).await;
    let calling = tokio::spawn(hook(month.office(), dir.path(), &url).run());
    let (mut since, mut last) = (String::new(), String::new());
    let met = poll(&mut month, &mut since, false).await;
    month.is_met_by(&met);
    let count = month.changed.len();
    month.is_met_by(&stream(&month, &mut last, count).await);
    let mut taken = 0;
    while taken < count {
        let messages = erp.messages(1).await;
        taken = messages.iter().map(|message| message.changes.len()).sum();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    calling.abort();
    let _ = calling.await;

    // A month, with nobody there. The node goes on trying to call.
    erp.answer(503);
    month.changed.clear();
    for day in 1..=30 {
        month.day(day).await;
        match day % 5 {
            0 => month.restart().await,
            3 => month.build_anew(),
            _ => {}
        }
    }
    month.office().space.settled().await;

    let met = poll(&mut month, &mut since, true).await;
    month.is_met_by(&met);
    let count = month.changed.len();
    assert!(count > 150, "{count}");
    month.is_met_by(&stream(&month, &mut last, count).await);
    let before = erp.messages(0).await.len();
    let calling = tokio::spawn(hook(month.office(), dir.path(), &url).run());
    erp.messages(before + 2).await;
    erp.answer(204);
    let (mut met, mut ids) = (Vec::new(), BTreeSet::new());
    while met.len() < count {
        (met, ids) = (Vec::new(), BTreeSet::new());
        // The same message again, whose answer was lost, has the same id.
        for message in erp.messages(before).await.split_off(before) {
            if message.status == 204 && ids.insert(message.id) {
                met.extend(message.changes);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    month.is_met_by(&met);

    // Whatever comes next is all that comes next.
    month.changed.clear();
    month.receive("31-0").await;
    let met = poll(&mut month, &mut since, false).await;
    month.is_met_by(&met);
    month.is_met_by(&stream(&month, &mut last, 1).await);
    let told = ids.len();
    while ids.len() == told {
        for message in erp.messages(before).await.split_off(before) {
            if message.status == 204 && ids.insert(message.id) {
                month.is_met_by(&message.changes);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    calling.abort();
}
