//! Simple types: what a text may be. Says in Italian why it may not.

use rust_decimal::Decimal;

use super::pattern::Pattern;
use crate::date::Date;
use crate::messages::is_date_time;
use crate::xml::is_ncname;

/// Primitive and built-in types that the schemas use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Text,
    AnyUri,
    Id,
    Date,
    DateTime,
    Integer,
    NonNegativeInteger,
    PositiveInteger,
    Decimal,
    Base64,
}

/// The whiteSpace facet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Preserve,
    Replace,
    Collapse,
}

/// One simple type with all facets inherited.
#[derive(Clone, Debug)]
pub(super) struct Simple {
    pub(super) base: Base,
    pub(super) space: Space,
    /// Any of each group, for all groups.
    pub(super) patterns: Vec<std::sync::Arc<Vec<Pattern>>>,
    pub(super) values: Option<std::sync::Arc<Vec<String>>>,
    pub(super) length_min: Option<usize>,
    pub(super) length_max: Option<usize>,
    pub(super) min: Option<String>,
    pub(super) max: Option<String>,
    pub(super) total_digits: Option<usize>,
}

impl Simple {
    pub(super) const fn of(base: Base, space: Space) -> Self {
        Self {
            base,
            space,
            patterns: Vec::new(),
            values: None,
            length_min: None,
            length_max: None,
            min: None,
            max: None,
            total_digits: None,
        }
    }

    /// Why a text is not of this type.
    pub(super) fn refuses(&self, raw: &str) -> Option<String> {
        let normalised;
        let text = match self.space {
            Space::Preserve => raw,
            _ if self.base == Base::Base64 => raw,
            Space::Replace if !raw.contains(['\t', '\n', '\r']) => raw,
            Space::Replace => {
                normalised = raw.replace(['\t', '\n', '\r'], " ");
                &normalised
            }
            Space::Collapse if is_collapsed(raw) => raw,
            Space::Collapse => {
                let words = raw.split([' ', '\t', '\n', '\r']).filter(|word| !word.is_empty());
                normalised = words.collect::<Vec<_>>().join(" ");
                &normalised
            }
        };
        if let Some(why) = self.wrong_form(text) {
            return Some(why.to_owned());
        }
        let length = match self.base {
            Base::Base64 => text.bytes().filter(|b| !b.is_ascii_whitespace()).count() / 4 * 3,
            // No facet asks beyond some thousands: counting further would be work for a stranger.
            _ if self.length_max.is_some() || self.length_min.is_some() => text.chars().count(),
            _ => 0,
        };
        if let Some(values) = &self.values
            && !values.iter().any(|value| value == text)
        {
            return Some(if values.len() <= 8 {
                format!("i valori ammessi sono {}", values.join(", "))
            } else {
                "non è fra i codici previsti dallo schema".to_owned()
            });
        }
        if let Some(min) = self.length_min.filter(|min| length < *min) {
            return Some(format!("servono almeno {min} caratteri"));
        }
        if let Some(max) = self.length_max.filter(|max| length > *max) {
            return Some(format!("sono ammessi al massimo {max} caratteri"));
        }
        for any in &self.patterns {
            if !any.iter().any(|pattern| pattern.matches(text)) {
                let source = any.first().map_or("", Pattern::source);
                return Some(explain(source, text));
            }
        }
        self.out_of_bounds(text)
    }

