//! Tokenizers as their tokenizer.json describes them, by the reference implementation.

use std::str::FromStr;

use crate::ffi::{borrow_text, guard, Ids, Text};

pub struct Tokenizer(tokenizers::Tokenizer);

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
        let mut parsed = tokenizers::Tokenizer::from_str(json).map_err(|error| error.to_string())?;
        // A file may ask for cutting or padding, which its author wanted for training batches.
        parsed.with_truncation(None).map_err(|error| error.to_string())?;
        parsed.with_padding(None);
        tokenizer.write(Box::into_raw(Box::new(Tokenizer(parsed))));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_tokenizer_free(tokenizer: *mut Tokenizer) {
    drop(Box::from_raw(tokenizer));
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
            (*tokenizer).0.encode_fast(text, add_special_tokens).map_err(|error| error.to_string())?;
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
        if let Some(unknown) = ids.iter().find(|id| (*tokenizer).0.id_to_token(**id).is_none()) {
            return Err(format!("token {unknown} is not in the vocabulary"));
        }
        let decoded =
            (*tokenizer).0.decode(ids, skip_special_tokens).map_err(|error| error.to_string())?;
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
    borrow_text(token, token_size)
        .ok()
        .and_then(|token| (*tokenizer).0.token_to_id(token))
        .map_or(-1, i64::from)
}

#[no_mangle]
pub unsafe extern "C" fn salient_tokenizer_vocab_size(tokenizer: *const Tokenizer) -> u32 {
    (*tokenizer).0.get_vocab(true).values().max().map_or(0, |highest| highest + 1)
}
