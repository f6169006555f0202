//! One Parquet file for each table, in a folder. Amounts are DECIMAL(30, 8), days DATE, moments
//! TIMESTAMP in microseconds of UTC.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{
        BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
        Int64Type,
    },
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};
use rust_decimal::Decimal;

use super::{ExportError, Kind, Sink, TABLES, Table, Value};

/// Rows kept before they are written together.
const GROUP_ROWS: usize = 10_000;
/// Decimals of an amount: FatturaPA has up to eight.
const SCALE: u32 = 8;

pub(super) struct Parquet {
    dir: PathBuf,
    files: Vec<(PathBuf, SerializedFileWriter<File>, Vec<Vec<Value>>)>,
}

impl Parquet {
    pub(super) fn create(dir: &Path) -> Result<Self, ExportError> {
        std::fs::create_dir_all(dir).map_err(ExportError::file(dir))?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let properties = Arc::new(properties);
        let mut files = Vec::new();
        for table in TABLES.iter() {
            let path = dir.join(format!(".{}.parquet.half", table.name));
            let file = File::create(&path).map_err(ExportError::file(&path))?;
            let writer = schema(table).and_then(|schema| {
                SerializedFileWriter::new(file, Arc::new(schema), Arc::clone(&properties))
            });
            let writer = writer.map_err(|error| failed(&path, &error))?;
            files.push((path, writer, Vec::new()));
        }
        Ok(Self { dir: dir.to_owned(), files })
    }
}

fn failed(path: &Path, error: &ParquetError) -> ExportError {
    ExportError::File { path: path.to_owned(), why: error.to_string() }
}

fn schema(table: &Table) -> Result<Type, ParquetError> {
    let mut fields = Vec::new();
    for (name, kind) in &table.columns {
        let (physical, logical) = match kind {
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Whole => (Physical::INT64, None),
            Kind::Truth => (Physical::BOOLEAN, None),
            Kind::Day => (Physical::INT32, Some(LogicalType::Date)),
            Kind::Moment => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
            Kind::Decimal => (Physical::FIXED_LEN_BYTE_ARRAY, None),
        };
        let mut field = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        if *kind == Kind::Decimal {
            let decimal = LogicalType::decimal(SCALE as i32, 30);
            field = field
                .with_logical_type(Some(decimal))
                .with_length(16)
                .with_precision(30)
                .with_scale(SCALE as i32);
        }
        fields.push(Arc::new(field.build()?));
    }
    Type::group_type_builder(table.name).with_fields(fields).build()
}

/// Writes `rows` as one group.
fn write(
    writer: &mut SerializedFileWriter<File>,
    table: &Table,
    rows: &[Vec<Value>],
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for (place, (_, kind)) in table.columns.iter().enumerate() {
        let Some(mut column) = group.next_column()? else { break };
        let cells = || rows.iter().map(|row| &row[place]);
        let levels: Vec<i16> = cells().map(|cell| i16::from(*cell != Value::Null)).collect();
        let levels = Some(levels.as_slice());
        match kind {
            Kind::Text => {
                let text = |cell: &Value| match cell {
                    Value::Text(text) => Some(ByteArray::from(text.as_str())),
                    _ => None,
                };
                let values: Vec<_> = cells().filter_map(text).collect();
                column.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
            }
            Kind::Whole | Kind::Moment => {
                let whole = |cell: &Value| match cell {
                    Value::Whole(number) | Value::Moment(number) => Some(*number),
                    _ => None,
                };
                let values: Vec<_> = cells().filter_map(whole).collect();
                column.typed::<Int64Type>().write_batch(&values, levels, None)?;
            }
            Kind::Truth => {
                let values: Vec<_> = cells()
                    .filter(|cell| **cell != Value::Null)
                    .map(|cell| *cell == Value::Truth(true))
                    .collect();
                column.typed::<BoolType>().write_batch(&values, levels, None)?;
            }
            Kind::Day => {
                let day = |cell: &Value| match cell {
                    Value::Day(days) => i32::try_from(*days).ok(),
                    _ => None,
                };
                let values: Vec<_> = cells().filter_map(day).collect();
                column.typed::<Int32Type>().write_batch(&values, levels, None)?;
            }
            Kind::Decimal => {
                let number = |cell: &Value| match cell {
                    Value::Decimal(number) => Some(scaled(*number)),
                    _ => None,
                };
                let values: Vec<_> = cells().filter_map(number).collect();
                column.typed::<FixedLenByteArrayType>().write_batch(&values, levels, None)?;
            }
        }
        column.close()?;
    }
    group.close().map(|_| ())
}

/// The number with [`SCALE`] decimals, big endian. An amount of the schema always fits: 21
/// characters, eight of them decimals.
fn scaled(number: Decimal) -> FixedLenByteArray {
    let mut number = number;
    number.rescale(SCALE);
    ByteArray::from(number.mantissa().to_be_bytes().to_vec()).into()
}

impl Sink for Parquet {
    fn row(&mut self, table: usize, row: Vec<Value>) -> Result<(), ExportError> {
        let (path, writer, rows) = &mut self.files[table];
        rows.push(row);
        if rows.len() >= GROUP_ROWS {
            write(writer, &TABLES[table], rows).map_err(|error| failed(path, &error))?;
            rows.clear();
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        for ((path, mut writer, rows), table) in self.files.into_iter().zip(TABLES.iter()) {
            if !rows.is_empty() {
                write(&mut writer, table, &rows).map_err(|error| failed(&path, &error))?;
            }
            let file = writer.into_inner().map_err(|error| failed(&path, &error))?;
            let whole = self.dir.join(format!("{}.parquet", table.name));
            file.sync_all()
                .and_then(|()| std::fs::rename(&path, &whole))
                .map_err(ExportError::file(&whole))?;
        }
        Ok(())
    }
}
