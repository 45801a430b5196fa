//! HTTP(S): small answers into memory, files to disk, with redirects that keep a token to its own host.

use std::ffi::c_void;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, Uri};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector, TcpConnector};
use ureq::Body;

use crate::ffi::{borrow_text, guard, Text};
use crate::watch::{Progress, Watch, WatchingConnector};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const MOST_REDIRECTS: usize = 10;

// The salient_failure of `salient_rust.h`; 0 is the network's.
const FAILURE_OF_ANSWER: u8 = 1;
const FAILURE_OF_LOCAL_FILE: u8 = 2;

/// The request of `salient_rust.h`.
#[repr(C)]
pub struct CRequest {
    url: *const u8,
    url_size: usize,
    token: *const u8,
    token_size: usize,
    stall_milliseconds: u64,
    progress: Progress,
    context: *mut c_void,
}

/// The answer of `salient_rust.h`.
#[repr(C)]
pub struct CAnswer {
    status: u16,
    failure: u8,
    retry_after: u64,
    link: Text,
    error_code: Text,
    etag: Text,
    size: u64,
}

#[derive(Default)]
struct Answer {
    status: u16,
    failure: u8,
    retry_after: u64,
    link: String,
    error_code: String,
    etag: String,
    size: u64,
}

impl From<Answer> for CAnswer {
    fn from(answer: Answer) -> Self {
        CAnswer {
            status: answer.status,
            failure: answer.failure,
            retry_after: answer.retry_after,
            link: answer.link.into(),
            error_code: answer.error_code.into(),
            etag: answer.etag.into(),
            size: answer.size,
        }
    }
}

struct Request<'a> {
    url: &'a str,
    token: &'a str,
    watch: Arc<Watch>,
}

type Response = ureq::http::Response<Body>;

fn sentence(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn make_agent(watch: Arc<Watch>) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("salient/", env!("CARGO_PKG_VERSION")))
        .build();
    let connector = ()
        .chain(ConnectProxyConnector::default())
        .chain(TcpConnector::default())
        .chain(WatchingConnector(watch))
        .chain(RustlsConnector::default());
    ureq::Agent::with_parts(config, connector, DefaultResolver::default())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// Seconds from now; the header has them as a number or as a date.
fn retry_after(text: &str) -> u64 {
    if let Ok(seconds) = text.trim().parse() {
        return seconds;
    }
    let Ok(date) = chrono::DateTime::parse_from_rfc2822(text.trim()) else { return 0 };
    date.signed_duration_since(chrono::Utc::now()).num_seconds().try_into().unwrap_or(0)
}

