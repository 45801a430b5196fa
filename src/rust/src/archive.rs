//! Texts out of archives: a member of a zip, a file behind gzip or zstd, a column of a Parquet table.

use std::fs::File;
use std::io::{BufWriter, Read, Write};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;

use crate::ffi::{borrow_text, guard, Text};

/// More than any text that is measured with; what unpacks to more is not one.
const MOST_BYTES: u64 = 4 << 30;

fn sentence(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn write_all(source: impl Read, path: &str) -> Result<(), String> {
    let mut file = File::create(path).map_err(sentence)?;
    let size = std::io::copy(&mut source.take(MOST_BYTES + 1), &mut file).map_err(sentence)?;
    if size > MOST_BYTES {
        return Err(format!("it unpacks to more than {MOST_BYTES} bytes"));
    }
    file.sync_all().map_err(sentence)
}

fn unzip_member(archive: &str, member: &str, path: &str) -> Result<(), String> {
    let mut zip = zip::ZipArchive::new(File::open(archive).map_err(sentence)?).map_err(sentence)?;
    let source = zip.by_name(member).map_err(|error| format!("member {member}: {error}"))?;
    write_all(source, path)
}

fn unpack(archive: &str, kind: &str, path: &str) -> Result<(), String> {
    let file = File::open(archive).map_err(sentence)?;
    match kind {
        "gzip" => write_all(flate2::read::MultiGzDecoder::new(file), path),
        "zstd" => write_all(zstd::stream::read::Decoder::new(file).map_err(sentence)?, path),
        _ => Err(format!("the archive kind {kind} is unknown, expected gzip or zstd")),
    }
}

/// What stands around each row in the file that a column becomes.
struct Rows<'a> {
    before: &'a str,
    after: &'a str,
    /// What an empty row becomes.
    empty: &'a str,
}

fn parquet_column(table: &str, column: &str, rows: &Rows, path: &str) -> Result<(), String> {
    let reader = SerializedFileReader::new(File::open(table).map_err(sentence)?).map_err(sentence)?;
    let schema = reader.metadata().file_metadata().schema();
    let Some(field) = schema.get_fields().iter().find(|field| field.name() == column) else {
        let names: Vec<_> = schema.get_fields().iter().map(|field| field.name()).collect();
        return Err(format!("has no column {column}, only {}", names.join(", ")));
    };
    let projection = Type::group_type_builder(schema.name())
        .with_fields(vec![field.clone()])
        .build()
        .map_err(sentence)?;
    let mut file = BufWriter::new(File::create(path).map_err(sentence)?);
    let mut size = 0;
    for (number, row) in reader.get_row_iter(Some(projection)).map_err(sentence)?.enumerate() {
        let row = row.map_err(sentence)?;
        let Some((_, Field::Str(text))) = row.get_column_iter().next() else {
            return Err(format!("row {number} of column {column} holds no text"));
        };
        let line = if text.is_empty() {
            rows.empty.to_string()
        } else {
            format!("{}{text}{}", rows.before, rows.after)
        };
        size += line.len() as u64;
        if size > MOST_BYTES {
            return Err(format!("it unpacks to more than {MOST_BYTES} bytes"));
        }
        file.write_all(line.as_bytes()).map_err(sentence)?;
    }
    let file = file.into_inner().map_err(sentence)?;
    file.sync_all().map_err(sentence)
}

/// # Safety
/// As in `salient_rust.h`; so for every function here.
#[no_mangle]
pub unsafe extern "C" fn salient_unzip_member(
    archive: *const u8,
    archive_size: usize,
    member: *const u8,
    member_size: usize,
    path: *const u8,
    path_size: usize,
    error: *mut Text,
) -> bool {
    guard(error, || {
        unzip_member(
            borrow_text(archive, archive_size)?,
            borrow_text(member, member_size)?,
            borrow_text(path, path_size)?,
        )
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_unpack(
    archive: *const u8,
    archive_size: usize,
    kind: *const u8,
    kind_size: usize,
    path: *const u8,
    path_size: usize,
    error: *mut Text,
) -> bool {
    guard(error, || {
        unpack(borrow_text(archive, archive_size)?, borrow_text(kind, kind_size)?, borrow_text(path, path_size)?)
    })
}

/// The rows of `salient_rust.h`.
#[repr(C)]
pub struct CRows {
    before: *const u8,
    before_size: usize,
    after: *const u8,
    after_size: usize,
    empty: *const u8,
    empty_size: usize,
}

#[no_mangle]
pub unsafe extern "C" fn salient_parquet_column(
    table: *const u8,
    table_size: usize,
    column: *const u8,
    column_size: usize,
    rows: *const CRows,
    path: *const u8,
    path_size: usize,
    error: *mut Text,
) -> bool {
    guard(error, || {
        let rows = &*rows;
        let rows = Rows {
            before: borrow_text(rows.before, rows.before_size)?,
            after: borrow_text(rows.after, rows.after_size)?,
            empty: borrow_text(rows.empty, rows.empty_size)?,
        };
        parquet_column(
            borrow_text(table, table_size)?,
            borrow_text(column, column_size)?,
            &rows,
            borrow_text(path, path_size)?,
        )
    })
}
