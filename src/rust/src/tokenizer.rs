//! Tokenizers as their tokenizer.json describes them, by the reference implementation.

use std::str::FromStr;

use crate::ffi::{borrow_text, guard, guard_value, Ids, Text};

pub struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    vocab_size: u32,
}

fn parse(json: &str) -> Result<Tokenizer, String> {
    let mut tokenizer = tokenizers::Tokenizer::from_str(json).map_err(|error| error.to_string())?;
    // A file may ask for cutting or padding, which its author wanted for training batches.
    tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
    tokenizer.with_padding(None);
    let highest = tokenizer.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
    let vocab_size = match highest {
        // The ids of tensors and of the C++ side are signed.
        Some((token, id)) if id >= i32::MAX as u32 => {
            return Err(format!("token \"{token}\" has the id {id}, expected less than {}", i32::MAX))
        }
        Some((_, id)) => id + 1,
        None => 0,
    };
    Ok(Tokenizer { tokenizer, vocab_size })
}

/// # Safety
/// As in `salient_rust.h`; so for every function here.
#[no_mangle]
pub unsafe extern "C" fn salient_tokenizer_new(
    json: *const u8,
    json_size: usize,
    tokenizer: *mut *mut Tokenizer,
    error: *mut Text,
) -> bool {
    guard(error, || {
        let json = borrow_text(json, json_size)?;
        tokenizer.write(Box::into_raw(Box::new(parse(json)?)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_tokenizer_free(tokenizer: *mut Tokenizer) {
    guard_value((), || drop(Box::from_raw(tokenizer)));
}

#[no_mangle]
pub unsafe extern "C" fn salient_tokenizer_encode(
    tokenizer: *const Tokenizer,
    text: *const u8,
    text_size: usize,
    add_special_tokens: bool,
    ids: *mut Ids,
    error: *mut Text,
) -> bool {
    guard(error, || {
        let text = borrow_text(text, text_size)?;
        let encoding =
            (*tokenizer).tokenizer.encode_fast(text, add_special_tokens).map_err(|error| error.to_string())?;
        ids.write(encoding.get_ids().to_vec().into());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_tokenizer_decode(
    tokenizer: *const Tokenizer,
    ids: *const u32,
    count: usize,
    skip_special_tokens: bool,
    text: *mut Text,
    error: *mut Text,
) -> bool {
    guard(error, || {
        let ids = if count == 0 { &[] } else { std::slice::from_raw_parts(ids, count) };
        let decoded =
            (*tokenizer).tokenizer.decode(ids, skip_special_tokens).map_err(|error| error.to_string())?;
        text.write(decoded.into());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_tokenizer_id_of(
    tokenizer: *const Tokenizer,
    token: *const u8,
    token_size: usize,
) -> i64 {
    guard_value(-1, || {
        borrow_text(token, token_size)
            .ok()
            .and_then(|token| (*tokenizer).tokenizer.token_to_id(token))
            .map_or(-1, i64::from)
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_tokenizer_vocab_size(tokenizer: *const Tokenizer) -> u32 {
    (*tokenizer).vocab_size
}
