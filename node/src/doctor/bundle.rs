//! What is handed to whoever helps: one file, without secrets.

use std::{fs, path::Path};

use super::Finding;
use crate::{
    moment::{now_ms, rfc3339},
    private,
};

/// Report, status and configuration in one file. Of secrets there are only the names of files
/// in any of them; what an address has before its host and after its path is taken out.
pub(super) fn write(
    path: &Path,
    config: &Path,
    findings: &[Finding],
    status: &serde_json::Value,
) -> std::io::Result<()> {
    let config = fs::read_to_string(config)?;
    let whole = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "made_at": rfc3339(now_ms()),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "findings": findings,
        "status": status,
        "config": config.lines().map(without_secrets).collect::<Vec<_>>(),
    });
    private::write(path, without_user_info(&format!("{whole:#}\n")).as_bytes())
}

/// Takes out what follows a name that means a secret, should somebody have written one here.
fn without_secrets(line: &str) -> String {
    let name = line.split('=').next().unwrap_or_default().to_lowercase();
    let is_secret = ["secret", "password", "token"].iter().any(|word| name.contains(word));
    if is_secret && !name.contains("_file") {
        return format!("{}= \"(removed)\"", line.split('=').next().unwrap_or_default());
    }
    line.to_owned()
}

/// `https://user:password@host/x?token=y` becomes `https://(removed)@host/x?(removed)`.
fn without_user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end =
            tail.find(|c: char| c == '/' || c == '"' || c.is_whitespace()).unwrap_or(tail.len());
        let tail = match tail[..end].rfind('@') {
            Some(at) => {
                out.push_str("(removed)");
                &tail[at..]
            }
            None => tail,
        };
        let end = tail.find(|c: char| c == '"' || c == '\\' || c.is_whitespace());
        let (address, after) = tail.split_at(end.unwrap_or(tail.len()));
        rest = match address.split_once('?') {
            Some((path, _)) => {
                out.push_str(path);
                out.push_str("?(removed)");
                after
            }
            None => tail,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_goes_into_a_bundle() {
        assert_eq!(without_secrets("secret = \"whsec_abc\""), "secret = \"(removed)\"");
        assert_eq!(without_secrets("db_password=x"), "db_password= \"(removed)\"");
        let named = "secret_file = \"/etc/staffetta/s\"";
        assert_eq!(without_secrets(named), named);
        for (text, clean) in [
            ("url = \"https://erp:geheim@erp.lan/x\"", "url = \"https://(removed)@erp.lan/x\""),
            ("https://a/b@c https://u@h", "https://a/b@c https://(removed)@h"),
            ("{\"u\":\"http://e/x?token=geheim\"}", "{\"u\":\"http://e/x?(removed)\"}"),
            ("url = \\\"http://e?k=geheim\\\"", "url = \\\"http://e?(removed)\\\""),
            ("no address", "no address"),
        ] {
            assert_eq!(without_user_info(text), clean);
        }
    }
}
