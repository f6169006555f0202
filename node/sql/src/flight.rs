//! Whoever asks what somebody is being answered at this moment, about the same state of the same
//! tables, is given that answer too: a report that twenty desks open at once is worked out once.
//!
//! Nothing is kept when it has been said, so nothing can grow old: each write gives a shelf's
//! state a name of its own ([`crate::shelf`]), and only questions about one state meet here. Who
//! works never waits for who listens. If it is cancelled, fails, or has more to say than
//! [`ANSWER_BYTES_MAX`], the others work for themselves, as if they had met nobody.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{error::SqlError, reader::Watch};

/// Longest answer held for others.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Between two looks at whether one who listens must stop.
const LOOK: Duration = Duration::from_millis(5);

/// What is asked, of whom and when: equal questions have equal answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The tenant's shelf.
    pub shelf: PathBuf,
    /// The name of its state.
    pub state: i64,
    /// The statement as SQLite is given it.
    pub sql: String,
    /// Its parameters, and how its columns go over the wire.
    pub form: String,
}

/// Rows as messages, and how many they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The messages.
    pub bytes: Vec<u8>,
    /// How many rows.
    pub rows: u64,
}

/// What is known of a question at work.
#[derive(Debug)]
enum Known {
    Nothing,
    Answer(Arc<Answer>),
    /// There will be none.
    Never,
}

#[derive(Debug)]
struct Flight {
    known: Mutex<Known>,
    changed: Condvar,
}

/// Questions at work.
#[derive(Debug, Default)]
pub struct Flights {
    aloft: Mutex<BTreeMap<Question, Arc<Flight>>>,
    told: AtomicU64,
}

/// What one who asks is to do.
#[derive(Debug)]
pub enum Turn<'a> {
    /// Work, and tell the others.
    Lead(Lead<'a>),
    /// Work for itself.
    Alone,
    /// Nothing more: this is the answer.
    Told(Arc<Answer>),
}

impl Flights {
    /// Says what one who asks is to do; waits while another works at the same.
    ///
    /// # Errors
    /// [`SqlError`] when `watch` stops the one who waits.
    pub fn join(&self, question: Question, watch: &Watch) -> Result<Turn<'_>, SqlError> {
        let flight = {
            let mut aloft = lock(&self.aloft);
            if let Some(flight) = aloft.get(&question) {
                Arc::clone(flight)
            } else {
                let (known, changed) = (Mutex::new(Known::Nothing), Condvar::new());
                let flight = Arc::new(Flight { known, changed });
                aloft.insert(question.clone(), Arc::clone(&flight));
                return Ok(Turn::Lead(Lead { flights: self, question, flight }));
            }
        };
        let mut known = lock(&flight.known);
        loop {
            match &*known {
                Known::Answer(answer) => {
                    self.told.fetch_add(1, Ordering::Relaxed);
                    return Ok(Turn::Told(Arc::clone(answer)));
                }
                Known::Never => return Ok(Turn::Alone),
                Known::Nothing => watch.check()?,
            }
            let woken = flight.changed.wait_timeout(known, LOOK);
            known = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many were told an answer that another worked out.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }
}

/// The one who works. Dropped without a word, it leaves the others to work for themselves.
#[derive(Debug)]
pub struct Lead<'a> {
    flights: &'a Flights,
    question: Question,
    flight: Arc<Flight>,
}

impl Lead<'_> {
    /// Tells the others.
    #[must_use]
    pub fn tell(self, answer: Answer) -> Arc<Answer> {
        let answer = Arc::new(answer);
        *lock(&self.flight.known) = Known::Answer(Arc::clone(&answer));
        answer
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        lock(&self.flights.aloft).remove(&self.question);
        let mut known = lock(&self.flight.known);
        if matches!(*known, Known::Nothing) {
            *known = Known::Never;
        }
        self.flight.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, thread};

    use super::*;

    fn question(shelf: &str, state: i64) -> Question {
        let sql = "SELECT count(*) FROM invoices".to_owned();
        Question { shelf: shelf.into(), state, sql, form: String::new() }
    }

    fn lead<'a>(flights: &'a Flights, question: &Question) -> Lead<'a> {
        match flights.join(question.clone(), &Watch::default()).unwrap() {
            Turn::Lead(lead) => lead,
            turn => panic!("{turn:?}"),
        }
    }

    /// Waits until `n` listen to a flight that `lead` leads: both of them hold it, and the map.
    fn listened(lead: &Lead<'_>, n: usize) {
        while Arc::strong_count(&lead.flight) < 2 + n {
            thread::yield_now();
        }
    }

    #[test]
    fn who_asks_the_same_meanwhile_is_told_the_same() {
        let (flights, asked) = (Flights::default(), question("a", 1));
        let first = lead(&flights, &asked);
        let answer = Answer { bytes: b"seven".to_vec(), rows: 1 };
        thread::scope(|scope| {
            let join = || flights.join(asked.clone(), &Watch::default());
            let others: Vec<_> = (0..3).map(|_| scope.spawn(join)).collect();
            listened(&first, 3);
            let said = first.tell(answer.clone());
            for other in others {
                let Turn::Told(told) = other.join().unwrap().unwrap() else { panic!("not told") };
                assert!(Arc::ptr_eq(&told, &said));
            }
        });
        // Nothing is kept: who asks now works.
        drop(lead(&flights, &asked));
        assert!(lock(&flights.aloft).is_empty());
    }

    #[test]
    fn another_state_and_another_tenant_never_meet() {
        let flights = Flights::default();
        let mut other = question("a", 1);
        other.form = "[Integer(2)]".to_owned();
        let all = [question("a", 1), question("a", 2), question("b", 1), other];
        let leads: Vec<_> = all.iter().map(|question| lead(&flights, question)).collect();
        assert_eq!(lock(&flights.aloft).len(), leads.len());
    }

    #[test]
    fn who_works_and_is_cancelled_leaves_the_others_to_themselves() {
        let (flights, asked) = (Flights::default(), question("a", 1));
        let first = lead(&flights, &asked);
        thread::scope(|scope| {
            let other = scope.spawn(|| flights.join(asked.clone(), &Watch::default()));
            listened(&first, 1);
            drop(first);
            assert!(matches!(other.join().unwrap().unwrap(), Turn::Alone));
        });
    }

    #[test]
    fn who_listens_can_be_cancelled_and_nobody_else_is() {
        let (flights, asked) = (Flights::default(), question("a", 1));
        let first = lead(&flights, &asked);
        let watch = Watch::default();
        thread::scope(|scope| {
            let (say, said) = channel();
            let impatient = scope.spawn(|| flights.join(asked.clone(), &watch).unwrap_err().code);
            let patient = scope.spawn(|| flights.join(asked.clone(), &Watch::default()));
            listened(&first, 2);
            watch.cancel();
            assert_eq!(impatient.join().unwrap(), "57014");
            let answer = Answer { bytes: Vec::new(), rows: 0 };
            say.send(first.tell(answer)).unwrap();
            let Turn::Told(told) = patient.join().unwrap().unwrap() else { panic!("not told") };
            assert!(Arc::ptr_eq(&told, &said.recv().unwrap()));
        });
    }
}
