//! One file on the desk: judged as the SdI would, or shown as a person reads it. Needs no
//! service and no configuration.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use fatturapa::{
    Date,
    check::{Context, check_bytes},
    invoice, signature, view,
};

use crate::moment::today;

/// How `show` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A page that needs nothing else.
    Html,
    /// A document to print or send.
    Pdf,
    /// For a terminal.
    Text,
}

/// `check FILE...`: exits 0 when every file would be accepted, 1 when one would not, 3 when
/// one cannot be read.
#[derive(Args)]
pub struct Check {
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// One line of JSON per file.
    #[arg(long)]
    json: bool,
    /// Judge as if received on this day (YYYY-MM-DD) and not today.
    #[arg(long, value_parser = parse_day)]
    received: Option<Date>,
    /// Judge the file's name too, as for a file about to be sent.
    #[arg(long)]
    name: bool,
    /// Trust only signatures by these authorities: certificates, PEM or DER.
    #[arg(long)]
    trust: Vec<PathBuf>,
}

/// `show FILE`: exits 0, or 3 when the file cannot be read as an invoice.
#[derive(Args)]
pub struct Show {
    /// The file.
    file: PathBuf,
    /// As a page.
    #[arg(long, group = "form")]
    html: bool,
    /// As PDF.
    #[arg(long, group = "form")]
    pdf: bool,
    /// As text (the default).
    #[arg(long, group = "form")]
    text: bool,
    /// Write here and not to standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn parse_day(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| format!("{text:?} is not a day: write it as 2026-11-24"))
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("staffetta-node: {error}");
    ExitCode::from(code)
}

/// Judges files.
#[must_use]
pub fn check(args: &Check) -> ExitCode {
    let Some(day) = args.received.or_else(today) else {
        return fail(4, &"the clock of this machine is wrong");
    };
    let trusted =
        match args.trust.iter().map(|path| authorities(path)).collect::<Result<Vec<_>, _>>() {
            Ok(lists) => lists.concat(),
            Err(error) => return fail(3, &error),
        };
    let trust = if args.trust.is_empty() {
        signature::Trust::Unjudged
    } else {
        signature::Trust::List(&trusted)
    };
    let context = Context { trust, is_name_judged: args.name, ..Context::received(day) };
    let (mut unread, mut unaccepted) = (false, false);
    for path in &args.files {
        match read(path) {
            Ok(bytes) => {
                let report = check_bytes(&path.display().to_string(), &bytes, &context);
                unaccepted |= !report.is_accepted();
                println!("{}", if args.json { report.to_json() } else { report.to_text() });
            }
            Err(error) => {
                eprintln!("staffetta-node: {error}");
                unread = true;
            }
        }
    }
    match (unread, unaccepted) {
        (true, _) => ExitCode::from(3),
        (false, true) => ExitCode::from(1),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// Shows a file.
#[must_use]
pub fn show(args: &Show) -> ExitCode {
    let bytes = match read(&args.file) {
        Ok(bytes) => bytes,
        Err(error) => return fail(3, &error),
    };
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let file = match invoice::read(&name, &bytes) {
        Ok(file) => file,
        Err(error) => return fail(3, &format!("{}: {error}", args.file.display())),
    };
    let form = match (args.html, args.pdf) {
        (true, _) => Form::Html,
        (_, true) => Form::Pdf,
        _ => Form::Text,
    };
    let shown = match form {
        Form::Html => view::html(&file, Some(&bytes)).into_bytes(),
        Form::Pdf => view::pdf(&file),
        Form::Text => view::text(&file).into_bytes(),
    };
    let written = match &args.out {
        Some(path) => {
            fs::write(path, shown).map_err(|error| format!("{}: {error}", path.display()))
        }
        None => io::stdout().write_all(&shown).map_err(|error| error.to_string()),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(4, &format!("cannot write {error}")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The certificates in a file, in DER.
fn authorities(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let bytes = read(path)?;
    if !bytes.starts_with(b"-----") && bytes.first() == Some(&0x30) {
        return Ok(vec![bytes]);
    }
    let list: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&bytes).map(|found| found.map(|der| der.to_vec())).collect();
    match list {
        Ok(list) if !list.is_empty() => Ok(list),
        _ => Err(format!("{} holds no certificate, PEM or DER", path.display())),
    }
}
