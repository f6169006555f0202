//! The page as PDF (ISO 32000-1), A4. Uses the Helvetica every reader has: the texts of an invoice are
//! Latin-1 by schema, so no font needs to be embedded; what WinAnsi lacks is shown as `?`.

use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str};

use super::{Page, Section, pages};
use crate::invoice::InvoiceFile;

const WIDTH: f32 = 595.0;
const HEIGHT: f32 = 842.0;
const MARGIN: f32 = 42.0;
const INNER: f32 = WIDTH - 2.0 * MARGIN;
/// Room kept for the foot of the page.
const FOOT: f32 = 56.0;
const PLAIN: Name<'static> = Name(b"F1");
const BOLD: Name<'static> = Name(b"F2");
/// Sheets of one file: a batch of thousands of lines stays a document that can be opened.
const SHEETS_MAX: usize = 2_000;

/// The invoices of a file as PDF.
#[must_use]
pub fn pdf(file: &InvoiceFile) -> Vec<u8> {
    let mut sheets = Sheets::default();
    for page in pages(file) {
        sheets.page(&page);
    }
    let foot =
        format!("{} - vista di cortesia, il documento fiscale è il file XML", file.file_name);
    sheets.finish(&foot)
}

/// A letter on as many sheets as it takes. The same letter gives the same bytes.
#[must_use]
pub fn letter(letter: &Letter) -> Vec<u8> {
    let mut sheets = Sheets::default();
    sheets.turn();
    for line in wrap(&letter.title, 16.0, true, INNER) {
        sheets.y -= 18.0;
        sheets.show(MARGIN, sheets.y, 16.0, BOLD, 0.1, &line);
    }
    sheets.y -= 8.0;
    sheets.rule(sheets.y, 2.0, [0.12, 0.37, 0.55]);
    sheets.y -= 4.0;
    for (heading, paragraphs) in &letter.sections {
        sheets.heading(heading);
        sheets.y -= 2.0;
        for text in paragraphs {
            sheets.paragraph(text);
            sheets.y -= 4.0;
        }
    }
    sheets.finish(&letter.foot)
}

/// Something in writing: a title, sections of paragraphs, and what stands below each sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The title.
    pub title: String,
    /// Headings, each with its paragraphs.
    pub sections: Vec<(String, Vec<String>)>,
    /// What stands below each sheet.
    pub foot: String,
}

#[derive(Default)]
struct Sheets {
    done: Vec<Content>,
    now: Option<Content>,
    /// Height left above the bottom edge.
    y: f32,
}

impl Sheets {
    fn turn(&mut self) {
        self.done.extend(self.now.take());
        self.now = Some(Content::new());
        self.y = HEIGHT - MARGIN;
    }

    /// Makes sure that this much height is left; tells whether a new sheet was begun.
    fn room(&mut self, height: f32) -> bool {
        if self.now.is_none() || self.y - height < FOOT {
            self.turn();
            return true;
        }
        false
    }

    fn show(&mut self, x: f32, y: f32, size: f32, font: Name<'_>, grey: f32, text: &str) {
        let Some(content) = &mut self.now else { return };
        content.begin_text().set_font(font, size);
        content.set_fill_gray(grey).next_line(x, y).show(Str(&win_ansi(text))).end_text();
    }

    fn rule(&mut self, y: f32, width: f32, colour: [f32; 3]) {
        let Some(content) = &mut self.now else { return };
        content.save_state().set_stroke_rgb(colour[0], colour[1], colour[2]).set_line_width(width);
        content.move_to(MARGIN, y).line_to(WIDTH - MARGIN, y).stroke().restore_state();
    }

