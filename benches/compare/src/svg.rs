//! A plot as SVG: lines over two axes, both logarithmic, both named, each line named at its end.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 62.0;
/// Least distance between the names of two lines.
const NAME_PX: f64 = 16.0;

/// One line of a plot.
pub struct Series {
    /// As it is named.
    pub name: String,
    /// Points, in order.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// The horizontal axis, with its unit.
    pub x: String,
    /// The vertical axis, with its unit.
    pub y: String,
    /// Its lines.
    pub series: Vec<Series>,
}

/// The colour of a system, the same in every plot.
fn colour(name: &str) -> &'static str {
    match name.split_whitespace().next().unwrap_or_default() {
        "staffetta" => "#0a6b4b",
        "pouchdb" => "#c8374b",
        "syncthing" => "#1f77b4",
        "automerge-repo" => "#8a54b5",
        "samod" => "#d98e04",
        "iroh-docs" => "#7a5230",
        _ => "#777777",
    }
}

/// One of the two axes.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Whole decades around all values.
    fn around(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0) {
            low = low.min(value.log10());
            high = high.max(value.log10());
        }
        if !low.is_finite() {
            (low, high) = (0.0, 1.0);
        }
        let (low, high) = ((low - 0.05).floor(), (high + 0.05).ceil());
        Self { low, high: high.max(low + 1.0) }
    }

    fn share(&self, value: f64) -> f64 {
        (value.log10() - self.low) / (self.high - self.low)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}

/// A number as people write it: 1,000 or 0.01, with k and M where it is long.
fn number(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{}G", v / 1e9),
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{v}"),
    }
}

impl Plot {
    /// The text of the file.
    pub fn to_svg(&self) -> String {
        let all = || self.series.iter().flat_map(|series| &series.points);
        let (x, y) = (Axis::around(all().map(|p| p.0)), Axis::around(all().map(|p| p.1)));
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let at_x = |value: f64| LEFT + x.share(value) * (right - LEFT);
        let at_y = |value: f64| bottom - y.share(value) * (bottom - TOP);
        let mut svg = String::new();
        let mut put = |text: std::fmt::Arguments<'_>| {
            // Writing into memory does not fail.
            let _ = writeln!(svg, "{text}");
        };
        put(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13">"#
        ));
        put(format_args!(r##"<rect width="100%" height="100%" fill="#ffffff"/>"##));
        put(format_args!(
            r##"<text x="{LEFT}" y="26" font-size="16" font-weight="bold" fill="#222">{}</text>"##,
            self.title
        ));
        for value in y.decades() {
            let at = at_y(value);
            put(format_args!(
                r##"<line x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}" stroke="#dddddd"/><text x="{:.1}" y="{:.1}" text-anchor="end" fill="#444">{}</text>"##,
                LEFT - 8.0,
                at + 4.0,
                number(value)
            ));
        }
        for value in x.decades() {
            let at = at_x(value);
            put(format_args!(
                r##"<line x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{bottom}" stroke="#dddddd"/><text x="{at:.1}" y="{:.1}" text-anchor="middle" fill="#444">{}</text>"##,
                bottom + 20.0,
                number(value)
            ));
        }
        put(format_args!(
            r##"<rect x="{LEFT}" y="{TOP}" width="{:.1}" height="{:.1}" fill="none" stroke="#888888"/>"##,
            right - LEFT,
            bottom - TOP
        ));
        put(format_args!(
            r##"<text x="{:.1}" y="{:.1}" text-anchor="middle" fill="#222">{}</text>"##,
            (LEFT + right) / 2.0,
            HEIGHT - 16.0,
            self.x
        ));
        let middle = (TOP + bottom) / 2.0;
        put(format_args!(
            r##"<text x="20" y="{middle:.1}" text-anchor="middle" fill="#222" transform="rotate(-90 20 {middle:.1})">{}</text>"##,
            self.y
        ));
        let mut names: Vec<(f64, &Series)> = Vec::new();
        for series in &self.series {
            let ours = series.name.starts_with("staffetta");
            let (colour, stroke) = (colour(&series.name), if ours { 3.0 } else { 1.8 });
            let dash = if series.name.starts_with("floor") { "5 4" } else { "none" };
            let points: Vec<(f64, f64)> = series
                .points
                .iter()
                .filter(|point| point.0 > 0.0 && point.1 > 0.0)
                .map(|point| (at_x(point.0), at_y(point.1)))
                .collect();
            let Some(last) = points.last() else { continue };
            let path: Vec<String> =
                points.iter().map(|point| format!("{:.1},{:.1}", point.0, point.1)).collect();
            put(format_args!(
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="{stroke}" stroke-dasharray="{dash}"/>"#,
                path.join(" ")
            ));
            for point in &points {
                put(format_args!(
                    r#"<circle cx="{:.1}" cy="{:.1}" r="3.5" fill="{colour}"/>"#,
                    point.0, point.1
                ));
            }
            names.push((last.1, series));
        }
        // Names beside the ends of their lines, pushed apart where they would lie on each other.
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut next = TOP;
        for (at, series) in names {
            let at = at.max(next);
            next = at + NAME_PX;
            put(format_args!(
                r#"<text x="{:.1}" y="{:.1}" fill="{}">{}</text>"#,
                right + 10.0,
                at + 4.0,
                colour(&series.name),
                series.name
            ));
        }
        put(format_args!("</svg>"));
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_whole_decades_and_every_line_is_named() {
        let axis = Axis::around([3.0, 2000.0].into_iter());
        assert_eq!(axis.decades().collect::<Vec<_>>(), [1.0, 10.0, 100.0, 1000.0, 10000.0]);
        let series =
            |name: &str| Series { name: name.into(), points: vec![(1.0, 1.0), (9.0, 0.0)] };
        let plot = Plot {
            title: "t".into(),
            x: "documents".into(),
            y: "seconds".into(),
            series: vec![series("staffetta"), series("floor")],
        };
        let svg = plot.to_svg();
        for text in ["documents", "seconds", "staffetta</text>", "floor</text>"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
