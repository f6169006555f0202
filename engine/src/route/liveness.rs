//! The pulse of one session: how long its round trip is, and how long it has owed us an answer.
//!
//! A peer answers a `Ping` at once, before any disk, so a ping that travels with every write
//! tells the path from the peer's disk. [`Liveness`] says when to send one
//! ([`Liveness::poll_ping`]) and judges silence against the measured round trip
//! ([`Liveness::pulse`]). It decides nothing: what follows from a [`Pulse`] is up to its owner.
//! The dialling side's owner is [`super::Routes`]; an accepting portal, which dials nobody,
//! keeps one `Liveness` for each session and hedges what it pushes by itself.
//!
//! ```
//! use std::time::Duration;
//! use engine::route::{Liveness, Pulse, Transport};
//! use engine::time::Time;
//!
//! let ms = Time::from_millis;
//! let idle = Duration::from_secs(5);
//! let mut path = Liveness::new(Transport::Quic, Duration::from_millis(40), idle, ms(0));
//! let n = path.poll_ping(ms(0)).expect("a new session measures its round trip");
//! path.pong(n, ms(40));
//!
//! path.sent(ms(1_000)); // a run
//! assert!(path.poll_ping(ms(1_000)).is_some(), "a ping goes along");
//! assert_eq!(path.pulse(ms(1_109)), Pulse::Well);
//! assert_eq!(path.pulse(ms(1_110)), Pulse::Suspect, "1.25 * 40 + 60 ms of silence");
//! path.heard(ms(1_111));
//! assert_eq!(path.pulse(ms(1_111)), Pulse::Well, "anything heard clears it");
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use super::Transport;
use crate::limits::{DEMOTE_SILENCE_MS, HEDGE_FLOOR_MS};
use crate::time::Time;

/// Silence after which a session is given up: longer than a modem's hiccup, shorter than an
/// ADSL line needs to come back with another address.
const DEAD_SILENCE_MS: u64 = 10_000;
/// Pings that go along with writes are at least this far apart, or a quarter of the round trip
/// if that is more: enough to notice death, few enough to cost nothing at 1,000 writes a second.
const PING_GAP_MS_MIN: u64 = 10;
/// A suspect path is probed this often, or once a round trip if that is more.
const PROBE_MS_MIN: u64 = 250;
/// A ping may wait this long for its pong behind other frames of one TCP stream.
const TCP_DEAF_MS: u64 = 30_000;
/// The least round trip is that of one to two windows of this length.
const LEAST_WINDOW_MS: u64 = 15_000;
/// What comes back after a silence counts as so many round trips at most.
const RETURNED_TRIPS_MAX: u32 = 4;
/// Pings remembered; older ones are answered by a later pong or not at all.
const PINGS_MAX: usize = 64;

/// What silence says about a session, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pulse {
    /// Nothing is owed, or it is not late.
    Well,
    /// A ping is late by 1.25 round trips and [`HEDGE_FLOOR_MS`], and nothing else was heard
    /// lately: hedge. Certain to be wrong now and then.
    Suspect,
    /// Late by 3 round trips and [`DEMOTE_SILENCE_MS`]: loses its role if another path answers.
    Silent,
    /// Silent for so long that it is not worth keeping.
    Dead,
}

/// Smoothed round trip and its variation (RFC 6298 section 2).
#[derive(Clone, Copy, Debug)]
struct Rtt {
    smoothed: Duration,
    variation: Duration,
    samples: u64,
    /// The least of this window and of the one before it, which loss cannot inflate.
    least: [Option<Duration>; 2],
    window: Time,
}

impl Rtt {
    /// Until the first sample: the time the handshake took, which is longer than a round trip.
    fn guess(guess: Duration) -> Self {
        Self {
            smoothed: guess,
            variation: guess / 2,
            samples: 0,
            least: [None; 2],
            window: Time::ZERO,
        }
    }