    fn page(&mut self, page: &Page) {
        self.turn();
        for line in wrap(&page.title, 17.0, true, INNER - 90.0) {
            self.y -= 18.0;
            self.show(MARGIN, self.y, 17.0, BOLD, 0.1, &line);
        }
        let when = &page.subtitle;
        self.show(WIDTH - MARGIN - width(when, 11.0, false), self.y, 11.0, PLAIN, 0.35, when);
        self.y -= 8.0;
        self.rule(self.y, 2.0, [0.12, 0.37, 0.55]);
        self.y -= 18.0;
        self.parties(page);
        self.facts(page);
        for section in &page.sections {
            self.section(section);
        }
        self.room(40.0);
        self.y -= 30.0;
        let (label, value) = &page.total;
        let text = format!("{label}: {value}");
        if let Some(content) = &mut self.now {
            content.save_state().set_fill_rgb(0.92, 0.95, 0.97);
            content.rect(MARGIN, self.y - 8.0, INNER, 26.0).fill_nonzero().restore_state();
        }
        let x = WIDTH - MARGIN - 10.0 - width(&text, 13.0, true);
        self.show(x, self.y, 13.0, BOLD, 0.1, &text);
        self.y -= 16.0;
        if !page.attachments.is_empty() {
            self.heading("Allegati");
            for (name, about) in &page.attachments {
                self.paragraph(&format!("{name} ({about})"));
            }
        }
    }

    fn parties(&mut self, page: &Page) {
        let half = INNER / 2.0 - 8.0;
        let top = self.y;
        let mut lowest = top;
        let sides =
            [("CEDENTE/PRESTATORE", &page.supplier), ("CESSIONARIO/COMMITTENTE", &page.buyer)];
        for (place, (role, lines)) in sides.into_iter().enumerate() {
            let x = if place == 0 { MARGIN } else { MARGIN + INNER / 2.0 + 8.0 };
            self.show(x, top, 7.5, BOLD, 0.4, role);
            let mut y = top;
            for (count, line) in lines.iter().enumerate() {
                let (size, font) = if count == 0 { (11.0, BOLD) } else { (9.0, PLAIN) };
                for part in wrap(line, size, count == 0, half).into_iter().take(3) {
                    y -= size + 3.5;
                    self.show(x, y, size, font, 0.1, &part);
                }
            }
            lowest = lowest.min(y);
        }
        self.y = lowest - 12.0;
    }

    fn facts(&mut self, page: &Page) {
        for (label, value) in &page.facts {
            for (place, part) in wrap(value, 9.0, false, INNER - 110.0).into_iter().enumerate() {
                self.room(13.0);
                self.y -= 12.5;
                if place == 0 {
                    self.show(MARGIN, self.y, 9.0, PLAIN, 0.4, label);
                }
                self.show(MARGIN + 110.0, self.y, 9.0, PLAIN, 0.1, &part);
            }
        }
    }

    fn heading(&mut self, title: &str) {
        self.room(52.0);
        self.y -= 24.0;
        self.show(MARGIN, self.y, 9.0, BOLD, 0.3, &title.to_uppercase());
    }

    fn paragraph(&mut self, text: &str) {
        for line in wrap(text, 9.0, false, INNER) {
            self.room(13.0);
            self.y -= 12.5;
            self.show(MARGIN, self.y, 9.0, PLAIN, 0.1, &line);
        }
    }

    fn section(&mut self, section: &Section) {
        self.heading(section.title);
        self.table_head(section);
        for row in &section.rows {
            let cells: Vec<Vec<String>> = row
                .iter()
                .zip(&section.columns)
                .map(|(cell, c)| wrap(cell, 8.5, false, INNER * f32::from(c.width) / 100.0 - 6.0))
                .collect();
            let lines = cells.iter().map(Vec::len).max().unwrap_or(0);
            for line in 0..lines {
                if self.room(12.0) {
                    self.table_head(section);
                }
                self.y -= 11.0;
                let mut x = MARGIN;
                for (cell, column) in cells.iter().zip(&section.columns) {
                    let room = INNER * f32::from(column.width) / 100.0;
                    if let Some(part) = cell.get(line) {
                        let shift = room - 4.0 - width(part, 8.5, false);
                        let at = if column.is_number { x + shift } else { x };
                        self.show(at, self.y, 8.5, PLAIN, 0.1, part);
                    }
                    x += room;
                }
            }
            self.y -= 3.5;
            self.rule(self.y, 0.4, [0.86, 0.89, 0.91]);
        }
    }

