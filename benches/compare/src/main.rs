//! Staffetta beside what a user would pick instead, on the same invoices over the same line.
//!
//! Each command adds its measurements to a file of results, so a run can be made in parts; `page`
//! draws what is in it. `make compare` does all of it.

mod failover;
mod floor;
mod invoices;
mod ours;
mod page;
mod quick;
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
use failover::{CAUSES, LINE, Yardstick};
use ours::Asked;
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
    /// Measures failover by every cause: ours, or yardsticks.
    Failover {
        /// The `benches` program: measures ours.
        #[arg(long)]
        program: Option<PathBuf>,
        /// Yardsticks.
        #[arg(long, value_delimiter = ',', value_enum)]
        yardsticks: Vec<Yardstick>,
        /// How often each is measured.
        #[arg(long, default_value_t = 1)]
        runs: u64,
    },
    /// Measures what a portal has to do besides: for its twin, for idle customers, as a relay.
    Portal {
        /// The `benches` program.
        #[arg(long)]
        program: PathBuf,
    },
    /// Measures ours in short, by every scenario.
    Quick {
        /// The `benches` program.
        #[arg(long)]
        program: PathBuf,
    },
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
    IrohDocs,
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
        let built = |name: &str, variable: &str| {
            let program = rivals.join(format!("{name}/target/release/rival-{name}"));
            let program = std::env::var_os(variable).map_or(program, PathBuf::from);
            match program.is_file() {
                true => Ok(program.display().to_string()),
                false => {
                    Err(format!("{name} is not built: `cargo build --release` in rivals/{name}"))
                }
            }
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
            Self::Samod => Box::new(Program::new(
                "samod",
                "samod 0.16.0, websocket, storage in files; texts as scalars; the names of the \
                 documents are given to the client; never calls fsync",
                vec![built("samod", "RIVAL_SAMOD")?],
                scratch,
            )),
            Self::IrohDocs => Box::new(Program::new(
                "iroh-docs",
                "iroh-docs 0.101.0, iroh-blobs 0.103.1, iroh 1.4, both stores on disk, no relay, no \
                 discovery; its own downloader locks up (see its adapter), so values are fetched in \
                 requests for 250 on one connection",
                vec![built("iroh-docs", "RIVAL_IROH_DOCS")?],
                scratch,
            )),
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
                    if let Some(fewer) =
                        session::too_much(&cli.results, rival.name(), documents, link.0)?
                    {
                        eprintln!("{} was capped at {fewer} already", rival.name());
                        continue;
                    }
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
                let ask = |scenario: &str, changed| {
                    let (words, link) = (&[][..], measured.line.named());
                    let asked = Asked { scenario, words, documents, changed, link, runs };
                    ours::run(&program, asked, &cli.results)
                };
                ask("cold-sync", 0)?;
                for &changed in &measured.changed {
                    ask("reconnect", changed)?;
                }
                if measured.live {
                    ask("live", 100)?;
                }
            }
        }
        Command::Floor(measured) => {
            let scratch = tempfile::tempdir()?;
            for &documents in &measured.documents {
                let (link, dir) = (measured.line.named(), scratch.path());
                floor::cold(documents, link, dir, &cli.results)?;
                for &changed in &measured.changed {
                    floor::reconnect((documents, changed), link, dir, &cli.results)?;
                }
            }
        }
        Command::Failover { program, yardsticks, runs } => {
            for cause in CAUSES {
                if let Some(program) = &program {
                    let (scenario, words) = ("failover", &["--cause", cause][..]);
                    let (documents, changed, link) = (0, 0, LINE);
                    let asked = Asked { scenario, words, documents, changed, link, runs };
                    ours::run(program, asked, &cli.results)?;
                }
                for &yardstick in &yardsticks {
                    let program = failover::program()?;
                    failover::run(&program, yardstick, cause, runs, &cli.results)?;
                }
            }
        }
        Command::Portal { program } => {
            for asked in quick::PORTAL {
                ours::run(&program, asked, &cli.results)?;
            }
        }
        Command::Quick { program } => {
            for asked in quick::ALL {
                ours::run(&program, asked, &cli.results)?;
            }
        }
        Command::Page => page::write(&cli.results)?,
    }
    Ok(())
}
