//! `erp-http`: the questions over HTTP, to the node: one invoice, its original, a page of a
//! month's list, and invoices submitted, each durable on the node before it is answered. Every
//! question is a connection of its own.

use std::time::Instant;

use benches::{
    end::{AnyError, What},
    figures::{Figures, quantile},
    workload::Invoice,
};
use engine::id::VatNumber;
use node::client::{Client, Credentials};
use tokio::task::JoinSet;

use super::{ErpOptions, Ledger, PASSWORD, TENANT, USER, print_medians, until};

/// Questions of one client, of each kind.
const TIMES: usize = 400;

/// Measures `options.runs` times, on one filling.
pub fn run(options: &ErpOptions) -> Result<(), AnyError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &ErpOptions) -> Result<(), AnyError> {
    let mut ledger = Ledger::open(options)?;
    let password = Credentials::Password { user: USER.into(), password: PASSWORD.into() };
    let client = Client::new(&format!("http://{}", ledger.http), password)?;
    until(async || {
        let status = client.sync_status().await?;
        Ok(status.records >= options.documents && status.mirror_behind == 0)
    })
    .await?;
    let ids: Vec<String> = {
        let page = client.list("limit=500").await?;
        page.invoices.into_iter().map(|invoice| invoice.id).collect()
    };
    eprintln!("measuring");
    let (mut runs, mut submitted) = (Vec::new(), 0);
    for run in 0..options.runs {
        for clients in [1, options.clients] {
            ledger.forget_peak()?;
            let figures = ask(&client, &ids, &mut submitted, "calm", clients).await?;
            let figures = figures.with("peak_bytes", ledger.memory("VmHWM:")?);
            println!("{}", figures.to_json(&run.to_string()));
            runs.push(figures);
        }
    }
    ledger.portal().write(What::Received, options.documents, options.coming)?;
    ledger.portal().kill()?;
    let figures = ask(&client, &ids, &mut submitted, "no portal", 1).await?;
    println!("{}", figures.to_json("0"));
    runs.push(figures);
    print_medians(&runs);
    Ok(())
}

async fn ask(
    client: &Client,
    ids: &[String],
    submitted: &mut u64,
    phase: &str,
    clients: usize,
) -> Result<Figures, AnyError> {
    let mut figures = Figures::of("erp-http").label("phase", phase).label("clients", clients);
    let tenant = VatNumber::parse(TENANT)?;
    let kinds =
        [("read", TIMES), ("original", TIMES), ("month_page", TIMES / 4), ("submit", TIMES / 2)];
    for (name, times) in kinds {
        let mut asking = JoinSet::new();
        for n in 0..clients {
            let (client, ids) = (client.clone(), ids.to_vec());
            let times = if clients > 1 { times / 5 } else { times };
            let first = *submitted;
            *submitted += times as u64;
            asking.spawn(async move {
                let mut samples = Vec::with_capacity(times);
                for at in n * 31..n * 31 + times {
                    let id = &ids[at % ids.len()];
                    let month = format!("2025-{:02}", 1 + at % 9);
                    let Invoice { name: file, xml } = match name {
                        "submit" => Invoice::sent(tenant, first + (at - n * 31) as u64),
                        _ => Invoice { name: String::new(), xml: Vec::new() },
                    };
                    let asked = Instant::now();
                    match name {
                        "read" => drop(client.read(id).await?),
                        "original" => drop(client.original(id).await?),
                        "submit" => drop(client.submit(&file, xml, None).await?),
                        _ => {
                            let query = format!("from={month}-01&to={month}-28&limit=100");
                            drop(client.list(&query).await?);
                        }
                    }
                    samples.push(asked.elapsed().as_secs_f64() * 1e3);
                }
                Ok::<_, AnyError>(samples)
            });
        }
        let mut samples = Vec::new();
        while let Some(one) = asking.join_next().await {
            samples.extend(one??);
        }
        let [p50, p99] = [0.5, 0.99].map(|share| quantile(&mut samples, share));
        figures = figures.with(format!("{name}_p50_ms"), p50).with(format!("{name}_p99_ms"), p99);
    }
    Ok(figures)
}