    fn table_head(&mut self, section: &Section) {
        self.y -= 13.0;
        let mut x = MARGIN;
        for column in &section.columns {
            let room = INNER * f32::from(column.width) / 100.0;
            let shift = room - 4.0 - width(column.title, 7.5, true);
            let at = if column.is_number { x + shift } else { x };
            self.show(at, self.y, 7.5, BOLD, 0.4, column.title);
            x += room;
        }
        self.y -= 4.0;
        self.rule(self.y, 0.8, [0.62, 0.69, 0.74]);
    }

    fn finish(mut self, foot: &str) -> Vec<u8> {
        self.done.extend(self.now.take());
        self.done.truncate(SHEETS_MAX);
        let count = self.done.len();
        let mut pdf = Pdf::new();
        let (catalog, tree, plain, bold, info) =
            (Ref::new(1), Ref::new(2), Ref::new(3), Ref::new(4), Ref::new(5));
        let id =
            |place: usize, part: i32| Ref::new(10 + 2 * i32::try_from(place).unwrap_or(0) + part);
        pdf.catalog(catalog).pages(tree);
        pdf.document_info(info).producer(pdf_writer::TextStr("Staffetta"));
        let kids = (0..count).map(|place| id(place, 0));
        pdf.pages(tree).kids(kids).count(i32::try_from(count).unwrap_or(i32::MAX));
        for (font, name) in [(plain, &b"Helvetica"[..]), (bold, &b"Helvetica-Bold"[..])] {
            pdf.type1_font(font)
                .base_font(Name(name))
                .encoding_predefined(Name(b"WinAnsiEncoding"));
        }
        for (place, mut content) in std::mem::take(&mut self.done).into_iter().enumerate() {
            let number = format!("{} / {count}", place + 1);
            for (x, text) in
                [(MARGIN, foot), (WIDTH - MARGIN - width(&number, 7.5, false), &*number)]
            {
                content.begin_text().set_font(PLAIN, 7.5);
                content.set_fill_gray(0.5).next_line(x, 30.0).show(Str(&win_ansi(text))).end_text();
            }
            pdf.stream(id(place, 1), &content.finish());
            let mut page = pdf.page(id(place, 0));
            page.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT)).parent(tree).contents(id(place, 1));
            page.resources().fonts().pair(PLAIN, plain).pair(BOLD, bold);
            page.finish();
        }
        pdf.finish()
    }
}

/// Text in the encoding of the fonts; WinAnsi is windows-1252.
fn win_ansi(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| match c {
            '€' => 0x80,
            '’' => 0x92,
            '–' => 0x96,
            c if c.is_control() => b' ',
            c => u8::try_from(u32::from(c)).unwrap_or(b'?'),
        })
        .collect()
}

/// Widths of Helvetica from the space to the tilde, in thousandths (Adobe font metrics).
#[rustfmt::skip]
const WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

/// Width of a text in points. Accented letters are as wide as the widest of their kind; bold adds a tenth.
fn width(text: &str, size: f32, is_bold: bool) -> f32 {
    let thousandths: u32 = text.chars().map(char_width).sum();
    let factor = if is_bold { 1.08 } else { 1.0 };
    u16::try_from(thousandths).map_or(f32::MAX, f32::from) / 1000.0 * size * factor
}

fn char_width(c: char) -> u32 {
    let place = u32::from(c).checked_sub(32).and_then(|place| usize::try_from(place).ok());
    let known = place.and_then(|place| WIDTHS.get(place)).map(|width| u32::from(*width));
    known.unwrap_or(if c.is_uppercase() { 722 } else { 556 })
}

fn wrap(text: &str, size: f32, is_bold: bool, room: f32) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if width(&longer, size, is_bold) <= room {
            line = longer;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            if !line.is_empty() && width(&format!("{line}{c}"), size, is_bold) > room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}
