//! What one seed decides before anything runs: who there is, what ails them, and when.
//!
//! Chaos, then calm: every fault ends before the calm begins, so that whatever is still wrong
//! at its end is wrong for good. Which kinds of fault occur at all differs from seed to seed
//! (swarm testing, Groce et al. 2012): with every kind at once, most of them would hide the rest.

use std::{fmt, time::Duration};

use engine::{store::Table, time::Time};

use crate::dice::Dice;

/// Portals come first: host 0 and host 1.
pub const PORTALS: usize = 2;
/// The imp's key; other hosts take the others.
pub const IMP_KEY: usize = 11;
/// Tenants there can be.
pub const VATS: [&str; 3] = ["02038490237", "12345678903", "00743110157"];

/// One peer.
#[derive(Clone, Debug)]
pub struct HostPlan {
    pub key: usize,
    /// A node's tenant, as an index of [`VATS`].
    pub tenant: Option<usize>,
    /// A node that connects now and then; `None` is always connected.
    pub period: Option<Duration>,
    /// Upwards and downwards, per line.
    pub kbps: [(u64, u64); 2],
    /// Where only TCP passes.
    pub udp_blocked: [bool; 2],
    /// One way, to a portal.
    pub way: Duration,
    pub admit_at: Time,
}

/// What the network does, from a moment to a moment.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub from: Time,
    pub to: Time,
    pub what: Sky,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sky {
    /// A host's line carries nothing.
    LineDown { host: usize, line: u8 },
    /// A portal's address carries nothing.
    AddressDown { portal: usize, address: u8 },
    /// Nothing passes from one host to another.
    OneWay { from: usize, to: usize },
    /// Every packet may be lost.
    Lossy { permille: u64 },
    /// A line is this many times slower.
    Slow { host: usize, line: u8, times: u64 },
}

/// What happens to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Killed, with or without its power, and started again.
    Crash {
        host: usize,
        power: bool,
        down: Duration,
    },
    /// The whole process stands still.
    Freeze {
        host: usize,
        span: Duration,
    },
    /// Its loop stands still while its disk works on.
    Lag {
        host: usize,
        span: Duration,
    },
    Full {
        host: usize,
        span: Duration,
    },
    BarrierFails {
        host: usize,
        span: Duration,
        takes_back: bool,
    },
    SlowDisk {
        host: usize,
        span: Duration,
    },
    /// One bit of one row.
    Damage {
        host: usize,
        table: Table,
    },
    /// The disk is copied.
    Backup {
        host: usize,
        slot: usize,
    },
    /// The disk becomes what was copied, or new if nothing was.
    Restore {
        host: usize,
        slot: usize,
        down: Duration,
    },
    /// A portal ends a node's grant.
    Revoke {
        portal: usize,
        node: usize,
    },
    /// Somebody with a grant tries something.
    Imp {
        portal: usize,
        trick: usize,
    },
}

