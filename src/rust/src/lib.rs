//! What Salient takes from the Rust ecosystem, behind the C ABI of `salient_rust.h`: tokenizers, chat templates and
//! downloads.

mod ffi;
mod template;
mod tokenizer;
mod transport;