    fn sample(&mut self, sample: Duration, now: Time) {
        if now - self.window >= Duration::from_millis(LEAST_WINDOW_MS) {
            self.least = [None, self.least[0]];
            self.window = now;
        }
        self.least[0] = Some(self.least[0].map_or(sample, |least| least.min(sample)));
        if self.samples == 0 {
            self.smoothed = sample;
            self.variation = sample / 2;
        } else {
            self.variation = (self.variation * 3 + self.smoothed.abs_diff(sample)) / 4;
            self.smoothed = (self.smoothed * 7 + sample) / 8;
        }
        self.samples += 1;
    }
}

/// A path that was suspect was heard again. Pings that were under way until then measure the
/// silence and not the path, and there are many of them: one counts, and not in full, so that a
/// path which did become longer is learnt all the same. (RFC 6298 section 3 leaves out what was
/// sent again for the same reason.)
#[derive(Clone, Copy, Debug)]
struct Returned {
    at: Time,
    counted: bool,
}

/// The pulse of one session. See the [module](self).
#[derive(Clone, Debug)]
pub struct Liveness {
    transport: Transport,
    idle: Duration,
    rtt: Rtt,
    heard: Time,
    /// When it was heard again after it had been suspect.
    returned: Option<Returned>,
    /// First write since the last ping: the next ping covers it.
    uncovered: Option<Time>,
    /// Pings without a pong, by number.
    pings: BTreeMap<u64, Time>,
    pinged: Option<Time>,
    next: u64,
}

impl Liveness {
    /// A session that has just opened. `guess` stands in for the round trip until a pong comes;
    /// `idle` is the age at which a session without traffic is pinged.
    #[must_use]
    pub fn new(transport: Transport, guess: Duration, idle: Duration, now: Time) -> Self {
        Self {
            transport,
            idle,
            rtt: Rtt::guess(guess),
            heard: now,
            returned: None,
            uncovered: Some(now),
            pings: BTreeMap::new(),
            pinged: None,
            next: 1,
        }
    }

