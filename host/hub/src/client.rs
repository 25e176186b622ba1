//! The part of the hub's HTTP protocol that is needed to download files.

use crate::HubId;

use crate::HubOptions;

use crate::Progress;
use cvhost::error::{Error, Kind};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;
use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::{Agent, Body};

/// Why a request or download failed.
#[derive(Debug)]
pub enum Failure {
    /// No network, or a server error. A cached copy can be used instead.
    Unreachable(String),
    /// An error that must be reported: a retry or an older copy would only hide it.
    Fatal(Box<Error>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Fatal(Box::new(error))
    }
}

/// The commit and files of a revision.
pub struct Listing {
    pub commit: String,
    /// Paths in the repository.
    pub files: BTreeSet<String>,
}

/// Metadata of a file on the hub.
pub struct About {
    /// The SHA-256 of a large file or the git blob id of a small one. Safe as a file name.
    pub etag: String,
    /// In bytes.
    pub size: Option<u64>,
}

const TRIES: u32 = 3;
const MAX_REDIRECTS: usize = 8;
const MAX_JSON: u64 = 64 << 20;

pub struct Client<'a> {
    agent: Agent,
    options: &'a HubOptions,
    id: &'a HubId,
}

/// A response, with headers that may come from any of the redirects before it.
struct Answer {
    response: Response<Body>,
    etag: Option<String>,
    size: Option<u64>,
    commit: Option<String>,
}

