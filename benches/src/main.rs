//! `cargo build --release -p benches && target/release/benches SCENARIO`: one JSON line per measurement,
//! the last one the median. Targets and what was measured stand in docs/performance/README.md.

mod scenario;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use scenario::{Options, erp::ErpOptions, failover::Cause, portal::PortalOptions};

#[derive(Parser)]
#[command(name = "benches", about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A node comes back to the portal it knows, after `--changed` status changes there.
    Reconnect(Options),
    /// The same, to the other portal.
    ReconnectOtherPortal(Options),
    /// A new node fetches everything.
    ColdSync(Options),
    /// One change at a time on a held session, each way.
    Live(Options),
    /// A node writes all the time and its primary fails.
    Failover {
        /// What fails.
        #[arg(long)]
        cause: Cause,
        #[command(flatten)]
        options: Options,
    },
    /// A node over a poor line for minutes: does the primary stay?
    Steady {
        /// For how long.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        #[command(flatten)]
        options: Options,
    },
    /// A portal was away while its twin wrote, and catches up.
    Twins {
        /// Customers whose documents they are.
        #[arg(long, default_value_t = 1000)]
        tenants: u64,
        #[command(flatten)]
        options: Options,
    },
    /// Customers that hold a session and say nothing: the portal's memory for each.
    Sessions {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        sessions: u64,
        #[command(flatten)]
        options: Options,
    },
    /// A portal passes on what its twin writes to a node.
    Relay(Options),
    /// A node that has nothing to do: how soon it is at work, and its memory.
    Open(Options),
    /// A node is killed while it sends a large file.
    BlobResume(Options),
    /// A node whose mirror is gone makes it anew.
    MirrorRebuild(Options),
    /// The ERP's questions in SQL, beside PostgreSQL with the same rows.
    ErpSql(ErpOptions),
    /// The ERP's questions over HTTP.
    ErpHttp(ErpOptions),
    /// Lists on the portal's pages.
    PortalList(PortalOptions),
    /// A log-in at the portal while others guess passwords.
    PortalLogin(PortalOptions),
    /// The portal's program, as the scenarios of its pages start it.
    #[command(hide = true)]
    Portal {
        /// Its configuration.
        config: std::path::PathBuf,
    },
    /// The node's program, as the scenarios of the ERP start it.
    #[command(hide = true)]
    Node {
        /// Its configuration.
        config: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Reconnect(options) => scenario::reconnect::run(&options, false),
        Command::ReconnectOtherPortal(options) => scenario::reconnect::run(&options, true),
        Command::ColdSync(options) => scenario::cold_sync::run(&options),
        Command::Live(options) => scenario::live::run(&options),
        Command::Failover { cause, options } => scenario::failover::run(&options, cause),
        Command::Steady { minutes, options } => scenario::steady::run(&options, minutes),
        Command::Twins { tenants, options } => scenario::twins::run(&options, tenants),
        Command::Sessions { sessions, options } => scenario::sessions::run(&options, sessions),
        Command::Relay(options) => scenario::relay::run(&options),
        Command::Open(options) => scenario::open::run(&options),
        Command::BlobResume(options) => scenario::blob_resume::run(&options),
        Command::MirrorRebuild(options) => scenario::mirror_rebuild::run(&options),
        Command::ErpSql(options) => scenario::erp::run_sql(&options),
        Command::ErpHttp(options) => scenario::erp::run_http(&options),
        Command::PortalList(options) => scenario::portal::run_list(&options),
        Command::PortalLogin(options) => scenario::portal::run_login(&options),
        Command::Portal { config } => scenario::portal::portal(&config),
        Command::Node { config } => scenario::erp::node(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error}");
            ExitCode::FAILURE
        }
    }
}
