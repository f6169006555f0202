//! `erp-sql`: the questions in SQL, to the node and to PostgreSQL.

use std::time::Instant;

use benches::{
    end::{AnyError, What},
    figures::{Figures, quantile},
};

use super::{
    ErpOptions, Ledger,
    ask::{self, Door, QUESTIONS},
    client::Client,
    postgres::Cluster,
    print_medians, until,
};

/// Measures `options.runs` times, on one filling.
pub fn run(options: &ErpOptions) -> Result<(), AnyError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &ErpOptions) -> Result<(), AnyError> {
    let mut ledger = Ledger::open(options)?;
    let begun = Instant::now();
    filled(&ledger, options.documents).await?;
    let filled_s = begun.elapsed().as_secs_f64();
    let figures = Figures::of("erp-sql")
        .label("phase", "first filling")
        .with("documents", options.documents)
        .with("filled_s", filled_s)
        .with("documents_a_second", options.documents as f64 / filled_s)
        .with("peak_bytes", ledger.memory("VmHWM:")?);
    println!("{}", figures.to_json("0"));
    let cluster = Cluster::start().await?;
    eprintln!("{} takes the same rows", cluster.version);
    cluster.fill(ledger.sql).await?;
    // The node as it is when it is started in the morning.
    ledger.stop()?;
    ledger.start()?;
    filled(&ledger, options.documents).await?;
    eprintln!("measuring");
    let ours = Door::open(ledger.sql).await?;
    let theirs = Door { address: cluster.address, ..ours.clone() };
    let mut runs = Vec::new();
    for run in 0..options.runs {
        for clients in [1, options.clients] {
            ledger.forget_peak()?;
            for (system, door) in [("staffetta", &ours), (&*cluster.version, &theirs)] {
                let mut figures = Figures::of("erp-sql")
                    .label("system", system)
                    .label("phase", "calm")
                    .label("clients", clients)
                    .with("documents", options.documents);
                for question in QUESTIONS {
                    figures = door.ask(question, clients, figures).await?;
                }
                if system == "staffetta" {
                    figures = figures
                        .with("rss_bytes", ledger.memory("VmRSS:")?)
                        .with("peak_bytes", ledger.memory("VmHWM:")?);
                }
                println!("{}", figures.to_json(&run.to_string()));
                runs.push(figures);
            }
        }
    }
    drop(cluster);
    let calm: Vec<_> = runs.iter().filter(|run| run.is_like(&runs[0])).cloned().collect();
    let calm = Figures::median(&calm);
    let busy = coming(&mut ledger, options).await?;
    let ratio = beside(&busy, &calm, "cold sync beside calm");
    ledger.portal().kill()?;
    let figures = Figures::of("erp-sql").label("phase", "no portal").label("clients", 1);
    let mut figures = figures.with("documents", options.documents + options.coming);
    for question in &QUESTIONS[..4] {
        figures = ours.ask(*question, 1, figures).await?;
    }
    println!("{}", figures.to_json("0"));
    let alone = beside(&figures, &calm, "no portal beside calm");
    runs.extend([busy, figures, ratio, alone]);
    print_medians(&runs);
    Ok(())
}

/// How many times as long each question took as in `calm`.
fn beside(figures: &Figures, calm: &Figures, phase: &str) -> Figures {
    let mut ratio = Figures::of("erp-sql").label("phase", phase).label("clients", 1);
    for question in &QUESTIONS[..4] {
        for share in ["p50", "p99"] {
            let name = format!("{}_{share}", question.name);
            let of = |figures: &Figures| figures.get(&format!("{name}_ms")).unwrap_or(f64::NAN);
            ratio = ratio.with(format!("{name}_ratio"), of(figures) / of(calm));
        }
    }
    ratio
}

/// Asks while the node takes in all that its portal wrote while it was away.
async fn coming(ledger: &mut Ledger, options: &ErpOptions) -> Result<Figures, AnyError> {
    ledger.stop()?;
    let (first, coming) = (options.documents, options.coming);
    ledger.portal().write(What::Received, first, coming)?;
    ledger.start()?;
    until(async || Ok(Client::connect(ledger.sql).await.is_ok())).await?;
    let door = Door::open(ledger.sql).await?;
    let mut client = Client::connect(ledger.sql).await?;
    let mut prepared = Vec::new();
    for question in &QUESTIONS[..4] {
        prepared.push(ask::prepare(&mut client, *question, 0).await?);
    }
    ledger.forget_peak()?;
    let begun = Instant::now();
    let mut samples = [const { Vec::new() }; 4];
    loop {
        for ((samples, question), names) in samples.iter_mut().zip(QUESTIONS).zip(&prepared) {
            let times = (question.times / 2000).max(1);
            let about = (samples.len(), times);
            samples.extend(door.client(&mut client, question, names, about).await?);
        }
        if shows(&mut client, first + coming).await? {
            break;
        }
    }
    let mut figures = Figures::of("erp-sql")
        .label("phase", "cold sync")
        .label("clients", 1)
        .with("documents", first + coming)
        .with("coming_s", begun.elapsed().as_secs_f64())
        .with("peak_bytes", ledger.memory("VmHWM:")?);
    for (samples, question) in samples.iter_mut().zip(QUESTIONS) {
        let [p50, p99] = [0.5, 0.99].map(|share| quantile(samples, share));
        let name = question.name;
        figures = figures
            .with(format!("{name}_p50_ms"), p50)
            .with(format!("{name}_p99_ms"), p99)
            .with(format!("{name}_asked"), samples.len() as u64);
    }
    println!("{}", figures.to_json("0"));
    Ok(figures)
}

/// Waits until the tables show so many invoices.
async fn filled(ledger: &Ledger, documents: u64) -> Result<(), AnyError> {
    until(async || shows(&mut Client::connect(ledger.sql).await?, documents).await).await
}

/// Whether the tables show so many invoices, and all that is stored.
async fn shows(client: &mut Client, documents: u64) -> Result<bool, AnyError> {
    let sql = format!("SELECT documents >= {documents} AND behind = 0 FROM sync_status");
    Ok(client.texts(&sql).await? == [["t"]])
}
