//! Amounts as people in Italy write them, and their hundredths to be summed.

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

pub fn cents(text: &str) -> Option<i128> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, cents) = rest.split_once('.').unwrap_or((rest, "0"));
    let cents: String = format!("{cents}00").chars().take(2).collect();
    Some(sign * (whole.parse::<i128>().ok()? * 100 + cents.parse::<i128>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_do_and_summed_exactly() {
        assert_eq!(amount("1234567.5"), "1.234.567,5");
        assert_eq!(amount("-12.00"), "-12,00");
        assert_eq!(amount("100"), "100,00");
        assert_eq!(amount("molto"), "molto");
        assert_eq!(
            (cents("0.1"), cents("-12.34"), cents("7"), cents("x")),
            (Some(10), Some(-1234), Some(700), None)
        );
    }
}