    /// Changes the age at which an idle session is pinged: a primary's is shorter.
    pub fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
    }

    /// Something that expects an answer was sent. (A ping handed out by
    /// [`Self::poll_ping`] counts by itself.)
    pub fn sent(&mut self, now: Time) {
        self.uncovered.get_or_insert(now);
    }

    /// Something arrived: any frame, or the transport's word that bytes of ours were
    /// acknowledged. The second matters on a slow uplink, where a queue of our own making may
    /// hold pings back for seconds.
    pub fn heard(&mut self, now: Time) {
        if self.measured() && self.pulse(now) >= Pulse::Suspect {
            // What was owed at the last return, and comes soon after it, is of the same silence.
            let same = |last: &Returned| {
                let owed = self.asked().is_some_and(|asked| asked <= last.at);
                owed && now - last.at < self.rtt.smoothed
            };
            let counted = self.returned.filter(same).is_some_and(|last| last.counted);
            self.returned = Some(Returned { at: now, counted });
        }
        self.heard = self.heard.max(now);
    }

    /// The answer to ping `n`, and so to all before it: both travel on one ordered stream. A
    /// number we never sent says no more than any other frame.
    pub fn pong(&mut self, n: u64, now: Time) {
        self.heard(now);
        if let Some(sent) = self.pings.get(&n).copied() {
            self.measure(sent, now);
            self.pings = self.pings.split_off(&(n + 1));
        }
    }

    fn measure(&mut self, sent: Time, now: Time) {
        let trip = now - sent;
        match &mut self.returned {
            // Frames of one TCP stream queue behind each other, and that is to be learnt.
            Some(returned) if sent <= returned.at && self.transport == Transport::Quic => {
                if !returned.counted {
                    returned.counted = true;
                    self.rtt.sample(trip.min(self.rtt.smoothed * RETURNED_TRIPS_MAX), now);
                }
            }
            _ => self.rtt.sample(trip, now),
        }
    }

    /// The number of the ping to send now, if one is due.
    pub fn poll_ping(&mut self, now: Time) -> Option<u64> {
        (self.ping_at(now)? <= now).then(|| self.ping(now))
    }

    /// A ping whether one is due or not: the one that goes along with a hedge.
    pub fn ping(&mut self, now: Time) -> u64 {
        let n = self.next;
        self.next += 1;
        self.pings.insert(n, now);
        if self.pings.len() > PINGS_MAX {
            // The oldest tells since when we wait, so the second oldest goes.
            if let Some(second) = self.pings.keys().nth(1).copied() {
                self.pings.remove(&second);
            }
        }
        self.pinged = Some(now);
        self.uncovered = None;
        n
    }

    /// Forgives silence for as long as the host itself was late (a busy machine, a suspended
    /// one): what we did not read was not unsaid.
    pub fn forgive(&mut self, late: Duration) {
        self.heard += late;
        for sent in self.pings.values_mut() {
            *sent += late;
        }
        self.uncovered = self.uncovered.map(|sent| sent + late);
    }

    /// What the silence so far says.
    #[must_use]
    pub fn pulse(&self, now: Time) -> Pulse {
        let Some([suspect, silent, dead]) = self.steps() else { return Pulse::Well };
        if now >= dead {
            Pulse::Dead
        } else if now >= silent {
            Pulse::Silent
        } else if now >= suspect {
            Pulse::Suspect
        } else {
            Pulse::Well
        }
    }

    /// Age of an unanswered ping after which what was sent is sent on another path too.
    #[must_use]
    pub fn hedge_after(&self) -> Duration {
        let after = self.rtt.smoothed * 5 / 4 + Duration::from_millis(HEDGE_FLOOR_MS);
        match self.transport {
            Transport::Quic => after,
            // Frames queue behind each other in one TCP stream, which shows as variation.
            Transport::Tcp => after.max(self.rtt.smoothed + self.rtt.variation * 4),
        }
    }

    /// Smoothed round trip; the guess from the handshake until [`Self::measured`].
    #[must_use]
    pub fn srtt(&self) -> Duration {
        self.rtt.smoothed
    }

    /// Variation of the round trip.
    #[must_use]
    pub fn rttvar(&self) -> Duration {
        self.rtt.variation
    }

    /// The least round trip lately: what tells one path from another, as loss and queues only add.
    #[must_use]
    pub fn least_rtt(&self) -> Duration {
        self.rtt.least.into_iter().flatten().min().unwrap_or(self.rtt.smoothed)
    }

    /// Whether a pong has ever come.
    #[must_use]
    pub fn measured(&self) -> bool {
        self.rtt.samples > 0
    }

    /// When anything last arrived.
    #[must_use]
    pub fn last_heard(&self) -> Time {
        self.heard
    }

    /// The next moment at which [`Self::pulse`] worsens or a ping is due, if nothing happens.
    /// It may lie in the past only while a ping is due and was not taken.
    #[must_use]
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let worse = self.steps().and_then(|steps| steps.into_iter().find(|at| *at > now));
        [worse, self.ping_at(now)].into_iter().flatten().min()
    }

    /// Since when an answer is owed.
    fn asked(&self) -> Option<Time> {
        self.pings.values().next().copied().or(self.uncovered)
    }

    /// When the pulse becomes suspect, silent and dead, if nothing is heard; none while nothing
    /// is owed.
    ///
    /// What is heard proves the path as it was half a round trip ago, so it does not excuse a
    /// ping that is late already: then half a round trip and the floor of silence are enough.
    /// And a path that fails only on the way there still lets the peer be heard: an unanswered
    /// ping counts by itself from the age at which a silent path would lose its role.
    fn steps(&self) -> Option<[Time; 3]> {
        let asked = self.asked()?;
        let quiet = asked.max(self.heard);
        let deaf = asked + self.deaf_after();
        let quiet_after = self.rtt.smoothed / 2 + Duration::from_millis(HEDGE_FLOOR_MS);
        let late = (asked + self.hedge_after()).max(quiet + quiet_after);
        Some([
            late.min(deaf + self.hedge_after()),
            quiet.min(deaf) + self.silent_after(),
            quiet.min(deaf) + self.dead_after(),
        ])
    }

    fn silent_after(&self) -> Duration {
        self.rtt.smoothed * 3 + Duration::from_millis(DEMOTE_SILENCE_MS).max(self.rtt.variation * 4)
    }

    fn dead_after(&self) -> Duration {
        self.silent_after() + Duration::from_millis(DEAD_SILENCE_MS)
    }

    fn deaf_after(&self) -> Duration {
        match self.transport {
            Transport::Quic => self.silent_after(),
            Transport::Tcp => self.silent_after().max(Duration::from_millis(TCP_DEAF_MS)),
        }
    }

    /// When the next ping is due; none on a dead session.
    fn ping_at(&self, now: Time) -> Option<Time> {
        let pulse = self.pulse(now);
        if pulse == Pulse::Dead {
            return None;
        }
        let Some(pinged) = self.pinged else { return Some(self.heard.min(now)) };
        let idle = self.heard.max(pinged) + self.idle;
        let along = self.uncovered.map(|sent| {
            sent.max(pinged + Duration::from_millis(PING_GAP_MS_MIN).max(self.rtt.smoothed / 4))
        });
        let probe = (pulse >= Pulse::Suspect)
            .then(|| pinged + Duration::from_millis(PROBE_MS_MIN).max(self.rtt.smoothed));
        [Some(idle), along, probe].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(5);

    fn ms(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    /// A session with a measured round trip of 40 ms.
    fn measured() -> Liveness {
        let mut path = Liveness::new(Transport::Quic, Duration::from_millis(90), IDLE, ms(0));
        let n = path.poll_ping(ms(0)).unwrap();
        path.pong(n, ms(40));
        assert_eq!(path.srtt(), Duration::from_millis(40));
        path
    }

    #[test]
    fn the_round_trip_is_smoothed_as_in_rfc_6298() {
        let mut path = measured();
        assert_eq!(path.rttvar(), Duration::from_millis(20));
        let n = path.ping(ms(1_000));
        path.pong(n, ms(1_120));
        assert_eq!(path.srtt(), Duration::from_millis(50));
        assert_eq!(path.rttvar(), Duration::from_millis(35));
    }

    #[test]
    fn what_comes_back_after_a_silence_does_not_measure_the_path() {
        let mut path = measured();
        let silence = |path: &mut Liveness, from: u64| {
            let pings: Vec<u64> =
                (from..from + 2_000).step_by(100).map(|now| path.ping(ms(now))).collect();
            assert!(path.pulse(ms(from + 2_000)) >= Pulse::Suspect);
            for n in pings {
                path.pong(n, ms(from + 2_000));
            }
            assert_eq!(path.pulse(ms(from + 2_000)), Pulse::Well);
        };
        silence(&mut path, 1_000);
        assert_eq!(path.srtt(), Duration::from_millis(55));
        silence(&mut path, 4_000);
        assert!(path.hedge_after() < Duration::from_millis(160), "{:?}", path.hedge_after());
        let n = path.ping(ms(7_000));
        path.pong(n, ms(7_040));
        assert!(path.srtt() < Duration::from_millis(75), "what is sent afterwards counts as ever");
    }

    #[test]
    fn a_path_that_became_longer_is_learnt() {
        for every in [10, 400, 5_000] {
            let mut path = measured();
            let (mut now, mut asked) = (1_000, 1_000);
            let mut answers: BTreeMap<u64, u64> = BTreeMap::new();
            while now < 120_000 && path.hedge_after() < Duration::from_millis(300) {
                if now >= asked {
                    path.sent(ms(now));
                    asked = now + every;
                }
                while let Some(n) = path.poll_ping(ms(now)) {
                    answers.insert(now + 300, n);
                }
                if let Some(n) = answers.remove(&now) {
                    path.pong(n, ms(now));
                }
                now += 1;
            }
            println!("every {every} ms: learnt after {} ms", now - 1_000);
            assert!(now < 30_000, "every {every} ms: {:?}", path.srtt());
        }
    }

    #[test]
    fn an_idle_session_is_pinged_and_owes_nothing_before() {
        let mut path = measured();
        assert_eq!(path.pulse(ms(5_000)), Pulse::Well);
        assert_eq!(path.deadline(ms(50)), Some(ms(5_040)));
        assert_eq!(path.poll_ping(ms(5_039)), None);
        assert!(path.poll_ping(ms(5_040)).is_some());
        assert_eq!(path.pulse(ms(5_150)), Pulse::Suspect);
    }

    #[test]
    fn silence_worsens_step_by_step_and_each_step_is_a_deadline() {
        let mut path = measured();
        path.sent(ms(1_000));
        let mut now = ms(1_000);
        let mut seen = vec![];
        for _ in 0..200 {
            while path.poll_ping(now).is_some() {}
            if seen.last().is_none_or(|(_, pulse)| *pulse != path.pulse(now)) {
                seen.push((now, path.pulse(now)));
            }
            let Some(next) = path.deadline(now) else { break };
            assert!(next > now, "{next:?} is not after {now:?}");
            now = next;
        }
        assert_eq!(
            seen,
            [
                (ms(1_000), Pulse::Well),
                (ms(1_110), Pulse::Suspect),
                (ms(2_620), Pulse::Silent),
                (ms(12_620), Pulse::Dead)
            ]
        );
        assert_eq!(path.deadline(now), None, "nothing is left to wait for");
    }

    #[test]
    fn a_thousand_writes_a_second_cost_at_most_a_hundred_pings() {
        let mut path = measured();
        let mut pings = 0;
        for now in 1_000..2_000 {
            path.sent(ms(now));
            while let Some(n) = path.poll_ping(ms(now)) {
                pings += 1;
                path.pong(n, ms(now));
            }
        }
        assert!((50..=101).contains(&pings), "{pings}");
    }

    #[test]
    fn a_peer_that_talks_and_never_answers_is_suspect_too() {
        let mut path = measured();
        path.sent(ms(1_000));
        let mut suspect = None;
        for now in (1_000..8_000).step_by(20) {
            while path.poll_ping(ms(now)).is_some() {}
            path.heard(ms(now));
            if path.pulse(ms(now)) >= Pulse::Suspect {
                suspect.get_or_insert(now);
            }
        }
        let suspect = suspect.unwrap();
        assert!((2_600..2_900).contains(&suspect), "{suspect}");
        assert_eq!(path.pulse(ms(8_000)), Pulse::Silent);
        let last = path.ping(ms(8_000));
        path.pong(last, ms(8_040));
        assert_eq!(path.pulse(ms(8_040)), Pulse::Well);
    }

    #[test]
    fn a_suspended_host_blames_itself() {
        let mut path = measured();
        path.sent(ms(1_000));
        path.ping(ms(1_000));
        // The deadline was 1.110; the host comes an hour later.
        path.forgive(Duration::from_secs(3_600));
        let now = ms(1_110) + Duration::from_secs(3_600);
        assert_eq!(path.pulse(now), Pulse::Suspect);
        path.heard(now);
        assert_eq!(path.pulse(now), Pulse::Well);
    }

    #[test]
    fn an_invented_pong_gives_no_round_trip() {
        let mut path = measured();
        path.ping(ms(1_000));
        path.pong(999, ms(1_001));
        path.pong(u64::MAX, ms(1_001));
        assert_eq!(path.srtt(), Duration::from_millis(40));
        assert_eq!(path.pings.len(), 1);
    }

    #[test]
    fn memory_is_bounded_however_long_the_silence() {
        let mut path = measured();
        for now in 0..1_000 {
            path.ping(ms(1_000 + now));
        }
        assert_eq!(path.pings.len(), PINGS_MAX);
        assert_eq!(path.asked(), Some(ms(1_000)));
    }
}