impl<'a> Client<'a> {
    pub fn new(options: &'a HubOptions, id: &'a HubId) -> Client<'a> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed by `request`: the token must not reach another host, and
            // headers of the first response are needed.
            .max_redirects(0)
            // Compression would change the sizes that are checked.
            .accept_encoding("identity")
            .user_agent(concat!("cvhost/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(options.timeout))
            .timeout_connect(Some(options.timeout))
            .timeout_recv_response(Some(options.timeout))
            .timeout_per_read(Some(options.timeout));
        // A local mirror is never behind a proxy.
        if authority(&options.endpoint).is_some_and(|a| a.starts_with("127.") || a.starts_with("localhost")) {
            config = config.proxy(None);
        }
        Client {
            agent: config.build().into(),
            options,
            id,
        }
    }

    /// Queries the revision's commit and its files.
    pub fn listing(&self) -> Result<Listing, Failure> {
        let HubId { repository, revision } = self.id;
        let url = format!(
            "{}/api/models/{repository}/revision/{}",
            self.options.endpoint,
            revision.replace('/', "%2F")
        );
        let mut answer = self.retried(|| self.request(Method::GET, &url))?;
        self.expect_ok(&answer, None)?;
        let reader = answer.response.body_mut().with_config().limit(MAX_JSON);
        let text = reader.read_to_string().map_err(unreachable)?;
        self.parse_listing(&text).ok_or_else(|| {
            Error::environment(format!("{url} did not answer like a Hugging Face hub"))
                .with_expected("JSON with `sha` and `siblings`")
                .with_help("check HF_ENDPOINT, or whether a proxy answers in its place")
                .into()
        })
    }

    fn parse_listing(&self, text: &str) -> Option<Listing> {
        let listing: Value = serde_json::from_str(text).ok()?;
        let commit = listing
            .get("sha")?
            .as_str()
            .filter(|c| super::cache::is_commit(c))?
            .to_owned();
        let siblings = listing.get("siblings")?.as_array()?.iter();
        let files = siblings
            .filter_map(|s| Some(s.get("rfilename")?.as_str()?.to_owned()))
            .collect();
        Some(Listing { commit, files })
    }

    /// Queries the metadata of a file at a commit.
    pub fn about(&self, commit: &str, file: &str) -> Result<About, Failure> {
        let answer = self.retried(|| self.request(Method::HEAD, &self.file_url(commit, file)))?;
        if !answer.response.status().is_redirection() {
            self.expect_ok(&answer, Some(file))?;
        }
        if answer.commit.as_ref().is_some_and(|c| c != commit) {
            return Err(Error::input(format!(
                "the hub answered for commit {} instead of {commit}: {} changed in the meantime",
                answer.commit.unwrap_or_default(),
                self.id.repository
            ))
            .with_help("try again")
            .into());
        }
        let fits = |e: &String| {
            (1..=128).contains(&e.len()) && e.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        let etag = answer.etag.filter(fits).ok_or_else(|| {
            Error::environment(format!(
                "{} sent no usable ETag for {file}",
                self.options.endpoint
            ))
            .with_help("check HF_ENDPOINT, or whether a proxy answers in its place")
        })?;
        Ok(About {
            etag,
            size: answer.size,
        })
    }

    /// Downloads a file to `out`. Checks its size and, if the hub reports one, its SHA-256.
    pub fn download(
        &self,
        commit: &str,
        file: &str,
        about: &About,
        out: &mut File,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<(), Failure> {
        self.retried(|| {
            // Each try starts from an empty file.
            rewind(out).map_err(|e| cannot_write(file, &e))?;
            let answer = self.request(Method::GET, &self.file_url(commit, file))?;
            self.expect_ok(&answer, Some(file))?;
            let mut body = answer.response.into_body();
            let mut reader = body.with_config().limit(u64::MAX).reader();
            let mut hash = Sha256::new();
            let mut done = 0;
            let mut buffer = vec![0u8; 1 << 18];
            progress(Progress {
                file,
                done,
                total: about.size,
            });
            loop {
                let count = match reader.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(e) => {
                        return Err(Failure::Unreachable(format!(
                            "{file} was interrupted after {done} bytes: {e}"
                        )));
                    }
                };
                let piece = buffer.get(..count).unwrap_or_default();
                out.write_all(piece).map_err(|e| cannot_write(file, &e))?;
                hash.update(piece);
                done += count as u64;
                if about.size.is_some_and(|size| done > size) {
                    break;
                }
                progress(Progress {
                    file,
                    done,
                    total: about.size,
                });
            }
            self.verify(file, about, done, &format!("{:x}", hash.finalize()))
        })
    }

    fn verify(&self, file: &str, about: &About, size: u64, sha256: &str) -> Result<(), Failure> {
        if let Some(expected) = about.size {
            if size < expected {
                return Err(Failure::Unreachable(format!(
                    "{file} was interrupted after {size} of {expected} bytes"
                )));
            }
            if size > expected {
                return Err(self.corrupt(
                    file,
                    &format!("it has more than the {expected} bytes that the hub reports"),
                ));
            }
        }
        // Small files carry a git blob id instead, which is not a hash of the bytes alone.
        if about.etag.len() == 64 && !about.etag.eq_ignore_ascii_case(sha256) {
            return Err(self.corrupt(
                file,
                &format!("its SHA-256 is {sha256}, but the hub reports {}", about.etag),
            ));
        }
        Ok(())
    }

    fn corrupt(&self, file: &str, why: &str) -> Failure {
        Error::input(format!(
            "the download of {file} of {} is corrupt: {why}",
            self.id.repository
        ))
        .with_help(
            "nothing was stored; try again, and if it fails again, check for a proxy or mirror in between",
        )
        .into()
    }

    fn file_url(&self, commit: &str, file: &str) -> String {
        format!(
            "{}/{}/resolve/{commit}/{file}",
            self.options.endpoint, self.id.repository
        )
    }

    /// Repeats the action while the hub is unreachable, up to `TRIES` times in total.
    fn retried<T>(&self, mut action: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut wait = self.options.retry_wait;
        for _ in 1..TRIES {
            match action() {
                Err(Failure::Unreachable(_)) => std::thread::sleep(wait),
                result => return result,
            }
            wait = (wait * 2).min(Duration::from_secs(30));
        }
        action()
    }

    /// Sends a request and follows redirects. A HEAD request stops at the redirect to the hub's
    /// file storage.
    fn request(&self, method: Method, url: &str) -> Result<Answer, Failure> {
        let mut url = url.to_owned();
        let (mut etag, mut size, mut commit) = (None, None, None);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&method, &url)?;
            let status = response.status();
            if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
                return Err(Failure::Unreachable(format!("it answered {status}")));
            }
            let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
            let linked = header("x-linked-etag");
            let handed_over = linked.is_some();
            etag = etag
                .or(linked)
                .or_else(|| header("etag").filter(|_| !status.is_redirection()));
            size = size.or(header("x-linked-size"));
            commit = commit.or(header("x-repo-commit"));
            let next = header("location").filter(|_| status.is_redirection());
            match next {
                Some(next) if !(handed_over && method == Method::HEAD) => url = join(&url, &next)?,
                _ => {
                    size = size.or(header("content-length").filter(|_| !status.is_redirection()));
                    let etag = etag.map(|e| e.trim_start_matches("W/").trim_matches('"').to_owned());
                    return Ok(Answer {
                        response,
                        etag,
                        size: size.and_then(|s| s.parse().ok()),
                        commit,
                    });
                }
            }
        }
        Err(Error::environment(format!("{url} redirects endlessly"))
            .with_help("check HF_ENDPOINT, or whether a proxy answers in its place")
            .into())
    }

    fn send(&self, method: &Method, url: &str) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(method).uri(url);
        // The token is only sent to the hub: not to the storage it redirects to, and never in plain
        // text if the endpoint uses TLS.
        let to_hub = origin(url).is_some() && origin(url) == origin(&self.options.endpoint);
        if let Some(token) = self.options.token.as_ref().filter(|_| to_hub) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(()).map_err(|e| {
            Error::usage(format!("cannot send a request to {url}: {e}"))
                .with_help("check HF_ENDPOINT and HF_TOKEN")
        })?;
        self.agent.run(request).map_err(|e| match e {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                Error::usage(format!("cannot send a request to {url}: {e}"))
                    .with_help("check HF_ENDPOINT")
                    .into()
            }
            e => unreachable(e),
        })
    }

    /// Turns an error status into an error that says what the user can do.
    fn expect_ok(&self, answer: &Answer, file: Option<&str>) -> Result<(), Failure> {
        let status = answer.response.status();
        if status == StatusCode::OK {
            return Ok(());
        }
        let (hub, HubId { repository, revision }) = (&self.options.endpoint, self.id);
        let code = answer
            .response
            .headers()
            .get("x-error-code")
            .and_then(|c| c.to_str().ok())
            .unwrap_or_default();
        let sign_in = match self.options.token {
            Some(_) => "the token in use (HF_TOKEN or the hub login) has no read access: use one that has",
            None => "if it is private, set HF_TOKEN to a token with read access",
        };
        let error = match (status.as_u16(), code) {
            (_, "GatedRepo") => Error::input(format!(
                "{repository} is gated: its terms must be accepted first"
            ))
            .with_help(format!(
                "accept its terms at {hub}/{repository} and set HF_TOKEN to a token of that account"
            )),
            (404, "RevisionNotFound") => Error::input(format!(
                "{repository} on the hub has no revision `{revision}`; it may have been moved or removed"
            ))
            .with_help(format!("see {hub}/{repository}/tree/main, or omit `@{revision}`")),
            (404, _) if file.is_some() => Error::input(format!(
                "{repository} on the hub lists {} but doesn't have it",
                file.unwrap_or_default()
            ))
            .with_help("try again; the repository may have changed in the meantime"),
            (401, "") if self.options.token.is_some() => Error::input(format!(
                "{hub} answered 401 for {repository}: the token was rejected"
            ))
            .with_help("set HF_TOKEN to a valid token, or unset it for a public model"),
            (401 | 404, _) => Error::input(format!(
                "`{repository}` is neither a local folder nor a visible model on {hub} (it answered {status})"
            ))
            .with_help(format!("check the spelling; {sign_in}")),
            (403, _) => {
                Error::input(format!("{hub} forbids access to {repository} (403)")).with_help(sign_in)
            }
            _ => Error::environment(format!("{hub} answered {status} for {repository}"))
                .with_help("check HF_ENDPOINT, or whether a proxy answers in its place"),
        };
        Err(error.into())
    }
}

