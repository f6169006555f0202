//! `staffetta-node user`: who may read the mirror from the LAN. Needs no running service; one
//! that runs knows of it at the next request.

use std::{
    fs,
    io::{self, Read as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Subcommand;
use engine::id::VatNumber;

use super::{UserError, Users, new_password};
use crate::config::{self, NodeConfig};

/// Longest password file.
const FILE_BYTES_MAX: u64 = 1024;

/// What to do with the users.
#[derive(Subcommand)]
pub enum UserCommand {
    /// Adds a user that sees one P.IVA, and prints its new password, which is kept nowhere.
    Add {
        /// Its name.
        name: String,
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The P.IVA it sees; may be left out where the node serves one only.
        #[arg(long, value_parser = VatNumber::parse)]
        vat: Option<VatNumber>,
        /// A file with the password it is to have; `-` reads it from standard input.
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
    /// Removes a user: refused from its next request on.
    Remove {
        /// Its name.
        name: String,
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Lists the users.
    List {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
}

/// Does it: exits 0 when done, 3 when something given is wrong, 4 when a file cannot be used.
#[must_use]
pub fn run(command: &UserCommand) -> ExitCode {
    let (UserCommand::Add { config, .. }
    | UserCommand::Remove { config, .. }
    | UserCommand::List { config, .. }) = command;
    let config = match config::load::<NodeConfig>(config) {
        Ok(config) => config,
        Err(error) => return fail(3, &error),
    };
    let done = Users::open(&config.data).and_then(|users| act(command, &config, &users));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ (UserError::File { .. } | UserError::Random)) => fail(4, &error),
        Err(error) => fail(3, &error),
    }
}

fn act(command: &UserCommand, config: &NodeConfig, users: &Users) -> Result<(), UserError> {
    match command {
        UserCommand::Add { name, vat, password_file, .. } => {
            let vat = tenant(config, *vat)?;
            if let Some(path) = password_file {
                return users.add(name, vat, &given(path)?);
            }
            let password = new_password()?;
            users.add(name, vat, &password)?;
            println!("{password}");
        }
        UserCommand::Remove { name, .. } => users.remove(name)?,
        UserCommand::List { json: true, .. } => {
            for user in users.list()?.iter() {
                let vat = user.vat.to_string();
                println!("{}", serde_json::json!({ "name": user.name, "vat": vat }));
            }
        }
        UserCommand::List { .. } => {
            for user in users.list()?.iter() {
                println!("{:<20} {}", user.name, user.vat);
            }
        }
    }
    Ok(())
}

fn tenant(config: &NodeConfig, given: Option<VatNumber>) -> Result<VatNumber, UserError> {
    let mut served = config.tenants.iter().map(|tenant| tenant.vat);
    let wrong = |why: &str| UserError::Tenant { why: why.to_owned() };
    match (given, served.next(), served.next()) {
        (None, Some(only), None) => Ok(only),
        (None, ..) => Err(wrong("say which P.IVA the user sees: --vat")),
        (Some(vat), ..) if config.tenants.iter().any(|tenant| tenant.vat == vat) => Ok(vat),
        (Some(vat), ..) => Err(wrong(&format!("this node does not serve P.IVA {vat}"))),
    }
}

fn given(path: &PathBuf) -> Result<String, UserError> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    let named = |error: io::Error| UserError::File {
        path: path.display().to_string(),
        why: error.to_string(),
    };
    read.map_err(named)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("staffetta-node: {error}");
    ExitCode::from(code)
}
