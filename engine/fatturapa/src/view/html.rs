//! The page as one HTML file: styles inside, no script, nothing fetched, attachments as data to save.

use super::{Page, pages};
use crate::envelope;
use crate::invoice::InvoiceFile;
use crate::xml::{self, Tree};

const STYLE: &str = "\
:root{color-scheme:light}\
body{font:14px/1.45 system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;color:#1b2733;background:#eef1f4;margin:0}\
main{max-width:920px;margin:24px auto;background:#fff;padding:36px 44px;box-shadow:0 1px 4px #0002}\
main+main{page-break-before:always}\
header{display:flex;justify-content:space-between;align-items:baseline;border-bottom:3px solid #1f5f8b;padding-bottom:10px}\
h1{font-size:24px;margin:0}h2{font-size:13px;text-transform:uppercase;letter-spacing:.06em;color:#1f5f8b;margin:26px 0 6px}\
.when{color:#56646f;font-size:16px}\
.parties{display:grid;grid-template-columns:1fr 1fr;gap:20px;margin-top:18px}\
.party{border:1px solid #d5dce2;border-radius:4px;padding:12px 16px}.party h2{margin:0 0 4px}\
.party p{margin:0;overflow-wrap:anywhere}.party p:nth-of-type(1){font-weight:600;font-size:15px}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:18px 0 0}dt{color:#56646f}dd{margin:0;overflow-wrap:anywhere}\
table{width:100%;border-collapse:collapse;table-layout:fixed}\
th{font-weight:600;font-size:12px;color:#56646f;text-align:left;border-bottom:1px solid #9fb0bd;padding:4px 6px}\
td{padding:5px 6px;border-bottom:1px solid #e6ebef;vertical-align:top;overflow-wrap:anywhere}\
.n{text-align:right;font-variant-numeric:tabular-nums}\
.total{display:flex;justify-content:flex-end;gap:24px;margin-top:22px;padding:12px 16px;background:#eaf2f8;border-radius:4px;font-size:18px;font-weight:600}\
footer{margin-top:26px;color:#56646f;font-size:11px;border-top:1px solid #e6ebef;padding-top:8px}\
@media print{body{background:#fff}main{box-shadow:none;margin:0;padding:0;max-width:none}tr{break-inside:avoid}}\
@media(max-width:640px){main{padding:18px;margin:0}.parties{grid-template-columns:1fr}}";

/// The invoices of a file as HTML. With the original bytes, attachments can be saved from the page.
#[must_use]
pub fn html(file: &InvoiceFile, original: Option<&[u8]>) -> String {
    let pages = pages(file);
    let title = pages.first().map_or_else(String::new, |page| {
        format!("{} {} - {}", page.title, page.subtitle, file.supplier.name)
    });
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"it\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{}</title><style>{STYLE}</style></head><body>\n",
        escaped(&title)
    );
    let data = original.map(attachments).unwrap_or_default();
    for (place, page) in pages.iter().enumerate() {
        let own = data.get(place).map_or(&[][..], Vec::as_slice);
        write(&mut out, page, own, &file.file_name);
    }
    out.push_str("</body></html>\n");
    out
}

fn write(out: &mut String, page: &Page, data: &[String], file_name: &str) {
    out.push_str(&format!(
        "<main><header><h1>{}</h1><span class=\"when\">{}</span></header>\n<div class=\"parties\">",
        escaped(&page.title),
        escaped(&page.subtitle)
    ));
    let parties =
        [("Cedente/prestatore", &page.supplier), ("Cessionario/committente", &page.buyer)];
    for (role, lines) in parties {
        out.push_str(&format!("<section class=\"party\"><h2>{role}</h2>"));
        for line in lines {
            out.push_str(&format!("<p>{}</p>", escaped(line)));
        }
        out.push_str("</section>");
    }
    out.push_str("</div>\n<dl>");
    for (label, value) in &page.facts {
        out.push_str(&format!("<dt>{}</dt><dd>{}</dd>", escaped(label), escaped(value)));
    }
    out.push_str("</dl>\n");
    for section in &page.sections {
        out.push_str(&format!("<h2>{}</h2><table><colgroup>", escaped(section.title)));
        for column in &section.columns {
            out.push_str(&format!("<col style=\"width:{}%\">", column.width));
        }
        out.push_str("</colgroup><thead><tr>");
        for column in &section.columns {
            let class = if column.is_number { " class=\"n\"" } else { "" };
            out.push_str(&format!("<th{class}>{}</th>", escaped(column.title)));
        }
        out.push_str("</tr></thead><tbody>");
        for row in &section.rows {
            out.push_str("<tr>");
            for (cell, column) in row.iter().zip(&section.columns) {
                let class = if column.is_number { " class=\"n\"" } else { "" };
                out.push_str(&format!("<td{class}>{}</td>", escaped(cell)));
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table>\n");
    }
    let (label, value) = &page.total;
    out.push_str(&format!(
        "<div class=\"total\"><span>{}</span><span>{}</span></div>\n",
        escaped(label),
        escaped(value)
    ));
    if !page.attachments.is_empty() {
        out.push_str("<h2>Allegati</h2><ul>");
        for (place, (name, about)) in page.attachments.iter().enumerate() {
            let name = escaped(name);
            match data.get(place) {
                Some(base64) => out.push_str(&format!(
                    "<li><a download=\"{name}\" href=\"data:application/octet-stream;base64,{base64}\">{name}</a> ({})</li>",
                    escaped(about)
                )),
                None => out.push_str(&format!("<li>{name} ({})</li>", escaped(about))),
            }
        }
        out.push_str("</ul>\n");
    }
    out.push_str(&format!(
        "<footer>{} - Vista di cortesia: il documento fiscale è il file XML trasmesso al Sistema di Interscambio.</footer></main>\n",
        escaped(file_name)
    ));
}

/// The base64 of the attachments of each body, cleaned of whatever is not base64.
fn attachments(original: &[u8]) -> Vec<Vec<String>> {
    let read = || {
        let opened = envelope::open(original).ok()?;
        let decoded = xml::decode(&opened.content).ok()?;
        let tree = Tree::parse(&decoded.text).ok()?;
        let is_digit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        let bodies = tree.root().children().filter(|c| c.name() == "FatturaElettronicaBody");
        Some(
            bodies
                .map(|body| {
                    body.children()
                        .filter(|child| child.name() == "Allegati")
                        .map(|a| a.child("Attachment").map_or("", xml::Element::text))
                        .map(|text| text.chars().filter(is_digit).collect())
                        .collect()
                })
                .collect(),
        )
    };
    read().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
