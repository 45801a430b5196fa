//! The border to C: owned text and ids, and the guard every exported function runs in.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

/// Bytes on the way to C++, which gives them back to `salient_text_free`.
#[repr(C)]
pub struct Text {
    data: *mut u8,
    size: usize,
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        let bytes = text.into_bytes().into_boxed_slice();
        let size = bytes.len();
        Text { data: Box::into_raw(bytes).cast(), size }
    }
}

/// Token ids on the way to C++, which gives them back to `salient_ids_free`.
#[repr(C)]
pub struct Ids {
    data: *mut u32,
    size: usize,
}

impl From<Vec<u32>> for Ids {
    fn from(ids: Vec<u32>) -> Self {
        let ids = ids.into_boxed_slice();
        let size = ids.len();
        Ids { data: Box::into_raw(ids).cast(), size }
    }
}

/// # Safety
/// `text` came from this crate and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn salient_text_free(text: Text) {
    guard_value((), || drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(text.data, text.size))));
}

/// # Safety
/// `ids` came from this crate and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn salient_ids_free(ids: Ids) {
    guard_value((), || drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(ids.data, ids.size))));
}

/// UTF-8 text handed in by C++.
///
/// # Safety
/// `data` points at `size` readable bytes that outlive the result, or `size` is 0.
pub unsafe fn borrow_text<'a>(data: *const u8, size: usize) -> Result<&'a str, String> {
    if size == 0 {
        return Ok("");
    }
    std::str::from_utf8(std::slice::from_raw_parts(data, size))
        .map_err(|error| format!("the text is not UTF-8: byte {} is wrong", error.valid_up_to()))
}

/// Runs `body`; a panic ends here and becomes a sentence.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    // What the default hook would print is in the sentence.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default();
        format!("an internal error was caught: {text}")
    })
}

/// Runs `body`; its error, or a panic's message, becomes the sentence in `error`, and the result false.
///
/// # Safety
/// `error` is valid for writing.
pub unsafe fn guard(error: *mut Text, body: impl FnOnce() -> Result<(), String>) -> bool {
    match catch(body).and_then(|result| result) {
        Ok(()) => true,
        Err(message) => {
            error.write(message.into());
            false
        }
    }
}

/// For what has no way to report an error: a panic gives `otherwise`.
pub fn guard_value<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch(body).unwrap_or(otherwise)
}
