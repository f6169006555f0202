//! `staffetta-certgen`: the command line over [`certgen`].
//!
//! Exit codes are part of the interface: 0 done; 1 `inspect` found a difference; 2 wrong
//! usage; 3 bad input; 4 a file or folder failed; 5 refused. Nothing that is printed is
//! ever secret.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod failure;
mod report;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli.command) {
        Ok(report) => {
            report.print(cli.json);
            ExitCode::from(report.code)
        }
        Err(failure) => {
            failure.print(cli.json);
            ExitCode::from(failure.code())
        }
    }
}
