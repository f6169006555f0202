//! `staffetta-node export`: asks the running service and writes the files.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use engine::id::VatNumber;

use super::{Page, Sink, csv::Csv, parquet::Parquet, sqlite::Sqlite};
use crate::{
    config::{self, NodeConfig},
    control,
    service::Ask,
};

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One CSV file for each table, in a folder.
    Csv,
    /// One Parquet file for each table, in a folder.
    Parquet,
    /// One SQLite file.
    Sqlite,
}

/// `export`: exits 0 when all is written, 3 when something given is wrong, 4 when the service
/// does not answer or a file cannot be written.
#[derive(Args)]
pub struct Export {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// What to write.
    #[arg(long)]
    format: Format,
    /// The folder, or the SQLite file. What is there is replaced once the new is whole.
    #[arg(long)]
    out: PathBuf,
    /// The P.IVA; may be left out where the node serves one only.
    #[arg(long, value_parser = VatNumber::parse)]
    vat: Option<VatNumber>,
    /// Between the cells of CSV; a spreadsheet in Italian wants `;`.
    #[arg(long, default_value_t = ',')]
    separator: char,
    /// Leave texts in CSV as they are, also those a spreadsheet takes for formulas.
    #[arg(long)]
    raw: bool,
}

/// Does it.
#[must_use]
pub fn run(args: &Export) -> ExitCode {
    match act(args) {
        Ok(count) => {
            println!("{count} invoices written to {}", args.out.display());
            ExitCode::SUCCESS
        }
        Err((code, why)) => {
            eprintln!("staffetta-node: {why}");
            ExitCode::from(code)
        }
    }
}

fn act(args: &Export) -> Result<usize, (u8, String)> {
    let wrong = |why: String| (3, why);
    let failed = |why: String| (4, why);
    let config =
        config::load::<NodeConfig>(&args.config).map_err(|error| wrong(error.to_string()))?;
    let vat = config.tenant(args.vat).map_err(wrong)?;
    let sink: Result<Box<dyn Sink>, _> = match args.format {
        Format::Csv => {
            Csv::create(&args.out, args.separator, args.raw).map(|sink| Box::new(sink) as _)
        }
        Format::Parquet => Parquet::create(&args.out).map(|sink| Box::new(sink) as _),
        Format::Sqlite => Sqlite::create(&args.out).map(|sink| Box::new(sink) as _),
    };
    let mut sink = sink.map_err(|error| failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let (mut after, mut count) = (None, 0);
    loop {
        let question = Ask::Export { vat, after };
        let answer = runtime.block_on(control::ask(&config.data, question));
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let page: Page =
            serde_json::from_value(answer).map_err(|error| failed(error.to_string()))?;
        if let Some(error) = page.error {
            return Err(failed(error));
        }
        count += page.invoices.len();
        for invoice in page.invoices {
            invoice.write(&mut *sink).map_err(|error| failed(error.to_string()))?;
        }
        if let Some(fresh) = page.fresh {
            super::write("sync_status".to_owned(), fresh, &mut *sink)
                .map_err(|error| failed(error.to_string()))?;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    sink.finish().map_err(|error| failed(error.to_string()))?;
    Ok(count)
}
