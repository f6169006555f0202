//! Staffetta beside what a user would pick instead, on the same invoices over the same line.
//!
//! Each command adds its measurements to a file of results, so a run can be made in parts; `page`
//! draws what is in it. `make compare` does all of it.

mod floor;
mod invoices;
mod ours;
mod page;
mod results;
mod rival;
mod session;
mod svg;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use rival::{Rival, program::Program, syncthing::Syncthing};

#[derive(Parser)]
#[command(about, long_about = None)]
struct Cli {
    /// Where the results are.
    #[arg(long, global = true, default_value = "../../docs/performance/results.jsonl")]
    results: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures rivals.
    Rivals {
        /// Which.
        #[arg(long, value_delimiter = ',', value_enum)]
        systems: Vec<System>,
        #[command(flatten)]
        measured: Measured,
        /// Ends a measurement after so many seconds.
        #[arg(long, default_value_t = 120)]
        cap: u64,
    },
    /// Measures Staffetta by its own scenarios.
    Ours {
        /// The `benches` program.
        #[arg(long)]
        program: PathBuf,
        /// How often each is measured.
        #[arg(long, default_value_t = 3)]
        runs: u64,
        #[command(flatten)]
        measured: Measured,
    },
    /// Measures what no system can go below here.
    Floor(Measured),
    /// Draws the page and its plots from the results.
    Page,
}

#[derive(Args)]
struct Measured {
    /// Invoices.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    documents: Vec<u64>,
    /// Changes before each reconnection.
    #[arg(long, value_delimiter = ',')]
    changed: Vec<u64>,
    /// Also live changes.
    #[arg(long)]
    live: bool,
    /// The line in between.
    #[arg(long, value_enum, default_value = "loopback")]
    line: Line,
}

/// A line that is measured over.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Line {
    /// Through the relay that counts, which adds nothing but itself.
    Loopback,
    /// 7 Mbit/s down, 1 Mbit/s up, 40 ms.
    Adsl,
}

impl Line {
    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Loopback => ("loopback", "rtt_ms=0"),
            Self::Adsl => ("7/1 Mbit/s 40 ms", "rtt_ms=40,up_kbit=1000,down_kbit=7000"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum System {
    Pouchdb,
    AutomergeRepo,
    Syncthing,
    Samod,
}

impl System {
    /// Its adapter, or a sentence that says what is not installed.
    fn adapter(self, scratch: &Path) -> Result<Box<dyn Rival>, String> {
        let rivals = Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals");
        let script = |name: &str| {
            let script = rivals.join("js").join(name);
            if !rivals.join("js/node_modules").is_dir() {
                return Err("the rivals on Node.js are not installed: `npm ci` in rivals/js".into());
            }
            Ok::<_, String>(vec!["node".to_owned(), script.display().to_string()])
        };
        Ok(match self {
            Self::Pouchdb => Box::new(Program::new(
                "pouchdb",
                "PouchDB 9.0.0, LevelDB at both ends, express-pouchdb 4.2.0 as server; batch_size \
                 1000, batches_limit 10; LevelDB writes are not synced",
                script("pouchdb.mjs")?,
                scratch,
            )),
            Self::AutomergeRepo => Box::new(Program::new(
                "automerge-repo",
                "automerge-repo 2.5.6, its websocket server and storage in files; texts as \
                 ImmutableString; the names of the documents are given to the client",
                script("automerge-repo.mjs")?,
                scratch,
            )),
            Self::Samod => {
                let program = rivals.join("samod/target/release/rival-samod");
                let program = std::env::var_os("RIVAL_SAMOD").map_or(program, PathBuf::from);
                if !program.is_file() {
                    return Err(
                        "samod is not built: `cargo build --release` in rivals/samod".into()
                    );
                }
                Box::new(Program::new(
                    "samod",
                    "samod 0.16.0, websocket, storage in files; texts as scalars; the names of the \
                     documents are given to the client",
                    vec![program.display().to_string()],
                    scratch,
                ))
            }
            Self::Syncthing if rival::syncthing::is_there() => Box::new(Syncthing::default()),
            Self::Syncthing => {
                return Err("syncthing is not installed: apt-get install syncthing".into());
            }
        })
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    match cli.command {
        Command::Rivals { systems, measured, cap } => {
            let link = measured.line.named();
            for system in systems {
                for &documents in &measured.documents {
                    let scratch = tempfile::tempdir()?;
                    let mut rival = system.adapter(scratch.path())?;
                    let plan = session::Plan {
                        documents,
                        changed: measured.changed.clone(),
                        live: measured.live,
                        link: (link.0.into(), link.1.into()),
                        cap: Duration::from_secs(cap),
                        results: cli.results.clone(),
                    };
                    session::run(&mut *rival, &plan, &scratch)?;
                }
            }
        }
        Command::Ours { program, runs, measured } => {
            for &documents in &measured.documents {
                let ask = |scenario: Vec<&str>, name: &str, changed| {
                    let link = measured.line.named();
                    let program = &program;
                    let asked =
                        ours::Asked { program, scenario, name, documents, changed, link, runs };
                    ours::run(&asked, &cli.results)
                };
                ask(vec!["cold-sync"], "cold-sync", 0)?;
                for &changed in &measured.changed {
                    ask(vec!["reconnect"], "reconnect", changed)?;
                }
                if measured.live {
                    ask(vec!["live"], "live", 100)?;
                }
            }
        }
        Command::Floor(measured) => {
            let scratch = tempfile::tempdir()?;
            for &documents in &measured.documents {
                floor::cold(documents, measured.line.named(), scratch.path(), &cli.results)?;
            }
        }
        Command::Page => page::write(&cli.results)?,
    }
    Ok(())
}
