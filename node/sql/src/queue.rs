//! At most as many sums are worked out at once as there are processors; the others wait, and are
//! let on in the order in which they came. Twenty that share two processors by slices of time all
//! end late, and some of them very late; one after the other, none waits much longer than another.
//!
//! A statement works a moment before it needs a turn ([`Ticket::look`] is called at its steps), so
//! that what is short asks nobody. One that has worked for more than [`SHORT`] is a long one: it
//! gives way to short ones at its next step, but for one long one, which goes on. So neither kind
//! ever waits for the other to be gone. Lists do not queue: they go at the pace of their clients.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::error::SqlError;

/// What a short statement works at most: above what a month's sums take.
const SHORT: Duration = Duration::from_millis(20);
/// How long a long one's turn is while other long ones wait: above what a year's sums take.
const LONG: Duration = Duration::from_millis(300);
/// Between two looks at whether one who waits must stop.
const LOOK: Duration = Duration::from_millis(20);

/// Who is at work and who waits.
#[derive(Debug)]
pub struct Queue(Mutex<Places>);

/// Whether it is a long one, and the number under which it came.
type Place = (bool, u64);

#[derive(Debug)]
struct Places {
    free: usize,
    /// Long ones at work.
    long: usize,
    waiting: BTreeMap<Place, Arc<Condvar>>,
    next: u64,
}

impl Default for Queue {
    /// One for as many as there are processors, and at least two: a long one and a short one.
    fn default() -> Self {
        Self::of(thread::available_parallelism().map_or(2, usize::from).max(2))
    }
}

impl Queue {
    fn of(free: usize) -> Self {
        Self(Mutex::new(Places { free, long: 0, waiting: BTreeMap::new(), next: 0 }))
    }
}

impl Places {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Who is to be let on next: short ones first, unless no long one is at work.
    fn first(&self) -> Option<Place> {
        let long = self.waiting.range((true, 0)..).next().filter(|_| self.long == 0);
        long.or_else(|| self.waiting.iter().next()).map(|(place, _)| *place)
    }
}

/// A connection's place, for one statement after the other.
#[derive(Debug)]
pub struct Ticket {
    queue: Arc<Queue>,
    woken: Arc<Condvar>,
    /// The statement that queues, if one does.
    work: Mutex<Option<Work>>,
}

#[derive(Debug)]
struct Work {
    place: Place,
    /// What it has worked in the turns it gave back.
    worked: Duration,
    /// Since when it has its turn.
    since: Option<Instant>,
}

impl Ticket {
    /// A place in this queue, that waits for nothing.
    #[must_use]
    pub fn new(queue: &Arc<Queue>) -> Self {
        Self { queue: Arc::clone(queue), woken: Arc::default(), work: Mutex::default() }
    }

    /// A statement that queues begins. It ends when what this returns is dropped.
    pub fn begin(&self) -> Begun<'_> {
        let place = (false, lock(&self.queue.0).number());
        *lock(&self.work) = Some(Work { place, worked: Duration::ZERO, since: None });
        Begun(self)
    }

    /// A statement is at work: if it queues, waits until it may be. `check` says whether it must
    /// stop instead.
    ///
    /// # Errors
    /// What `check` says.
    pub fn look(&self, check: impl Fn() -> Result<(), SqlError>) -> Result<(), SqlError> {
        check()?;
        let mut work = lock(&self.work);
        let Some(work) = &mut *work else { return Ok(()) };
        let Some(since) = work.since else { return self.wait(work, check) };
        let (turn, (long, _)) = (since.elapsed(), work.place);
        if !long && work.worked + turn <= SHORT {
            return Ok(());
        }
        let mut places = lock(&self.queue.0);
        let behind_all = long && turn > LONG;
        let gives_way = match places.first() {
            // It is a long one from now on.
            _ if !long => true,
            None => false,
            Some((false, _)) => places.long > 1,
            Some((true, _)) => behind_all,
        };
        let number = if behind_all { places.number() } else { work.place.1 };
        drop(places);
        if gives_way {
            self.leave(work);
            work.place = (true, number);
            self.wait(work, check)?;
        }
        Ok(())
    }

    fn wait(
        &self,
        work: &mut Work,
        check: impl Fn() -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut places = lock(&self.queue.0);
        if places.free > 0 {
            places.free -= 1;
            places.long += usize::from(work.place.0);
        } else {
            places.waiting.insert(work.place, Arc::clone(&self.woken));
            // Who leaves takes one out, and leaves its own turn to it.
            while places.waiting.contains_key(&work.place) {
                if let Err(stop) = check() {
                    places.waiting.remove(&work.place);
                    return Err(stop);
                }
                let woken = self.woken.wait_timeout(places, LOOK);
                places = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        work.since = Some(Instant::now());
        Ok(())
    }

    fn leave(&self, work: &mut Work) {
        let Some(since) = work.since.take() else { return };
        work.worked += since.elapsed();
        let mut places = lock(&self.queue.0);
        places.long -= usize::from(work.place.0);
        match places.first() {
            Some(place) => {
                places.long += usize::from(place.0);
                if let Some(woken) = places.waiting.remove(&place) {
                    woken.notify_one();
                }
            }
            None => places.free += 1,
        }
    }
}

/// A statement that queues, until it ends or goes on at the pace of its client.
#[derive(Debug)]
pub struct Begun<'a>(&'a Ticket);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(mut work) = lock(&self.0.work).take() {
            self.0.leave(&mut work);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::error::code;