fn rewind(file: &mut File) -> std::io::Result<()> {
    use std::io::Seek;
    file.set_len(0)?;
    file.rewind()
}

fn unreachable(error: ureq::Error) -> Failure {
    Failure::Unreachable(error.to_string())
}

fn cannot_write(file: &str, error: &std::io::Error) -> Error {
    Error::io(
        Kind::Environment,
        "write to the hub cache",
        Path::new(file),
        error,
    )
    .with_help("free up disk space there, or set HF_HUB_CACHE to a writable folder")
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    Some((
        uri.scheme_str()?.to_owned(),
        uri.authority()?.as_str().to_ascii_lowercase(),
    ))
}

fn authority(url: &str) -> Option<String> {
    origin(url).map(|(_, authority)| authority)
}

/// The target of a redirect: absolute, or a path on the same host.
fn join(from: &str, to: &str) -> Result<String, Failure> {
    let absolute = to.starts_with("http://") || to.starts_with("https://");
    match origin(from) {
        _ if absolute => Ok(to.to_owned()),
        Some((scheme, authority)) if to.starts_with('/') && !to.starts_with("//") => {
            Ok(format!("{scheme}://{authority}{to}"))
        }
        Some((scheme, _)) if to.starts_with("//") => Ok(format!("{scheme}:{to}")),
        _ => Err(Error::environment(format!("{from} redirects to `{to}`, which is not a valid URL")).into()),
    }
}
