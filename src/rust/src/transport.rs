//! Downloads over HTTP(S), archives and hashes.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::ffi::{borrow_text, guard, Text};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// For one read: a server that says nothing for this long is gone.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// For a whole request: what is fetched here are texts of a few megabytes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);

/// Called with bytes so far and in all (0 when unknown); false stops the download.
type Progress = extern "C" fn(context: *mut c_void, done: u64, total: u64) -> bool;

fn sentence(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Appends to what `path` holds already, where the server can go on from there; starts again where it cannot.
fn download(
    url: &str,
    path: &str,
    status: &mut u16,
    mut progress: impl FnMut(u64, u64) -> bool,
) -> Result<(), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(READ_TIMEOUT))
        .timeout_global(Some(REQUEST_TIMEOUT))
        .http_status_as_error(false)
        .user_agent(concat!("salient/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let have = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let mut response = request.call().map_err(sentence)?;
    *status = response.status().as_u16();
    let resumed = *status == 206;
    if !resumed && *status != 200 {
        if *status == 416 {
            std::fs::remove_file(path).map_err(sentence)?;
        }
        return Err(format!("the server answered {}", response.status()));
    }
    if resumed {
        let range = response.headers().get("Content-Range").and_then(|value| value.to_str().ok()).unwrap_or("");
        if !range.starts_with(&format!("bytes {have}-")) {
            return Err(format!("the server answered with the range \"{range}\", expected one from byte {have}"));
        }
    }
    let length = response.body().content_length().unwrap_or(0);
    let mut done = if resumed { have } else { 0 };
    let total = if length > 0 { done + length } else { 0 };
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(resumed)
        .truncate(!resumed)
        .open(path)
        .map_err(sentence)?;
    let mut reader = response.body_mut().with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = reader.read(&mut buffer).map_err(sentence)?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count]).map_err(sentence)?;
        done += count as u64;
        if !progress(done, total) {
            return Err("interrupted".to_string());
        }
    }
    if total > 0 && done < total {
        return Err(format!("the connection ended after {done} of {total} bytes"));
    }
    file.sync_all().map_err(sentence)
}

fn sha256(path: &str) -> Result<String, String> {
    let mut file = File::open(path).map_err(sentence)?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).map_err(sentence)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unzip_member(archive: &str, member: &str, path: &str) -> Result<(), String> {
    let mut zip = zip::ZipArchive::new(File::open(archive).map_err(sentence)?).map_err(sentence)?;
    let mut source = zip.by_name(member).map_err(|error| format!("member {member}: {error}"))?;
    let mut file = File::create(path).map_err(sentence)?;
    std::io::copy(&mut source, &mut file).map_err(sentence)?;
    file.sync_all().map_err(sentence)
}

/// # Safety
/// As in `salient_rust.h`; so for every function here.
#[no_mangle]
pub unsafe extern "C" fn salient_download(
    url: *const u8,
    url_size: usize,
    path: *const u8,
    path_size: usize,
    progress: Progress,
    context: *mut c_void,
    status: *mut u16,
    error: *mut Text,
) -> bool {
    guard(error, || {
        status.write(0);
        let (url, path) = (borrow_text(url, url_size)?, borrow_text(path, path_size)?);
        download(url, path, &mut *status, |done, total| progress(context, done, total))
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_sha256(
    path: *const u8,
    path_size: usize,
    digest: *mut Text,
    error: *mut Text,
) -> bool {
    guard(error, || {
        digest.write(sha256(borrow_text(path, path_size)?)?.into());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn salient_unzip_member(
    archive: *const u8,
    archive_size: usize,
    member: *const u8,
    member_size: usize,
    path: *const u8,
    path_size: usize,
    error: *mut Text,
) -> bool {
    guard(error, || {
        unzip_member(
            borrow_text(archive, archive_size)?,
            borrow_text(member, member_size)?,
            borrow_text(path, path_size)?,
        )
    })
}
