//! Hashes of files.

use std::fs::File;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::ffi::{borrow_text, guard, Text};

/// The digest of `prefix` and the file after it, in lower-case hexadecimal.
fn hash<D: Digest + std::io::Write>(path: &str, prefix: impl Fn(u64) -> String) -> Result<String, String> {
    let sentence = |error: std::io::Error| error.to_string();
    let mut file = File::open(path).map_err(sentence)?;
    let mut hasher = D::new();
    hasher.update(prefix(file.metadata().map_err(sentence)?.len()));
    std::io::copy(&mut file, &mut hasher).map_err(sentence)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// # Safety
/// As in `salient_rust.h`; so for every function here.
#[no_mangle]
pub unsafe extern "C" fn salient_sha256(
    path: *const u8,
    path_size: usize,
    digest: *mut Text,
    error: *mut Text,
) -> bool {
    guard(error, || {
        digest.write(hash::<Sha256>(borrow_text(path, path_size)?, |_| String::new())?.into());
        Ok(())
    })
}

/// What git calls a file: the SHA-1 of a line with its size, and its bytes.
#[no_mangle]
pub unsafe extern "C" fn salient_git_blob_id(
    path: *const u8,
    path_size: usize,
    id: *mut Text,
    error: *mut Text,
) -> bool {
    guard(error, || {
        id.write(hash::<Sha1>(borrow_text(path, path_size)?, |size| format!("blob {size}\0"))?.into());
        Ok(())
    })
}
