//! `staffetta-node`: the service on the customer's company server.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use node::{
    config::{self, NodeConfig},
    control, desk,
    doctor::{self, Doctor},
    export::command::{self as export_command, Export},
    originals,
    service::{self, Ask},
    status::{TenantStatus, to_text},
    token::{self, TokenCommand},
    user::command::{self as user_command, UserCommand},
};

/// Exit codes: 0 done, 1 `check` found something, 2 wrong usage, 3 bad configuration or
/// input, 4 the service is not running or could not start.
#[derive(Parser)]
#[command(name = "staffetta-node", version, long_about = None)]
#[command(
    about = "Keeps a customer's electronic invoices on its own server, the same as on both portals"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the service until it is told to stop.
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// The same under the service manager of Windows, which starts it.
    #[cfg(windows)]
    Service {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Shows what the running service holds and whom it talks to.
    Status {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Reads back every original held, compares it with its hash and lists it.
    List {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Has the running service connect now.
    Sync {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Shows the commented reference configuration.
    Config {
        #[command(subcommand)]
        show: ConfigCommand,
    },
    /// Says who may read the mirror from the LAN.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Says which programs may use the API, by bearer tokens.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Writes the invoices as CSV, Parquet or SQLite, anew.
    Export(Export),
    /// Looks for what is wrong, all at once, and says what to do about it.
    Doctor(Doctor),
    /// Writes completions for a shell to standard output.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Writes the man page to standard output, or those of every command to a folder.
    Man {
        /// The folder: `/usr/share/man/man1`.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Judges FatturaPA files and SdI messages as the SdI would.
    Check(desk::Check),
    /// Shows an invoice as a person reads it.
    Show(desk::Show),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Prints it.
    Show,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Run { config } => ExitCode::from(run(&config, service::stopped())),
        #[cfg(windows)]
        Command::Service { config } => serve(config),
        Command::Status { config, json } => ask(&config, Ask::Status, json),
        Command::Sync { config } => ask(&config, Ask::Sync, false),
        Command::List { config, json } => list(&config, json),
        Command::Config { show: ConfigCommand::Show } => {
            print!("{}", config::DEFAULT);
            ExitCode::SUCCESS
        }
        Command::User { command } => user_command::run(&command),
        Command::Export(args) => export_command::run(&args),
        Command::Token { command } => token::run(&command),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions { shell } => {
            let name = "staffetta-node";
            clap_complete::generate(shell, &mut Cli::command(), name, &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Man { out } => {
            let written = match &out {
                None => clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()),
                Some(folder) => clap_mangen::generate_to(Cli::command(), folder),
            };
            match (written, out) {
                (Ok(()), _) => ExitCode::SUCCESS,
                (Err(error), None) => fail(4, &error),
                (Err(error), Some(folder)) => {
                    fail(4, &format!("cannot write to {}: {error}", folder.display()))
                }
            }
        }
        Command::Check(args) => desk::check(&args),
        Command::Show(args) => desk::show(&args),
    }
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("staffetta-node: {error}");
    ExitCode::from(code)
}

fn run(path: &Path, stop: impl Future<Output = ()>) -> u8 {
    let fail = |code, error: &dyn std::fmt::Display| {
        eprintln!("staffetta-node: {error}");
        code
    };
    let config = match config::load::<NodeConfig>(path) {
        Ok(config) => config,
        Err(error) => return fail(3, &error),
    };
    node::logs(config.logs);
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(4, &error),
        };
    match runtime.block_on(service::run_until(&config, stop)) {
        Ok(()) => 0,
        Err(error) => fail(error.exit_code(), &error),
    }
}

/// As the service manager of Windows starts it.
#[cfg(windows)]
fn serve(path: PathBuf) -> ExitCode {
    let work = move |told: std::sync::mpsc::Receiver<()>| {
        let (tell, stop) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = told.recv();
            let _ = tell.send(());
        });
        run(&path, async {
            let _ = stop.await;
        })
    };
    match windows_node::run(Box::new(work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(3, &error),
    }
}

fn ask(path: &Path, question: Ask, json: bool) -> ExitCode {
    let config = match config::load::<NodeConfig>(path) {
        Ok(config) => config,
        Err(error) => return fail(3, &error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(4, &error),
    };
    let answer = match runtime.block_on(control::ask(&config.data, question)) {
        Ok(answer) => answer,
        Err(error) => return fail(4, &error),
    };
    if json {
        println!("{answer}");
        return ExitCode::SUCCESS;
    }
    match serde_json::from_value::<Vec<TenantStatus>>(answer["tenants"].clone()) {
        Ok(tenants) => print!("{}", to_text(&tenants)),
        Err(error) => return fail(4, &error),
    }
    ExitCode::SUCCESS
}

fn list(path: &Path, json: bool) -> ExitCode {
    let config = match config::load::<NodeConfig>(path) {
        Ok(config) => config,
        Err(error) => return fail(3, &error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(4, &error),
    };
    let mut listings = Vec::new();
    for tenant in &config.tenants {
        let question = |after| Ask::Originals { vat: tenant.vat, after };
        match runtime.block_on(originals::ask_all(&config.data, tenant.vat, question)) {
            Ok(listing) => listings.push(listing),
            Err(error) => return fail(4, &error),
        }
    }
    originals::print(&listings, json);
    ExitCode::SUCCESS
}
