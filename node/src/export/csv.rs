//! One CSV file (RFC 4180, UTF-8) for each table, in a folder.
//!
//! A cell of a stranger's text that a spreadsheet would take for a formula gets an apostrophe
//! before it, since an invoice may come from anybody; `--raw` leaves texts as they are.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use super::{ExportError, Sink, TABLES, Value, day_text, moment_text};

pub(super) struct Csv {
    dir: PathBuf,
    separator: char,
    raw: bool,
    files: Vec<(PathBuf, BufWriter<File>)>,
}

impl Csv {
    pub(super) fn create(dir: &Path, separator: char, raw: bool) -> Result<Self, ExportError> {
        std::fs::create_dir_all(dir).map_err(ExportError::file(dir))?;
        let mut files = Vec::new();
        for table in TABLES.iter() {
            let path = half(dir, table.name);
            let file = File::create(&path).map_err(ExportError::file(&path))?;
            let mut file = BufWriter::new(file);
            let names: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
            write!(file, "{}\r\n", names.join(&separator.to_string()))
                .map_err(ExportError::file(&path))?;
            files.push((path, file));
        }
        Ok(Self { dir: dir.to_owned(), separator, raw, files })
    }

    fn cell(&self, value: Value) -> String {
        match value {
            Value::Null => String::new(),
            Value::Text(text) => self.quoted(text),
            Value::Whole(number) => number.to_string(),
            Value::Decimal(number) => number.to_string(),
            Value::Day(days) => day_text(days),
            Value::Moment(micros) => moment_text(micros),
            Value::Truth(truth) => truth.to_string(),
        }
    }

    fn quoted(&self, mut text: String) -> String {
        if !self.raw && text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            text.insert(0, '\'');
        }
        if text.contains([self.separator, '"', '\r', '\n']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text
        }
    }
}

fn half(dir: &Path, table: &str) -> PathBuf {
    dir.join(format!(".{table}.csv.half"))
}

impl Sink for Csv {
    fn row(&mut self, table: usize, row: Vec<Value>) -> Result<(), ExportError> {
        let cells: Vec<_> = row.into_iter().map(|value| self.cell(value)).collect();
        let line = cells.join(&self.separator.to_string());
        let (path, file) = &mut self.files[table];
        write!(file, "{line}\r\n").map_err(ExportError::file(path))
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        for ((path, file), table) in self.files.into_iter().zip(TABLES.iter()) {
            let whole = self.dir.join(format!("{}.csv", table.name));
            file.into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|file| file.sync_all())
                .and_then(|()| std::fs::rename(&path, &whole))
                .map_err(ExportError::file(&whole))?;
        }
        Ok(())
    }
}
