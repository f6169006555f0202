//! Amounts and counts as people in Italy write them.

/// `1.234,56` from `1234.56`: as people in Italy write amounts.
pub fn amount(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, cents) = rest.split_once('.').unwrap_or((rest, ""));
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return text.to_owned();
    }
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push('.');
        }
        grouped.push(digit);
    }
    let cents = if cents.is_empty() { "00" } else { cents };
    format!("{sign}{grouped},{cents}")
}

/// `100.000`: a count as people in Italy write it.
pub fn thousands(count: usize) -> String {
    let text = amount(&count.to_string());
    text.strip_suffix(",00").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_counts_are_written_as_people_do() {
        assert_eq!(amount("1234567.5"), "1.234.567,5");
        assert_eq!(amount("-12.00"), "-12,00");
        assert_eq!(amount("100"), "100,00");
        assert_eq!(amount("molto"), "molto");
        assert_eq!((thousands(7), thousands(100_000)), ("7".into(), "100.000".into()));
    }
}
