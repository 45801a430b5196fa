//! Grammars that a reply must follow: JSON schemas, regular expressions and Lark grammars, by llguidance.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::token_bytes_from_tokenizer_json;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use crate::ffi::{borrow_text, guard, guard_value, Text};

/// The tokens of a model as the bytes they stand for.
pub struct Vocabulary {
    factory: ParserFactory,
    size: usize,
}

/// A grammar, and how far a reply has come in it.
pub struct Grammar {
    matcher: Matcher,
    start: Matcher,
    size: usize,
}

/// Vocabularies are used by several threads at once, and grammars by one after another.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    const fn handed_on<T: Send>() {}
    shared::<Vocabulary>();
    handed_on::<Grammar>();
};

fn make_vocabulary(json: &str, size: usize, end: u32) -> Result<Vocabulary, String> {
    let json = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let mut words = token_bytes_from_tokenizer_json(&json).map_err(|error| error.to_string())?;
    // A model may have more ids than its tokenizer, or, seldom, fewer.
    words.resize(size.max(end as usize + 1), Vec::new());
    let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words);
    let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let mut factory = ParserFactory::new_simple(&environment).map_err(|error| error.to_string())?;
    factory.quiet();
    Ok(Vocabulary { factory, size })
}

/// Some errors are diagrams of several lines.
fn in_one_line(error: &str) -> String {
    error.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn make_grammar(vocabulary: &Vocabulary, kind: &str, text: &str) -> Result<Grammar, String> {
    let grammar = TopLevelGrammar::from_tagged_str(kind, text).map_err(|error| in_one_line(&error.to_string()))?;
    let matcher = Matcher::new(vocabulary.factory.create_parser(grammar));
    if let Some(error) = matcher.get_error() {
        return Err(in_one_line(&error));
    }
    Ok(Grammar { start: matcher.deep_clone(), matcher, size: vocabulary.size })
}

/// # Safety
/// As in `salient_rust.h`; so for every function here.
#[no_mangle]
pub unsafe extern "C" fn salient_vocabulary_new(
    json: *const u8,
    json_size: usize,
    size: usize,
    end: u32,
    vocabulary: *mut *mut Vocabulary,
    error: *mut Text,
) -> bool {
    guard(error, || {
        let json = borrow_text(json, json_size)?;
        vocabulary.write(Box::into_raw(Box::new(make_vocabulary(json, size, end)?)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_vocabulary_free(vocabulary: *mut Vocabulary) {
    guard_value((), || drop(Box::from_raw(vocabulary)));
}

#[no_mangle]
pub unsafe extern "C" fn salient_grammar_new(
    vocabulary: *const Vocabulary,
    kind: *const u8,
    kind_size: usize,
    text: *const u8,
    text_size: usize,
    grammar: *mut *mut Grammar,
    error: *mut Text,
) -> bool {
    guard(error, || {
        let kind = borrow_text(kind, kind_size)?;
        let text = borrow_text(text, text_size)?;
        grammar.write(Box::into_raw(Box::new(make_grammar(&*vocabulary, kind, text)?)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_grammar_clone(grammar: *const Grammar) -> *mut Grammar {
    guard_value(std::ptr::null_mut(), || {
        let start = &(*grammar).start;
        Box::into_raw(Box::new(Grammar { matcher: start.deep_clone(), start: start.deep_clone(), size: (*grammar).size }))
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_grammar_free(grammar: *mut Grammar) {
    guard_value((), || drop(Box::from_raw(grammar)));
}

#[no_mangle]
pub unsafe extern "C" fn salient_grammar_allowed(
    grammar: *mut Grammar,
    allowed: *mut bool,
    error: *mut Text,
) -> bool {
    guard(error, || {
        let grammar = &mut *grammar;
        let mask = grammar.matcher.compute_mask_or_eos().map_err(|error| error.to_string())?;
        let allowed = std::slice::from_raw_parts_mut(allowed, grammar.size);
        for (token, allowed) in allowed.iter_mut().enumerate() {
            *allowed = mask.is_allowed(token as u32);
        }
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_grammar_accept(grammar: *mut Grammar, token: u32, error: *mut Text) -> bool {
    guard(error, || (*grammar).matcher.consume_token(token).map_err(|error| error.to_string()))
}

#[no_mangle]
pub unsafe extern "C" fn salient_grammar_rewind(grammar: *mut Grammar, tokens: usize, error: *mut Text) -> bool {
    guard(error, || (*grammar).matcher.rollback(tokens).map_err(|error| error.to_string()))
}

#[no_mangle]
pub unsafe extern "C" fn salient_grammar_restart(grammar: *mut Grammar) {
    guard_value((), || (*grammar).matcher = (*grammar).start.deep_clone());
}

#[no_mangle]
pub unsafe extern "C" fn salient_grammar_complete(grammar: *const Grammar) -> bool {
    guard_value(true, || (*grammar).matcher.is_stopped())
}
