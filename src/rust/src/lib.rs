//! What Salient takes from the Rust ecosystem, behind the C ABI of `salient_rust.h`: tokenizers, chat templates,
//! grammars, downloads, hashes and archives.

mod archive;
mod digest;
mod ffi;
mod grammar;
mod template;
mod tokenizer;
mod transport;
mod watch;

// Its C functions are called from C++.
#[cfg(windows)]
use libsqlite3_sys as _;
