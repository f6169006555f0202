//! What a session says of itself, and what a client may set.

use std::time::Duration;

use super::Session;
use crate::{
    error::{SqlError, code},
    statement,
    wire::{Wire, WireError, text_to},
};

/// What a session says of itself: name and value, as `SHOW` and the start have it.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("server_version", "15.0"),
    ("server_version_num", "150000"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, MDY"),
    ("timezone", "UTC"),
    ("intervalstyle", "postgres"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "off"),
    ("default_transaction_read_only", "on"),
    ("in_hot_standby", "on"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
    ("default_transaction_isolation", "read committed"),
    ("search_path", "public"),
    ("application_name", ""),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("lc_messages", "C"),
    ("lc_monetary", "C"),
    ("row_security", "off"),
    ("ssl", "on"),
    ("escape_string_warning", "off"),
    ("client_min_messages", "notice"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
];
/// Those told at the start, with the spelling drivers look for.
pub(super) const REPORTED: &[(&str, &str)] = &[
    ("server_version", "server_version"),
    ("server_encoding", "server_encoding"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    ("timezone", "TimeZone"),
    ("intervalstyle", "IntervalStyle"),
    ("integer_datetimes", "integer_datetimes"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("is_superuser", "is_superuser"),
    ("default_transaction_read_only", "default_transaction_read_only"),
    ("in_hot_standby", "in_hot_standby"),
    ("application_name", "application_name"),
];

impl Session {
    pub(super) fn report(
        &self,
        wire: &mut Wire,
        setting: &str,
        shown: &str,
    ) -> Result<(), WireError> {
        let value = self.setting(setting).unwrap_or_default();
        wire.put(b'S', |out| {
            text_to(out, shown);
            text_to(out, &value);
        })
    }

    pub(super) fn setting(&self, name: &str) -> Option<String> {
        if let Some(value) = self.settings.get(name) {
            return Some(value.clone());
        }
        match name {
            "session_authorization" => Some(self.user.clone()),
            "statement_timeout" => Some(format!("{}ms", self.longest().as_millis())),
            _ => SETTINGS.iter().find(|row| row.0 == name).map(|row| row.1.to_owned()),
        }
    }

    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let bad = |why: String| SqlError::new(code::INVALID_PARAMETER, why);
        let lower = value.to_lowercase();
        match name {
            "client_encoding" if !["", "utf8", "utf-8", "unicode"].contains(&lower.as_str()) => {
                return Err(bad(format!("client_encoding {value} is not served: use UTF8")));
            }
            "client_encoding" => return Ok(()),
            // Moments are shown in UTC, whatever the client's zone.
            "timezone" => return Ok(()),
            "datestyle" => return Ok(()),
            "server_version" | "is_superuser" | "server_encoding" | "integer_datetimes" => {
                return Err(bad(format!("parameter \"{name}\" cannot be changed")));
            }
            "default_transaction_read_only" | "transaction_read_only"
                if ["off", "false", "0", "no"].contains(&lower.as_str()) =>
            {
                return Err(statement::read_only("SET transaction_read_only = off"));
            }
            "statement_timeout" => {
                parse_span(value).ok_or_else(|| {
                    bad(format!("invalid value for statement_timeout: \"{value}\""))
                })?;
            }
            _ => {}
        }
        if self.settings.len() > 64 || value.len() > 1000 {
            return Err(SqlError::new(code::LIMIT, "too many settings"));
        }
        if value.is_empty() || lower == "default" {
            self.settings.remove(name);
        } else {
            self.settings.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    pub(super) fn longest(&self) -> Duration {
        let most = self.shared.options.statement_timeout;
        let asked = self.settings.get("statement_timeout").and_then(|text| parse_span(text));
        asked.filter(|asked| !asked.is_zero()).map_or(most, |asked| asked.min(most))
    }

    pub(super) fn show(&self, name: &str) -> Result<Vec<Vec<String>>, SqlError> {
        if name == "all" {
            let row = |(name, _): &(&str, &str)| {
                vec![(*name).to_owned(), self.setting(name).unwrap_or_default(), String::new()]
            };
            return Ok(SETTINGS.iter().map(row).collect());
        }
        let value = self.setting(name).ok_or_else(|| {
            SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
        })?;
        Ok(vec![vec![value]])
    }
}

/// `100`, `100ms`, `5s`, `1min`.
fn parse_span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let each = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(each)?))
}