/// A strong or weak entity tag without its quotes.
fn unquoted(etag: &str) -> &str {
    etag.trim().trim_start_matches("W/").trim_matches('"')
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Where a Location leads from `base`.
fn resolve(base: &Uri, location: &str) -> Result<Uri, String> {
    let scheme = base.scheme_str().unwrap_or("http");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let absolute = if location.contains("://") {
        location.to_string()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let target: Uri =
        absolute.parse().map_err(|_| format!("the server redirects to \"{location}\", which is no address"))?;
    match (scheme, target.scheme_str()) {
        ("https", Some("http")) => Err(format!("the server redirects from https to \"{location}\"")),
        (_, Some("http" | "https")) => Ok(target),
        _ => Err(format!("the server redirects to \"{location}\", expected http or https")),
    }
}

/// Sends a request and follows redirects. The token goes to the host that was asked for and to no other.
fn send(request: &Request, method: &str, from: u64, answer: &mut Answer) -> Result<Response, String> {
    let agent = make_agent(request.watch.clone());
    let first: Uri = request.url.parse().map_err(sentence)?;
    let mut url = first.clone();
    for _ in 0..=MOST_REDIRECTS {
        let mut builder = ureq::http::Request::builder().method(method).uri(url.clone());
        let same_host = url.scheme() == first.scheme() && url.authority() == first.authority();
        if same_host && !request.token.is_empty() {
            builder = builder.header("Authorization", format!("Bearer {}", request.token));
        }
        if from > 0 {
            builder = builder.header("Range", format!("bytes={from}-"));
        }
        let response = agent.run(builder.body(()).map_err(sentence)?).map_err(sentence)?;
        let headers = response.headers();
        answer.status = response.status().as_u16();
        answer.retry_after = retry_after(header(headers, "Retry-After"));
        answer.link = header(headers, "Link").to_string();
        answer.error_code = header(headers, "X-Error-Code").to_string();
        // A hub names the content of a large file where it redirects from, not where the file is.
        if answer.etag.is_empty() {
            answer.etag = unquoted(header(headers, "X-Linked-Etag")).to_string();
            answer.size = header(headers, "X-Linked-Size").parse().unwrap_or(0);
        }
        if !is_redirect(answer.status) {
            if answer.etag.is_empty() {
                answer.etag = unquoted(header(headers, "ETag")).to_string();
                answer.size = header(headers, "Content-Length").parse().unwrap_or(0);
            }
            return Ok(response);
        }
        let location = header(headers, "Location");
        answer.failure = FAILURE_OF_ANSWER;
        if location.is_empty() {
            return Err(format!("the server answered {} without saying where to", response.status()));
        }
        url = resolve(&url, location)?;
        answer.failure = 0;
    }
    answer.failure = FAILURE_OF_ANSWER;
    Err(format!("the server redirects more than {MOST_REDIRECTS} times"))
}

/// The body of an answer of at most `most_bytes`, as text. HEAD where that is 0.
fn get(request: &Request, most_bytes: u64, answer: &mut Answer) -> Result<String, String> {
    let mut response = send(request, if most_bytes == 0 { "HEAD" } else { "GET" }, 0, answer)?;
    if answer.status != 200 {
        return Err(format!("the server answered {}", response.status()));
    }
    let mut bytes = Vec::new();
    let reader = response.body_mut().with_config().limit(u64::MAX).reader();
    reader.take(most_bytes + 1).read_to_end(&mut bytes).map_err(sentence)?;
    if bytes.len() as u64 > most_bytes {
        answer.failure = FAILURE_OF_ANSWER;
        return Err(format!("the answer is larger than {most_bytes} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "the answer is not UTF-8".to_string())
}

/// Appends to what `path` holds already, where the server can go on from there; starts again where it cannot.
/// `expected` is the size of the whole file, 0 when it is not known.
fn download(request: &Request, path: &str, expected: u64, answer: &mut Answer) -> Result<(), String> {
    let have = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut response = send(request, "GET", have, answer)?;
    let resumed = answer.status == 206;
    if !resumed && answer.status != 200 {
        if answer.status == 416 {
            std::fs::remove_file(path).map_err(sentence)?;
        }
        return Err(format!("the server answered {}", response.status()));
    }
    if resumed {
        let range = header(response.headers(), "Content-Range");
        if !range.starts_with(&format!("bytes {have}-")) {
            return Err(format!("the server answered with the range \"{range}\", expected one from byte {have}"));
        }
    }
    let length = response.body().content_length();
    let mut done = if resumed { have } else { 0 };
    let total = length.map_or(expected, |length| done + length);
    if expected > 0 && total != expected {
        answer.failure = FAILURE_OF_ANSWER;
        return Err(format!("the server sends {total} bytes, expected {expected}"));
    }
    let mut local = |error: std::io::Error| {
        answer.failure = FAILURE_OF_LOCAL_FILE;
        format!("{path}: cannot be written: {error}")
    };
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(resumed)
        .truncate(!resumed)
        .open(path)
        .map_err(&mut local)?;
    let mut reader = response.body_mut().with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = reader.read(&mut buffer).map_err(sentence)?;
        if count == 0 {
            break;
        }
        done += count as u64;
        if total > 0 && done > total {
            return Err(format!("the server sends more than {total} bytes"));
        }
        file.write_all(&buffer[..count]).map_err(&mut local)?;
        if !request.watch.report(done, total) {
            return Err("interrupted".to_string());
        }
    }
    if total > 0 && done < total {
        return Err(format!("the connection ended after {done} of {total} bytes"));
    }
    file.sync_all().map_err(&mut local)
}

/// # Safety
/// As in `salient_rust.h`.
unsafe fn borrow_request<'a>(request: *const CRequest) -> Result<Request<'a>, String> {
    let request = &*request;
    let stall = Duration::from_millis(request.stall_milliseconds);
    Ok(Request {
        url: borrow_text(request.url, request.url_size)?,
        token: borrow_text(request.token, request.token_size)?,
        watch: Watch::new(request.progress, request.context, stall),
    })
}

/// # Safety
/// As in `salient_rust.h`; so for every function here.
#[no_mangle]
pub unsafe extern "C" fn salient_http_get(
    request: *const CRequest,
    most_bytes: u64,
    body: *mut Text,
    answer: *mut CAnswer,
    error: *mut Text,
) -> bool {
    let mut found = Answer::default();
    let done = guard(error, || {
        body.write(get(&borrow_request(request)?, most_bytes, &mut found)?.into());
        Ok(())
    });
    answer.write(found.into());
    done
}

#[no_mangle]
pub unsafe extern "C" fn salient_download(
    request: *const CRequest,
    path: *const u8,
    path_size: usize,
    expected_size: u64,
    answer: *mut CAnswer,
    error: *mut Text,
) -> bool {
    let mut found = Answer::default();
    let done = guard(error, || {
        download(&borrow_request(request)?, borrow_text(path, path_size)?, expected_size, &mut found)
    });
    answer.write(found.into());
    done
}
