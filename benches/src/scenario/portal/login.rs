//! `portal-login`: how long somebody waits who logs in while others guess passwords as fast as they
//! are let. Each guesser comes from addresses of its own with certificates that may come in, turns
//! to another of both when it is told to wait, and opens a connection for each guess: what costs
//! the portal most. Then all of them were told to wait, and go on.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use benches::{
    end::AnyError,
    figures::{Figures, print, quantile},
    guest::Guest,
    welcome,
};
use tokio::{task::JoinSet, time::sleep};

use super::{House, OWNER, PortalOptions, TENANT, issue};

/// Certificates of one guesser: each may be wrong some fifteen times before it must wait.
const CERTIFICATES: usize = 8;
/// Log-ins measured in each phase.
const TIMES: usize = 40;

/// Measures `options.runs` times, each with a portal of its own, whose memory of guessers is empty.
pub fn run(options: &PortalOptions) -> Result<(), AnyError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut phases = [Vec::new(), Vec::new(), Vec::new()];
    for run in 0..options.runs {
        let measured = runtime.block_on(measure(options))?;
        for (phase, figures) in phases.iter_mut().zip(measured) {
            println!("{}", figures.to_json(&run.to_string()));
            phase.push(figures);
        }
    }
    phases.iter().for_each(|phase| print(phase));
    Ok(())
}

async fn measure(options: &PortalOptions) -> Result<[Figures; 3], AnyError> {
    let mut house = House::open(10, options.dir.as_deref()).await?;
    let mut office = house.office().await?;
    house.owner(&mut office).await?;
    let mut crowd = Vec::new();
    for n in 0..options.clients {
        let mut guesser = Vec::new();
        for m in 0..CERTIFICATES {
            let papers = issue(&mut house.authority, TENANT)?;
            welcome::bind(&mut office, TENANT, &papers.cert).await?;
            let (n, m) = (u8::try_from(n % 250)?, u8::try_from(m + 1)?);
            let from = IpAddr::V4(Ipv4Addr::new(127, 1, n, m));
            guesser.push(house.guest(&papers)?.coming_from(from));
        }
        crowd.push(guesser);
    }
    let calm = log_ins(&house, "nobody guesses", None).await?;
    let counts = Arc::new(Counts::default());
    let mut guessing = JoinSet::new();
    for guesser in crowd {
        guessing.spawn(guess(guesser, Arc::clone(&counts)));
    }
    let hot = log_ins(&house, "guesses are compared", Some(&counts)).await?;
    // Until every guesser has been told to wait, whoever it says it is.
    while counts.busy.load(Ordering::Relaxed) < options.clients as u64 {
        sleep(Duration::from_millis(50)).await;
    }
    let told = log_ins(&house, "guessers are told to wait", Some(&counts)).await?;
    counts.over.store(true, Ordering::Relaxed);
    while let Some(one) = guessing.join_next().await {
        one??;
    }
    Ok([calm, hot, told])
}

/// What the guessers did.
#[derive(Default)]
struct Counts {
    compared: AtomicU64,
    told_to_wait: AtomicU64,
    /// Guessers who have nobody left to be.
    busy: AtomicU64,
    over: AtomicBool,
}

impl Counts {
    fn read(&self) -> [u64; 2] {
        [&self.compared, &self.told_to_wait].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Guesses until it is over.
async fn guess(mut guests: Vec<Guest>, counts: Arc<Counts>) -> Result<(), AnyError> {
    let (mut who, mut n) = (0, 0);
    let mut counted = false;
    while !counts.over.load(Ordering::Relaxed) {
        n += 1;
        let at = who % guests.len();
        let guest = &mut guests[at];
        guest.hang_up();
        let password = format!("a guess, number {n}");
        // Nobody of that name: it takes as long, and locks nobody out.
        let fields = [("utente", "nobody"), ("password", password.as_str())];
        let page = guest.submit("/entra", "/entra", &fields).await?;
        match page.status {
            401 => drop(counts.compared.fetch_add(1, Ordering::Relaxed)),
            429 => {
                counts.told_to_wait.fetch_add(1, Ordering::Relaxed);
                who += 1;
                if who >= guests.len() && !counted {
                    counts.busy.fetch_add(1, Ordering::Relaxed);
                    counted = true;
                }
            }
            status => return Err(format!("a guess: {status} {}", page.text).into()),
        }
    }
    Ok(())
}

/// How long the owner takes to log in, again and again: connection, form, password.
async fn log_ins(house: &House, phase: &str, counts: Option<&Counts>) -> Result<Figures, AnyError> {
    let before = counts.map_or([0; 2], Counts::read);
    let begun = Instant::now();
    let mut samples = Vec::new();
    for _ in 0..TIMES {
        let mut owner = house.guest(&house.owner)?;
        let asked = Instant::now();
        welcome::log_in(&mut owner, OWNER.user, OWNER.password).await?;
        samples.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = counts.map_or([0; 2], Counts::read);
    let [compared, told] = [0, 1].map(|n| (after[n] - before[n]) as f64 / seconds);
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(&mut samples, share));
    Ok(Figures::of("portal-login")
        .label("phase", phase)
        .with("login_p50_ms", p50)
        .with("login_p99_ms", p99)
        .with("guesses_compared_per_s", compared)
        .with("guesses_told_to_wait_per_s", told))
}
