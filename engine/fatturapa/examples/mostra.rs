//! Checks or shows one file: `mostra FILE check|json|text|html|pdf > OUT`. A thin shell over the library.

#![allow(clippy::disallowed_methods, reason = "an example is a host: it reads files and clocks")]

use std::io::Write as _;

use fatturapa::check::{Context, check_bytes};
use fatturapa::{Date, invoice, view};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(form)) = (args.next(), args.next()) else {
        return Err("usage: mostra FILE check|json|text|html|pdf".into());
    };
    let bytes = std::fs::read(&path)?;
    let name = path.rsplit('/').next().unwrap_or(&path);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let today = Date::italian(i64::try_from(now)?).ok_or("the clock is wrong")?;
    let out: Vec<u8> = match &*form {
        "check" => check_bytes(name, &bytes, &Context::received(today)).to_text().into_bytes(),
        "json" => check_bytes(name, &bytes, &Context::received(today)).to_json().into_bytes(),
        "text" => view::text(&invoice::read(name, &bytes)?).into_bytes(),
        "html" => view::html(&invoice::read(name, &bytes)?, Some(&bytes)).into_bytes(),
        #[cfg(feature = "pdf")]
        "pdf" => view::pdf(&invoice::read(name, &bytes)?),
        other => return Err(format!("unknown form {other}").into()),
    };
    std::io::stdout().write_all(&out)?;
    Ok(())
}