/// See the module's header.
#[derive(Clone)]
pub struct Plan {
    pub seed: u64,
    pub end: Time,
    /// Calm begins and ends.
    pub calms: Vec<(Time, Time)>,
    pub hosts: Vec<HostPlan>,
    /// Tenant of the imp, if there is one.
    pub imp: Option<usize>,
    pub jitter: Duration,
    /// Mean pause between two writes of one host.
    pub pause: Duration,
    /// In a thousand writes: many at once, and files larger than a run takes.
    pub bursts: u64,
    pub large: u64,
    pub weather: Vec<Weather>,
    pub faults: Vec<(Time, Fault)>,
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

impl Plan {
    /// The plan of `seed` for this many simulated hours.
    pub fn new(seed: u64, hours: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let end = Time::ZERO + minutes(60 * hours);
        let cycles = if hours >= 12 { 2 } else { 1 };
        let calm = minutes(45);
        let calms = (1..=cycles)
            .map(|n| Time::ZERO + minutes(60 * hours * n / cycles))
            .map(|to| (to - calm, to))
            .collect();
        let mut plan = Self {
            seed,
            end,
            calms,
            hosts: hosts(&mut dice),
            imp: dice.permille(300).then_some(0),
            jitter: Duration::from_millis(dice.pick(&[1, 5, 40])),
            pause: minutes(dice.within(20..=60)),
            bursts: dice.pick(&[0, 20, 100]),
            large: dice.pick(&[0, 30, 150]),
            weather: Vec::new(),
            faults: Vec::new(),
        };
        for cycle in 0..cycles as usize {
            plan.disturb(&mut dice, cycle);
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    fn disturb(&mut self, dice: &mut Dice, cycle: usize) {
        let from = if cycle == 0 { Time::ZERO } else { self.calms[cycle - 1].1 };
        let to = self.calms[cycle].0;
        let chaos = to - from;
        let hosts = self.hosts.len();
        let when = |dice: &mut Dice| from + dice.ms(0..=chaos.as_millis() as u64 - 1);
        // A fault's span, which ends before the calm begins.
        let span = |dice: &mut Dice, at: Time, min: u64, max: u64| {
            // Short spans are as likely as long ones.
            let max = if dice.permille(500) { min + (max - min) / 20 } else { max };
            dice.ms(min..=max).min(to - at)
        };
        let often =
            |dice: &mut Dice, max| if dice.permille(500) { dice.within(1..=max) } else { 0 };
        for _ in 0..often(dice, 8) {
            let (at, host) = (when(dice), dice.index(hosts));
            let down = span(dice, at, 500, 3_600_000);
            let power = dice.permille(600);
            self.faults.push((at, Fault::Crash { host, power, down }));
        }
        for _ in 0..often(dice, 6) {
            let (at, host) = (when(dice), dice.index(hosts));
            let span = span(dice, at, 200, 120_000);
            let lag = dice.permille(500);
            let fault = if lag { Fault::Lag { host, span } } else { Fault::Freeze { host, span } };
            self.faults.push((at, fault));
        }
        for _ in 0..often(dice, 4) {
            let (at, host) = (when(dice), dice.index(hosts));
            let span = span(dice, at, 1_000, 3_600_000);
            let fault = match dice.below(4) {
                0 => Fault::SlowDisk { host, span },
                1 | 2 => Fault::Full { host, span },
                _ => Fault::BarrierFails { host, span, takes_back: dice.permille(500) },
            };
            self.faults.push((at, fault));
        }
        for _ in 0..often(dice, 6) {
            let (at, host) = (when(dice), dice.index(hosts));
            self.faults.push((at, Fault::Damage { host, table: Table::Bundles }));
        }
        if dice.permille(350) {
            self.restores(dice, (from, to));
        }
        if self.hosts.len() > PORTALS + 1 && dice.permille(250) {
            let (at, node) = (when(dice), PORTALS + dice.index(hosts - PORTALS));
            self.faults.push((at, Fault::Revoke { portal: dice.index(PORTALS), node }));
            if dice.permille(300) {
                let at = (at + dice.ms(0..=60_000)).min(to);
                self.faults.push((at, Fault::Revoke { portal: dice.index(PORTALS), node }));
            }
        }
        if self.imp.is_some() {
            for _ in 0..dice.within(1..=12) {
                let (at, portal) = (when(dice), dice.index(PORTALS));
                self.faults.push((at, Fault::Imp { portal, trick: dice.index(usize::MAX) }));
            }
        }
        for _ in 0..often(dice, 10) {
            let at = when(dice);
            let span = span(dice, at, 2_000, 3 * 3_600_000);
            self.cloud(dice, at, at + span);
        }
    }

    /// A portal or a node goes back to an earlier state; now and then both portals at once.
    fn restores(&mut self, dice: &mut Dice, (from, to): (Time, Time)) {
        let at = from + dice.ms(60_000..=(to - from).as_millis() as u64 - 1);
        let hosts = match dice.below(4) {
            0 => vec![0, 1],
            1 => vec![PORTALS + dice.index(self.hosts.len() - PORTALS)],
            _ => vec![dice.index(PORTALS)],
        };
        for host in hosts {
            let slot = self.faults.len();
            // One in five is a lost disk: nothing was ever copied.
            if !dice.permille(200) {
                let age = dice.ms(1_000..=at.as_millis().max(2_000));
                self.faults.push((at - age, Fault::Backup { host, slot }));
            }
            let down = dice.ms(500..=600_000).min(to - at);
            self.faults.push((at, Fault::Restore { host, slot, down }));
        }
    }

    fn cloud(&mut self, dice: &mut Dice, from: Time, to: Time) {
        let host = dice.index(self.hosts.len());
        let line = dice.index(2) as u8;
        let (portal, address) = (dice.index(PORTALS), dice.index(2) as u8);
        let what = match dice.below(8) {
            0 => Sky::LineDown { host, line },
            1 => Sky::AddressDown { portal, address },
            2 => Sky::OneWay { from: host, to: portal },
            3 => Sky::OneWay { from: portal, to: host },
            4 => Sky::Lossy { permille: dice.pick(&[10, 50, 200]) },
            5 => Sky::Slow { host, line, times: dice.pick(&[4, 40]) },
            6 => {
                // The portals lose each other.
                self.weather.push(Weather { from, to, what: Sky::OneWay { from: 0, to: 1 } });
                Sky::OneWay { from: 1, to: 0 }
            }
            _ => {
                // A line that flaps: it works for some seconds and then does not.
                let mut at = from;
                while at < to && self.weather.len() < 200 {
                    let off = (at + dice.ms(500..=30_000)).min(to);
                    let what = Sky::LineDown { host, line };
                    self.weather.push(Weather { from: at, to: off, what });
                    at = off + dice.ms(500..=60_000);
                }
                return;
            }
        };
        self.weather.push(Weather { from, to, what });
    }
}

fn hosts(dice: &mut Dice) -> Vec<HostPlan> {
    let first = dice.index(IMP_KEY);
    let mut hosts = Vec::new();
    let mut add = |dice: &mut Dice, tenant: Option<usize>| {
        // Half of all nodes are always connected; what they cost is mostly pings.
        let periodic = tenant.is_some() && dice.permille(550);
        let adsl = (dice.pick(&[256, 1_000]), 8_000);
        let late = if dice.permille(700) { 60_000 } else { 7_200_000 };
        let kbps = if tenant.is_some() { [adsl, (600, 6_000)] } else { [(20_000, 20_000); 2] };
        hosts.push(HostPlan {
            key: (first + hosts.len()) % IMP_KEY,
            tenant,
            period: periodic.then(|| dice.pick(&[minutes(5), minutes(10)])),
            kbps,
            udp_blocked: [0, 1].map(|_| tenant.is_some() && dice.permille(100)),
            way: Duration::from_millis(dice.pick(&[2, 20, 20, 150])),
            admit_at: Time::ZERO + dice.ms(0..=late),
        });
    };
    for _ in 0..PORTALS {
        add(dice, None);
    }
    for tenant in 0..dice.within(1..=VATS.len() as u64) as usize {
        for _ in 0..dice.within(1..=2) {
            add(dice, Some(tenant));
        }
    }
    hosts
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "hosts:")?;
        for (n, host) in self.hosts.iter().enumerate() {
            writeln!(f, "  {n}: {host:?}")?;
        }
        writeln!(f, "imp: {:?}, calms: {:?}", self.imp, self.calms)?;
        writeln!(f, "weather:")?;
        for Weather { from, to, what } in &self.weather {
            writeln!(f, "  {from:?} .. {to:?} {what:?}")?;
        }
        writeln!(f, "faults:")?;
        self.faults.iter().try_for_each(|(at, fault)| writeln!(f, "  {at:?} {fault:?}"))
    }
}
