//! What Salient takes from the Rust ecosystem, behind the C ABI of `salient_rust.h`: tokenizers, chat templates,
//! downloads, hashes and archives.

mod archive;
mod digest;
mod ffi;
mod template;
mod tokenizer;
mod transport;
mod watch;
