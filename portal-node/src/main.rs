//! `staffetta-portal`: one of the intermediary's two servers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use engine::id::VatNumber;
use node::{
    config, control,
    originals::{self, Listing},
    service::ServiceError,
    status::{RouteStatus, TenantStatus, to_text, write_routes},
    transport::identity::{Certificate, certificate},
};
use portal_node::{
    config::{DEFAULT, PortalConfig},
    service::{self, Ask},
};

/// Exit codes: 0 done, 2 wrong usage, 3 bad configuration or input, 4 the service is not
/// running, could not start, or refused.
#[derive(Parser)]
#[command(name = "staffetta-portal", version, about, long_about = None)]
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
    /// Admits a P.IVA: its node may connect from now on, to both portals.
    Admit {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The P.IVA.
        vat: VatArgument,
        /// Its certificate, `<partitaiva>.cert`.
        cert: PathBuf,
    },
    /// Makes the first administrator, or another: prints the link, good once and for seven days, by
    /// which that person sets a password.
    AdminLink {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The user name to be.
        #[arg(long)]
        user: String,
        /// The certificate that person has in the browser, by `staffetta-certgen issue`.
        cert: PathBuf,
    },
    /// Ends a certificate: both portals cut it off, whatever is connected.
    Revoke {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The P.IVA.
        vat: VatArgument,
        /// The pin, as `staffetta-certgen inspect` prints it in hexadecimal.
        pin: String,
    },
    /// Shows the commented reference configuration.
    Config {
        #[command(subcommand)]
        show: ConfigCommand,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Prints it.
    Show,
}

#[derive(Clone, Copy, Debug)]
struct VatArgument(VatNumber);

impl std::str::FromStr for VatArgument {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        VatNumber::parse(text).map(Self).map_err(|error| error.to_string())
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { config } => run(&config),
        Command::Status { config, json } => match ask(&config, &Ask::Status) {
            Ok(answer) if json => {
                println!("{answer}");
                ExitCode::SUCCESS
            }
            Ok(answer) => {
                let tenants =
                    serde_json::from_value::<Vec<TenantStatus>>(answer["tenants"].clone());
                let routes = serde_json::from_value::<Vec<RouteStatus>>(answer["routes"].clone());
                let mut text = to_text(&tenants.unwrap_or_default());
                write_routes(&mut text, &routes.unwrap_or_default());
                let letters = &answer["letters"];
                let [waiting, lost] = ["waiting", "lost"].map(|name| letters[name].as_u64());
                if waiting.unwrap_or(0) + lost.unwrap_or(0) > 0 {
                    text += &format!(
                        "letters: {} wait for the mail server, {} were given up: {}\n",
                        waiting.unwrap_or(0),
                        lost.unwrap_or(0),
                        letters["why"].as_str().unwrap_or_default()
                    );
                }
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(code) => code,
        },
        Command::List { config, json } => match list(&config) {
            Ok(listings) => {
                originals::print(&listings, json);
                ExitCode::SUCCESS
            }
            Err(code) => code,
        },
        Command::AdminLink { config, user, cert } => admin_link(&config, user, &cert),
        Command::Admit { config, vat, cert } => admit(&config, vat.0, &cert),
        Command::Revoke { config, vat, pin } => said(&config, &Ask::Revoke { vat: vat.0, pin }),
        Command::Config { show: ConfigCommand::Show } => {
            print!("{DEFAULT}");
            ExitCode::SUCCESS
        }
    }
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("staffetta-portal: {error}");
    ExitCode::from(code)
}

fn run(path: &Path) -> ExitCode {
    let config = match config::load::<PortalConfig>(path) {
        Ok(config) => config,
        Err(error) => return fail(3, &error),
    };
    node::logs(node::Logs::default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(4, &error),
    };
    match runtime.block_on(service::run(&config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.exit_code(), &error),
    }
}

fn list(path: &Path) -> Result<Vec<Listing>, ExitCode> {
    let answer = ask(path, &Ask::Status)?;
    let tenants = serde_json::from_value::<Vec<TenantStatus>>(answer["tenants"].clone());
    let config = config::load::<PortalConfig>(path).map_err(|error| fail(3, &error))?;
    let runtime = runtime()?;
    let mut listings = Vec::new();
    for TenantStatus { vat, .. } in tenants.unwrap_or_default() {
        let vat = VatNumber::parse(&vat).map_err(|error| fail(4, &error))?;
        let question = |after| Ask::Originals { vat, after };
        let asked = runtime.block_on(originals::ask_all(&config.data, vat, question));
        listings.push(asked.map_err(|error| fail(4, &error))?);
    }
    Ok(listings)
}

fn admit(path: &Path, vat: VatNumber, cert: &Path) -> ExitCode {
    let bytes = match fs::read(cert) {
        Ok(bytes) => bytes,
        Err(error) => return fail(3, &format!("cannot read {}: {error}", cert.display())),
    };
    match certificate(&bytes, &cert.display().to_string()) {
        Ok(Certificate { tenant: Some(found), .. }) if found != vat => {
            let file = cert.display().to_string();
            fail(3, &ServiceError::OtherTenant { file, found, vat })
        }
        Ok(Certificate { spki, not_after, .. }) => said(path, &Ask::Admit { vat, spki, not_after }),
        Err(error) => fail(3, &error),
    }
}

fn admin_link(path: &Path, user: String, cert: &Path) -> ExitCode {
    let file = cert.display().to_string();
    let read = fs::read(cert).map_err(|error| format!("cannot read {file}: {error}"));
    let read = read.and_then(|bytes| certificate(&bytes, &file).map_err(|error| error.to_string()));
    let question = match read {
        Ok(Certificate { spki, not_after, .. }) => Ask::AdminLink { user, spki, not_after },
        Err(error) => return fail(3, &error),
    };
    match ask(path, &question) {
        Ok(answer) if answer["done"] == true => {
            println!("{}", answer["link"].as_str().unwrap_or_default());
            ExitCode::SUCCESS
        }
        Ok(answer) => fail(4, &answer["error"].as_str().unwrap_or("refused")),
        Err(code) => code,
    }
}

fn said(path: &Path, question: &Ask) -> ExitCode {
    match ask(path, question) {
        Ok(answer) if answer["done"] == true => ExitCode::SUCCESS,
        Ok(answer) => fail(4, &answer["error"].as_str().unwrap_or("refused")),
        Err(code) => code,
    }
}

fn ask(path: &Path, question: &Ask) -> Result<serde_json::Value, ExitCode> {
    let config = config::load::<PortalConfig>(path).map_err(|error| fail(3, &error))?;
    runtime()?.block_on(control::ask(&config.data, question)).map_err(|error| fail(4, &error))
}

fn runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(|error| fail(4, &error))
}
