//! `make demo`: two portals and three nodes as processes, fed and harmed; see `benches::demo`.

use std::{path::Path, process::ExitCode};

use benches::demo::{
    Verdict, acts::Plan, guide, perform, samples::Samples, seen_enough, town::Town,
};
use clap::Parser;

/// Exit codes: 0 nothing is missing, altered or in the wrong tenant; 1 something is; 2 wrong
/// usage; 3 no sample invoices; 4 it could not be played to its end; 130 stopped before the end.
#[derive(Parser)]
#[command(name = "demo", about, long_about = None)]
struct Cli {
    /// Ends after the table instead of staying up.
    #[arg(long)]
    exit: bool,
    /// The same story with shorter outages, for `make test`.
    #[arg(long)]
    short: bool,
    /// Leaves the folder with stores, logs and files when it ends.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let samples = match Samples::load() {
        Ok(samples) => samples,
        Err(error) => return fail(3, &error),
    };
    let folder = match tempfile::Builder::new().prefix("staffetta-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return fail(4, &format!("no temporary folder: {error}")),
    };
    let root = if cli.keep { folder.keep() } else { folder.path().to_owned() };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(4, &error),
    };
    // Everything that was started is stopped here, and the folder goes with this frame.
    runtime.block_on(async {
        let mut town = match Town::found(&root) {
            Ok(town) => town,
            Err(error) => return fail(4, &error),
        };
        let code = play(&cli, &mut town, &root, samples).await;
        println!("Stopping the processes.");
        town.close();
        if cli.keep {
            println!("Everything is left in {}", root.display());
        }
        code
    })
}

async fn play(cli: &Cli, town: &mut Town, root: &Path, samples: Samples) -> ExitCode {
    let plan = if cli.short { Plan::short() } else { Plan::full() };
    let verdict = tokio::select! {
        verdict = perform(town, root, samples, &plan) => verdict,
        () = seen_enough() => {
            println!("Stopped before the end.");
            return ExitCode::from(130);
        }
    };
    match verdict {
        Ok(verdict) => {
            let code = say(&verdict);
            if !cli.exit {
                let programs = std::env::current_exe().unwrap_or_default();
                print!("{}", guide(town, root, programs.parent().unwrap_or(root)));
                println!("Ctrl-C stops everything and removes the folder.");
                seen_enough().await;
            }
            code
        }
        Err(error) => fail(4, &error),
    }
}

fn say(verdict: &Verdict) -> ExitCode {
    print!("{}", verdict.to_text());
    if verdict.is_good() {
        println!("\nGOOD: nothing is missing, altered or in the wrong tenant.");
        ExitCode::SUCCESS
    } else {
        println!("\nNOT GOOD: see above what is missing, altered, refused or in the wrong tenant.");
        ExitCode::from(1)
    }
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("demo: {error}");
    ExitCode::from(code)
}