    fn wrong_form(&self, text: &str) -> Option<&'static str> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let is_zero = unsigned.bytes().all(|b| b == b'0');
        match self.base {
            Base::Text | Base::AnyUri => None,
            Base::Id => (!is_ncname(text)).then_some("deve essere un identificatore XML"),
            Base::Date => Date::parse(text).is_none().then_some("deve essere una data AAAA-MM-GG"),
            Base::DateTime => {
                (!is_date_time(text)).then_some("deve essere una data con ora, AAAA-MM-GGThh:mm:ss")
            }
            Base::Integer => (!digits(unsigned)).then_some("deve essere un numero intero"),
            Base::NonNegativeInteger => (!digits(unsigned) || text.starts_with('-') && !is_zero)
                .then_some("deve essere un numero intero non negativo"),
            Base::PositiveInteger => (!digits(unsigned) || text.starts_with('-') || is_zero)
                .then_some("deve essere un numero intero positivo"),
            Base::Decimal => {
                let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, ""));
                let ok = (digits(whole) || whole.is_empty() && !part.is_empty())
                    && (part.is_empty() || digits(part));
                (!ok).then_some("deve essere un numero con il punto come separatore decimale")
            }
            Base::Base64 => (!is_base64(text)).then_some("deve essere codificato in base64"),
        }
    }

    fn out_of_bounds(&self, text: &str) -> Option<String> {
        let less = |one: &str, other: &str| match self.base {
            Base::Date => Date::parse(one) < Date::parse(other),
            _ => match (Decimal::from_str_exact(one), Decimal::from_str_exact(other)) {
                (Ok(one), Ok(other)) => one < other,
                // Longer than any decimal we hold: the sign decides.
                (Err(_), _) => one.starts_with('-'),
                (_, Err(_)) => !other.starts_with('-'),
            },
        };
        if let Some(min) = self.min.as_deref().filter(|min| less(text, min)) {
            return Some(format!("il minimo è {min}"));
        }
        if let Some(max) = self.max.as_deref().filter(|max| less(max, text)) {
            return Some(format!("il massimo è {max}"));
        }
        let digits = || {
            let digits = text.trim_start_matches(['-', '+', '0']);
            digits.bytes().filter(u8::is_ascii_digit).count()
        };
        let max = self.total_digits.filter(|max| digits() > *max)?;
        Some(format!("sono ammesse al massimo {max} cifre"))
    }
}

fn is_collapsed(text: &str) -> bool {
    !text.contains(['\t', '\n', '\r'])
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.contains("  ")
}

/// True for base64 with white space anywhere (XSD 1.0 part 2, section 3.2.16).
fn is_base64(text: &str) -> bool {
    let mut count = 0_usize;
    let mut padding = 0_usize;
    for byte in text.bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => count += 1,
            _ => return false,
        }
    }
    padding <= 2 && (count + padding).is_multiple_of(4) && (padding == 0 || count % 4 >= 2)
}

/// Says in words what a pattern of the invoices wants.
fn explain(pattern: &str, text: &str) -> String {
    let is_latin = pattern.contains("IsBasicLatin");
    if is_latin {
        let allowed =
            |c: &char| *c <= if pattern.contains("Latin-1") { '\u{FF}' } else { '\u{7F}' };
        if let Some(c) = text.chars().find(|c| !allowed(c)) {
            return format!("il carattere «{c}» non è ammesso: togliere o sostituire");
        }
        let bounds = pattern.rsplit_once('{').and_then(|(_, rest)| rest.split_once('}'));
        if let Some((min, max)) = bounds.and_then(|(bounds, _)| bounds.split_once(',')) {
            return format!("servono da {min} a {max} caratteri");
        }
    }
    match pattern {
        "[0-9]{1,3}\\.[0-9]{2}" => "deve essere una percentuale con due decimali, come 22.00",
        "[\\-]?[0-9]{1,11}\\.[0-9]{2}" => "deve essere un importo con due decimali, come 1234.50",
        "[\\-]?[0-9]{1,11}\\.[0-9]{2,8}" => "deve essere un importo con 2-8 decimali, come 12.50",
        "[0-9]{1,12}\\.[0-9]{2,8}" => "deve essere una quantità con 2-8 decimali, come 1.00",
        "[A-Z]{2}" => "servono due lettere maiuscole",
        "[A-Z]{3}" => "servono tre lettere maiuscole, come EUR",
        "[A-Z0-9]{6,7}" => "servono 6 caratteri (PA) o 7, lettere maiuscole e cifre",
        "[A-Z0-9]{7}" => "servono 7 caratteri, lettere maiuscole e cifre",
        "[A-Z0-9]{11,16}" => "servono da 11 a 16 caratteri, lettere maiuscole e cifre",
        "[0-9][0-9][0-9][0-9][0-9]" => "servono cinque cifre",
        _ => return format!("la forma ammessa è {pattern}"),
    }
    .to_owned()
}
