//! Functions over texts, by characters and not by bytes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rusqlite::{
    Connection, Result,
    types::{Value, ValueRef},
};

use super::{data, int_of, strict, text_of};
use crate::error::{SqlError, code};

/// Longest text that `repeat` and padding make.
const MADE_CHARS_MAX: i64 = 1_000_000;

fn text(text: impl Into<String>) -> std::result::Result<Value, SqlError> {
    Ok(Value::Text(text.into()))
}

fn length(n: i64) -> std::result::Result<usize, SqlError> {
    if n > MADE_CHARS_MAX {
        return Err(SqlError::new(code::LIMIT, "requested length too large"));
    }
    Ok(usize::try_from(n).unwrap_or(0))
}

pub(super) fn register(db: &Connection) -> Result<()> {
    strict(db, "t_lower", 1, |c| text(text_of(c, 0).to_lowercase()))?;
    strict(db, "t_upper", 1, |c| text(text_of(c, 0).to_uppercase()))?;
    strict(db, "t_reverse", 1, |c| text(text_of(c, 0).chars().rev().collect::<String>()))?;
    strict(db, "t_initcap", 1, |c| {
        let mut start = true;
        let mut out = String::new();
        for letter in text_of(c, 0).chars() {
            if start {
                out.extend(letter.to_uppercase());
            } else {
                out.extend(letter.to_lowercase());
            }
            start = !letter.is_alphanumeric();
        }
        text(out)
    })?;
    strict(db, "t_left", 2, |c| {
        let (of, n) = (text_of(c, 0), int_of(c, 1)?);
        let all = of.chars().count();
        let take = usize::try_from(n).unwrap_or_else(|_| {
            all.saturating_sub(usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX))
        });
        text(of.chars().take(take).collect::<String>())
    })?;
    strict(db, "t_right", 2, |c| {
        let (of, n) = (text_of(c, 0), int_of(c, 1)?);
        let all = of.chars().count();
        let skip = match usize::try_from(n) {
            Ok(n) => all.saturating_sub(n),
            Err(_) => usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX),
        };
        text(of.chars().skip(skip).collect::<String>())
    })?;
    for (name, before) in [("t_lpad", true), ("t_rpad", false)] {
        strict(db, name, 3, move |c| {
            let (of, wanted, fill) = (text_of(c, 0), length(int_of(c, 1)?)?, text_of(c, 2));
            let have = of.chars().count();
            if have >= wanted || fill.is_empty() {
                return text(of.chars().take(wanted).collect::<String>());
            }
            let pad: String = fill.chars().cycle().take(wanted - have).collect();
            text(if before { pad + &of } else { of.into_owned() + &pad })
        })?;
    }
    strict(db, "t_repeat", 2, |c| {
        let (of, n) = (text_of(c, 0), int_of(c, 1)?);
        let chars = i64::try_from(of.chars().count()).unwrap_or(i64::MAX);
        length(n.saturating_mul(chars))?;
        text(of.repeat(usize::try_from(n).unwrap_or(0)))
    })?;
    strict(db, "t_split", 3, |c| {
        let (of, by, n) = (text_of(c, 0), text_of(c, 1), int_of(c, 2)?);
        let parts: Vec<&str> = if by.is_empty() { vec![&*of] } else { of.split(&*by).collect() };
        let count = i64::try_from(parts.len()).unwrap_or(0);
        let place = if n < 0 { count + n } else { n - 1 };
        text(usize::try_from(place).ok().and_then(|n| parts.get(n)).copied().unwrap_or_default())
    })?;
    strict(db, "t_translate", 3, |c| {
        let (from, to) = (text_of(c, 1), text_of(c, 2));
        let map = |letter: char| match from.chars().position(|here| here == letter) {
            Some(place) => to.chars().nth(place),
            None => Some(letter),
        };
        text(text_of(c, 0).chars().filter_map(map).collect::<String>())
    })?;
    strict(db, "t_quote_ident", 1, |c| {
        let name = text_of(c, 0);
        let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        text(if plain { name.into_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) })
    })?;
    strict(db, "t_quote_literal", 1, |c| text(format!("'{}'", text_of(c, 0).replace('\'', "''"))))?;
    strict(db, "t_encode", 2, |c| {
        let (ValueRef::Blob(bytes) | ValueRef::Text(bytes)) = c.get_raw(0) else {
            return Err(data("encode needs a bytea"));
        };
        match &*text_of(c, 1) {
            "base64" => text(STANDARD.encode(bytes)),
            "hex" => text(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
            other => Err(data(format!("unrecognized encoding: \"{other}\""))),
        }
    })?;
    strict(db, "t_decode", 2, |c| {
        let of = text_of(c, 0);
        match &*text_of(c, 1) {
            "base64" => {
                let plain: String = of.split_whitespace().collect();
                STANDARD.decode(plain).map(Value::Blob).map_err(|_| data("invalid base64"))
            }
            "hex" => crate::ty::Ty::Bytea.parse(&format!("\\x{of}")),
            other => Err(data(format!("unrecognized encoding: \"{other}\""))),
        }
    })
}
