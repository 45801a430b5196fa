//! Chat templates, rendered as transformers' apply_chat_template renders them.

use std::fmt::Write as _;
use std::io;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use crate::ffi::{borrow_text, guard, Text};

/// A template is a stranger's program. This is thousands of times what a conversation needs, and about half a second.
const FUEL: u64 = 5_000_000;
const LARGEST_OUTPUT: usize = 64 << 20;

/// Python's json.dumps: ", " between items and ": " after keys.
struct PythonFormatter(CompactFormatter);

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
}

fn serialize(value: &Value, formatter: impl Formatter) -> Result<String, Error> {
    let mut bytes = Vec::new();
    serde::Serialize::serialize(value, &mut Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// transformers' own tojson: no HTML escapes, non-ASCII characters as they are.
fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let text = match indent {
        Some(width) => serialize(value, PrettyFormatter::with_indent(" ".repeat(width.min(64)).as_bytes()))?,
        None => serialize(value, PythonFormatter(CompactFormatter))?,
    };
    Ok(Value::from_safe_string(text))
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
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else { break };
        let inside = &rest[start + 2..start + length];
        let name = inside.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        result.push_str(&rest[..start + 2]);
        match name {
            "generation" => result.push_str(&inside.replace("generation", "if true")),
            "endgeneration" => result.push_str(&inside.replace("endgeneration", "endif")),
            _ => result.push_str(inside),
        }
        result.push_str("%}");
        rest = &rest[start + length + 2..];
    }
    result.push_str(rest);
    result
}

/// Takes at most LARGEST_OUTPUT bytes.
struct BoundedOutput(Vec<u8>);

impl io::Write for BoundedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_OUTPUT {
            return Err(io::Error::other("the template's output is too long"));
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
        ErrorKind::InvalidOperation => error.detail().unwrap_or("an invalid operation").to_string(),
        _ => error.to_string(),
    }
}

fn render(source: &str, context_json: &str) -> Result<String, String> {
    let context: serde_json::Value = serde_json::from_str(context_json).map_err(|error| error.to_string())?;
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
    let source = replace_generation_tags(source);
    environment.add_template("chat_template", &source).map_err(|error| describe(&error))?;
    let template = environment.get_template("chat_template").map_err(|error| describe(&error))?;
    let mut output = BoundedOutput(Vec::new());
    template
        .render_captured_to(Value::from_serialize(&context), &mut output)
        .map_err(|error| describe(&error))?;
    String::from_utf8(output.0).map_err(|error| error.to_string())
}

/// # Safety
/// As in `salient_rust.h`.
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