    fn goes_on() -> Result<(), SqlError> {
        Ok(())
    }

    /// Waits until so many wait.
    fn waited(queue: &Queue, n: usize) {
        while lock(&queue.0).waiting.len() < n {
            thread::yield_now();
        }
    }

    /// As if it had worked so long, and no longer however long this test takes.
    fn worked(ticket: &Ticket, long: Duration) {
        let mut work = lock(&ticket.work);
        let work = work.as_mut().unwrap();
        work.worked = long;
        work.since = work.since.map(|since| since + Duration::from_secs(3600));
    }

    #[test]
    fn who_waits_is_let_on_in_the_order_in_which_it_came() {
        let queue = Arc::new(Queue::of(1));
        let first = Ticket::new(&queue);
        let begun = first.begin();
        first.look(goes_on).unwrap();
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for n in 0..5 {
                let (queue, order) = (&queue, &order);
                scope.spawn(move || {
                    let ticket = Ticket::new(queue);
                    let _begun = ticket.begin();
                    ticket.look(goes_on).unwrap();
                    lock(order).push(n);
                });
                waited(queue, n + 1);
            }
            assert!(lock(&order).is_empty());
            drop(begun);
        });
        assert_eq!(*lock(&order), [0, 1, 2, 3, 4]);
        assert_eq!(lock(&queue.0).free, 1);
    }

    #[test]
    fn who_waits_can_be_stopped_and_takes_no_turn_with_it() {
        let queue = Arc::new(Queue::of(1));
        let (first, second) = (Ticket::new(&queue), Ticket::new(&queue));
        let begun = first.begin();
        first.look(goes_on).unwrap();
        let stopped = AtomicBool::new(false);
        let check = || match stopped.load(Ordering::SeqCst) {
            true => Err(SqlError::new(code::CANCELED, "it is over")),
            false => Ok(()),
        };
        thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let _begun = second.begin();
                second.look(check).unwrap_err().code
            });
            waited(&queue, 1);
            stopped.store(true, Ordering::SeqCst);
            assert_eq!(waits.join().unwrap(), code::CANCELED);
        });
        drop(begun);
        let places = lock(&queue.0);
        assert!(places.waiting.is_empty());
        assert_eq!(places.free, 1);
    }

    #[test]
    fn what_does_not_queue_waits_for_nobody() {
        let queue = Arc::new(Queue::of(1));
        let (first, second) = (Ticket::new(&queue), Ticket::new(&queue));
        let _begun = first.begin();
        first.look(goes_on).unwrap();
        second.look(goes_on).unwrap();
        assert_eq!(lock(&queue.0).free, 0);
    }

    /// `first` has worked so long when `second`, which has worked so long too, comes to wait; says
    /// whether it gave way at its next step.
    fn gives_way(first: Duration, second: Duration, others: usize) -> bool {
        let queue = Arc::new(Queue::of(1));
        let (one, two) = (Ticket::new(&queue), Ticket::new(&queue));
        let begun = one.begin();
        one.look(goes_on).unwrap();
        worked(&one, first);
        // What it has worked makes it a long one before the other comes.
        one.look(goes_on).unwrap();
        worked(&one, first);
        lock(&queue.0).long += others;
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let _begun = two.begin();
                if second > SHORT {
                    lock(&two.work).as_mut().unwrap().place.0 = true;
                }
                two.look(goes_on).unwrap();
                ended.store(true, Ordering::SeqCst);
            });
            waited(&queue, 1);
            one.look(goes_on).unwrap();
            let gave_way = ended.load(Ordering::SeqCst);
            drop(begun);
            gave_way
        })
    }

    #[test]
    fn a_short_one_is_not_interrupted() {
        assert!(!gives_way(SHORT, Duration::ZERO, 0));
    }

    #[test]
    fn a_long_one_gives_way_to_a_short_one_if_another_long_one_goes_on() {
        assert!(gives_way(2 * SHORT, Duration::ZERO, 1));
        assert!(!gives_way(2 * SHORT, Duration::ZERO, 0));
    }

    #[test]
    fn a_long_one_does_not_give_way_to_a_long_one_before_its_turn_is_over() {
        assert!(!gives_way(2 * SHORT, 2 * SHORT, 1));
    }

    #[test]
    fn a_long_one_comes_on_before_short_ones_if_none_is_at_work() {
        let queue = Arc::new(Queue::of(1));
        let mut places = lock(&queue.0);
        for place in [(false, 2), (true, 1), (true, 3)] {
            places.waiting.insert(place, Arc::default());
        }
        assert_eq!(places.first(), Some((true, 1)));
        places.long = 1;
        assert_eq!(places.first(), Some((false, 2)));
    }
}
