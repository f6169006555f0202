//! One measurement as one line of JSON, and the median of several.

use serde_json::Value;

/// One measurement: labels that say what was done, and figures, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    labels: Vec<(&'static str, String)>,
    values: Vec<(String, f64)>,
}

impl Figures {
    /// A measurement of `scenario`.
    #[must_use]
    pub fn of(scenario: &str) -> Self {
        Self::default().label("scenario", scenario).label("system", "staffetta")
    }

    /// Adds a label, or says another.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "reads as a builder")]
    pub fn label(mut self, name: &'static str, value: impl ToString) -> Self {
        self.labels.retain(|(known, _)| *known != name);
        self.labels.push((name, value.to_string()));
        self
    }

    /// Adds a figure. The unit is in the name.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "reads as a builder")]
    pub fn with(mut self, name: impl ToString, value: impl Amount) -> Self {
        self.values.push((name.to_string(), value.amount()));
        self
    }

    /// The figure of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(here, _)| here == name).map(|(_, value)| *value)
    }

    /// Whether it is a measurement of the same kind.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.labels == other.labels
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self, run: &str) -> String {
        let run = [("run", run.to_owned())];
        let labels = self.labels.iter().chain(&run).map(|(name, text)| {
            let text = Value::from(text.as_str());
            format!("\"{name}\":{text}")
        });
        let values = self.values.iter().map(|(name, value)| {
            // A microsecond, a tenth of a per mille: what is beyond is noise.
            let value = (*value * 1e6).round() / 1e6;
            let value = if value.fract() == 0.0 && value.abs() < 1e15 {
                Value::from(value as i64)
            } else {
                Value::from(value)
            };
            format!("\"{name}\":{value}")
        });
        format!("{{{}}}", labels.chain(values).collect::<Vec<_>>().join(","))
    }

    /// The median of each figure of several runs of one kind.
    #[must_use]
    pub fn median(runs: &[Self]) -> Self {
        let mut median = runs.first().cloned().unwrap_or_default();
        for (name, value) in &mut median.values {
            let mut all: Vec<f64> = runs.iter().filter_map(|run| run.get(name)).collect();
            all.sort_by(f64::total_cmp);
            *value = all[all.len() / 2];
        }
        median
    }
}

/// What can be a figure.
pub trait Amount {
    /// As a number.
    fn amount(self) -> f64;
}

impl Amount for f64 {
    fn amount(self) -> f64 {
        self
    }
}

impl Amount for u64 {
    fn amount(self) -> f64 {
        self as f64
    }
}

/// Prints each run, then their median: what every scenario ends with.
pub fn print(runs: &[Figures]) {
    if runs.len() > 1 {
        println!("{}", Figures::median(runs).to_json("median"));
    }
}

/// The value below which `share` of `samples` lie. Sorts them.
#[must_use]
pub fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let at = ((samples.len() as f64 * share) as usize).min(samples.len().saturating_sub(1));
    samples.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_taken_figure_by_figure() {
        let run =
            |wall: f64, bytes: u64| Figures::of("x").with("wall_s", wall).with("bytes_up", bytes);
        let median = Figures::median(&[run(3.0, 1), run(1.0, 3), run(2.5, 2)]);
        assert_eq!((median.get("wall_s"), median.get("bytes_up")), (Some(2.5), Some(2.0)));
        assert!(median.to_json("median").contains("\"wall_s\":2.5"));
    }
}
