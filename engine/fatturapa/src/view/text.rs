//! The page as plain text, 100 columns, for a terminal.

use super::{Page, pages};
use crate::invoice::InvoiceFile;

const WIDTH: usize = 100;

/// The invoices of a file as text.
#[must_use]
pub fn text(file: &InvoiceFile) -> String {
    pages(file).iter().map(page).collect::<Vec<_>>().join("\n")
}

fn page(page: &Page) -> String {
    let mut out = format!("{} {}\n{}\n", clean(&page.title), page.subtitle, "=".repeat(WIDTH));
    let half = WIDTH / 2;
    out.push_str(&format!("{:<half$}{}\n", "CEDENTE/PRESTATORE", "CESSIONARIO/COMMITTENTE"));
    for place in 0..page.supplier.len().max(page.buyer.len()) {
        let side = |lines: &[String]| {
            let line = lines.get(place).map_or("", String::as_str);
            clean(line).chars().take(half - 2).collect::<String>()
        };
        out.push_str(format!("{:<half$}{}", side(&page.supplier), side(&page.buyer)).trim_end());
        out.push('\n');
    }
    out.push('\n');
    for (label, value) in &page.facts {
        out.push_str(&format!("{label:<24}{}\n", clean(value)));
    }
    for section in &page.sections {
        out.push_str(&format!("\n{}\n{}\n", section.title.to_uppercase(), "-".repeat(WIDTH)));
        let widths: Vec<usize> =
            section.columns.iter().map(|column| usize::from(column.width) * WIDTH / 100).collect();
        let titles: Vec<String> = section.columns.iter().map(|c| c.title.to_owned()).collect();
        for row in std::iter::once(&titles).chain(&section.rows) {
            let cells: Vec<Vec<String>> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| wrap(&clean(cell), width.saturating_sub(1).max(1)))
                .collect();
            for place in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
                let mut line = String::new();
                for ((cell, width), column) in cells.iter().zip(&widths).zip(&section.columns) {
                    let part = cell.get(place).map_or("", String::as_str);
                    let room = width.saturating_sub(1);
                    if column.is_number {
                        line.push_str(&format!("{part:>room$} "));
                    } else {
                        line.push_str(&format!("{part:<room$} "));
                    }
                }
                out.push_str(line.trim_end());
                out.push('\n');
            }
        }
    }
    let (label, value) = &page.total;
    out.push_str(&format!("\n{:>width$}\n", format!("{label}: {value}"), width = WIDTH - 1));
    if !page.attachments.is_empty() {
        out.push_str("\nALLEGATI\n");
        for (name, about) in &page.attachments {
            out.push_str(&format!("  {} ({})\n", clean(name), clean(about)));
        }
    }
    out
}

/// A stranger's text without control characters, which a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        while !word.is_empty() {
            let used = line.chars().count();
            let gap = usize::from(used > 0);
            if used + gap + word.len() <= width {
                if gap == 1 {
                    line.push(' ');
                }
                line.extend(word.drain(..));
            } else if used > 0 {
                lines.push(std::mem::take(&mut line));
            } else {
                lines.push(word.drain(..width.min(word.len())).collect());
            }
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}
