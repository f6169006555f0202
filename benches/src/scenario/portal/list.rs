//! `portal-list`: a page of the list of received invoices, as its owner asks for it: the first,
//! by words, by words that nothing has, by period, by party, the last, and every one in between.

use std::time::{Duration, Instant};

use benches::{
    end::AnyError,
    figures::{Figures, print, quantile},
    guest::Guest,
    welcome,
};
use tokio::{task::JoinSet, time::sleep};

use super::{House, OWNER, PATIENCE, PortalOptions};

const LIST: &str = "/fatture/ricevute";
/// Questions of one client, of each kind.
const TIMES: usize = 200;
/// Invoices of one page.
const PAGE: u64 = 50;

/// Measures `options.runs` times, on one filling.
pub fn run(options: &PortalOptions) -> Result<(), AnyError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &PortalOptions) -> Result<(), AnyError> {
    let mut house = House::open(options.documents, options.dir.as_deref()).await?;
    let mut office = house.office().await?;
    let mut owner = house.owner(&mut office).await?;
    let begun = Instant::now();
    eprintln!("its lists are filled");
    // Every page from the first to the last, once all of them are there.
    let (mut walk, last) = loop {
        let (walk, last) = every_page(&mut owner).await?;
        if walk.len() as u64 >= options.documents.div_ceil(PAGE) {
            break (walk, last);
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("there are only {} pages", walk.len()).into());
        }
        sleep(Duration::from_secs(1)).await;
    };
    let pages = walk.len() as u64;
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(&mut walk, share));
    let whole = Figures::of("portal-list").label("clients", "1").label("question", "every page");
    let whole = whole.with("documents", options.documents).with("pages", pages);
    println!("{}", whole.with("p50_ms", p50).with("p99_ms", p99).to_json("0"));
    let questions = [
        ("first", LIST.to_owned()),
        ("words", format!("{LIST}?cerca=ferramenta+{{n}}")),
        ("words of none", format!("{LIST}?cerca=nessuna-{{n}}")),
        ("period", format!("{LIST}?dal=2025-{{month}}-01&al=2025-{{month}}-28")),
        ("party", format!("{LIST}?parte=s.r.l.&dal=2025-{{month}}-01")),
        ("last", last),
    ];
    for clients in [1, options.clients] {
        let mut guests = Vec::new();
        for _ in 0..clients {
            let mut guest = house.guest(&house.owner)?;
            welcome::log_in(&mut guest, OWNER.user, OWNER.password).await?;
            guests.push(guest);
        }
        for (name, path) in &questions {
            let mut runs = Vec::new();
            for run in 0..options.runs {
                let figures = Figures::of("portal-list")
                    .label("clients", clients)
                    .label("question", name)
                    .with("documents", options.documents);
                let (asked, figures) = ask(guests, path, figures).await?;
                guests = asked;
                println!("{}", figures.to_json(&run.to_string()));
                runs.push(figures);
            }
            print(&runs);
        }
    }
    Ok(())
}

/// How long each page took in milliseconds, and where the last is.
async fn every_page(owner: &mut Guest) -> Result<(Vec<f64>, String), AnyError> {
    let (mut path, mut samples) = (LIST.to_owned(), Vec::new());
    loop {
        let asked = Instant::now();
        let page = owner.get(&path).await?;
        samples.push(asked.elapsed().as_secs_f64() * 1e3);
        let next = page.text.split("rel=\"next\" href=\"").nth(1);
        match next.and_then(|rest| rest.split('"').next()) {
            Some(next) => path = next.replace("&amp;", "&"),
            None => return Ok((samples, path)),
        }
    }
}

/// Has each guest ask, and adds p50 and p99 of all answers.
async fn ask(
    guests: Vec<Guest>,
    path: &str,
    figures: Figures,
) -> Result<(Vec<Guest>, Figures), AnyError> {
    let times = if guests.len() > 1 { TIMES / 5 } else { TIMES };
    let mut asking = JoinSet::new();
    for (n, mut guest) in guests.into_iter().enumerate() {
        let path = path.to_owned();
        asking.spawn(async move {
            let mut samples = Vec::with_capacity(times);
            let mut bytes = 0;
            for at in n * 31..n * 31 + times {
                let month = format!("{:02}", 1 + at % 9);
                let path = path.replace("{n}", &at.to_string()).replace("{month}", &month);
                let asked = Instant::now();
                let page = guest.get(&path).await?;
                samples.push(asked.elapsed().as_secs_f64() * 1e3);
                if page.status != 200 {
                    return Err(format!("{path}: {} {}", page.status, page.text).into());
                }
                bytes = page.text.len().max(bytes);
            }
            Ok::<_, AnyError>((guest, samples, bytes as u64))
        });
    }
    let (mut guests, mut samples, mut most) = (Vec::new(), Vec::new(), 0);
    while let Some(one) = asking.join_next().await {
        let (guest, some, bytes) = one??;
        guests.push(guest);
        samples.extend(some);
        most = most.max(bytes);
    }
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(&mut samples, share));
    let figures = figures.with("p50_ms", p50).with("p99_ms", p99).with("page_bytes", most);
    Ok((guests, figures))
}
