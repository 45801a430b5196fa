//! Chat templates, rendered as transformers' apply_chat_template renders them.

use std::fmt::Write as _;
use std::io;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::ser::{Formatter, Serializer};

use crate::ffi::{borrow_text, guard, Text};

/// A template is a stranger's program. This is thousands of times what a conversation needs, and about half a second.
const FUEL: u64 = 5_000_000;
const LARGEST_OUTPUT: usize = 64 << 20;

/// The layout of Python's json.dumps.
struct PythonFormatter {
    item_separator: String,
    key_separator: String,
    indent: Option<usize>,
    ensure_ascii: bool,
    depth: usize,
    is_empty: bool,
}

impl PythonFormatter {
    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.is_empty = true;
        writer.write_all(bracket)
    }
    fn begin_item<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(self.item_separator.as_bytes())?;
        }
        self.is_empty = false;
        self.break_line(writer)
    }
    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if !self.is_empty {
            self.break_line(writer)?;
        }
        self.is_empty = false;
        writer.write_all(bracket)
    }
    fn break_line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        match self.indent {
            Some(width) => write!(writer, "\n{:1$}", "", width * self.depth),
            None => Ok(()),
        }
    }
}

impl Formatter for PythonFormatter {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.begin_item(writer, first)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.begin_item(writer, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.key_separator.as_bytes())
    }
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        if !self.ensure_ascii {
            return writer.write_all(text.as_bytes());
        }
        for unit in text.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => writer.write_all(&[byte])?,
                _ => write!(writer, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}

/// transformers' own tojson: json.dumps without HTML escapes, by default with non-ASCII characters as they are.
fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::new(ErrorKind::BadSerialization, error.to_string());
    let indent = options.get::<Option<usize>>("indent")?.map(|width| width.min(64));
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    let (item_separator, key_separator) = match separators.as_deref() {
        None => ((if indent.is_some() { "," } else { ", " }).to_string(), ": ".to_string()),
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(wrong(&"tojson: separators should be two strings")),
    };
    let ensure_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let mut json = serde_json::to_value(value).map_err(|error| wrong(&error))?;
    if sort_keys {
        json.sort_all_objects();
    }
    let formatter =
        PythonFormatter { item_separator, key_separator, indent, ensure_ascii, depth: 0, is_empty: true };
    let mut bytes = Vec::new();
    serde::Serialize::serialize(&json, &mut Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|error| wrong(&error))?;
    String::from_utf8(bytes).map(Value::from_safe_string).map_err(|error| wrong(&error))
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: String) -> Result<String, Error> {
    let mut text = String::new();
    write!(text, "{}", chrono::Local::now().format(&format))
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: bad format {format}")))?;
    Ok(text)
}

/// Python's spelling of True, False and None where a template prints them.
fn print_as_python(out: &mut minijinja::Output, state: &minijinja::State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool => out.write_str(if value.is_true() { "True" } else { "False" }).map_err(Error::from),
        ValueKind::None => out.write_str("None").map_err(Error::from),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// transformers marks what the assistant wrote with {% generation %} blocks, which change nothing in the text: they
/// become blocks that are always taken, with their own whitespace control.
fn replace_generation_tags(source: &str) -> String {
    let mut result = String::with_capacity(source.len());
    let mut parts = source.split("{%");
    result.push_str(parts.next().unwrap_or_default());
    for part in parts {
        result.push_str("{%");
        let inside = part.split("%}").next().unwrap_or_default();
        match inside.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+') {
            "generation" => result.push_str(&part.replacen("generation", "if true", 1)),
            "endgeneration" => result.push_str(&part.replacen("endgeneration", "endif", 1)),
            _ => result.push_str(part),
        }
    }
    result
}

/// Takes at most LARGEST_OUTPUT bytes.
struct BoundedOutput(Vec<u8>);

impl io::Write for BoundedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One sentence for a template's failure: what raise_exception said, or what went wrong and in which line.
fn describe(error: &Error) -> String {
    match error.kind() {
        ErrorKind::OutOfFuel => "the template runs too long".to_string(),
        ErrorKind::WriteFailure => "the template's output is too long".to_string(),
        ErrorKind::InvalidOperation => error.detail().unwrap_or("an invalid operation").to_string(),
        _ => error.to_string(),
    }
}

/// The rules of transformers' environment.
fn new_environment<'source>() -> Environment<'source> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_formatter(print_as_python);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", tojson);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment
}

fn check(source: &str) -> Result<(), String> {
    let source = replace_generation_tags(source);
    new_environment().template_from_named_str("chat_template", &source).map_err(|error| describe(&error))?;
    Ok(())
}

fn render(source: &str, context_json: &str) -> Result<String, String> {
    let context: serde_json::Value = serde_json::from_str(context_json).map_err(|error| error.to_string())?;
    let environment = new_environment();
    let source = replace_generation_tags(source);
    let template =
        environment.template_from_named_str("chat_template", &source).map_err(|error| describe(&error))?;
    let mut output = BoundedOutput(Vec::new());
    template
        .render_captured_to(Value::from_serialize(&context), &mut output)
        .map_err(|error| describe(&error))?;
    String::from_utf8(output.0).map_err(|error| error.to_string())
}

/// # Safety
/// As in `salient_rust.h`; so for every function here.
#[no_mangle]
pub unsafe extern "C" fn salient_template_check(source: *const u8, source_size: usize, error: *mut Text) -> bool {
    guard(error, || check(borrow_text(source, source_size)?))
}

#[no_mangle]
pub unsafe extern "C" fn salient_template_render(
    source: *const u8,
    source_size: usize,
    context_json: *const u8,
    context_size: usize,
    text: *mut Text,
    error: *mut Text,
) -> bool {
    guard(error, || {
        let rendered = render(borrow_text(source, source_size)?, borrow_text(context_json, context_size)?)?;
        text.write(rendered.into());
        Ok(())
    })
}
