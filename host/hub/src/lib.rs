//! Resolves `model_name` to a folder: a local folder as is, or a hub id through the Hugging Face
//! cache, which is shared with other tools.
//!
//! Only the files of a model folder are downloaded. A file enters the cache complete and verified,
//! or not at all.

mod cache;
mod client;
pub mod layout;
mod options;

pub use options::HubOptions;

use cache::Cache;
use client::{Client, Failure};
use cvhost::error::{Error, Result};
use layout::{CONFIG, PREPROCESSOR, PROCESSOR, WEIGHTS, WEIGHTS_INDEX};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Progress of a download.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    pub file: &'a str,
    /// Bytes so far.
    pub done: u64,
    /// Total bytes, if the hub reports them.
    pub total: Option<u64>,
}

/// Where a `model_name` was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub path: PathBuf,
    /// The commit of the hub's repository; `None` for a folder.
    pub commit: Option<String>,
    /// A note for the user: the hub was unreachable and an older copy is used.
    pub note: Option<String>,
}

/// A repository on the hub and its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HubId {
    /// `owner/name`.
    repository: String,
    /// A branch, a tag or a commit.
    revision: String,
}

const DEFAULT_REVISION: &str = "main";

/// Resolves `model_name`: an existing folder, or `owner/name` or `owner/name@revision` on the hub.
///
/// Without network, or with `HF_HUB_OFFLINE=1`, the cached copy is used.
///
/// # Errors
/// The name is neither a folder nor a hub id; the repository is unknown, private or gated; there is
/// no network and no cached copy; a file's size or SHA-256 differs from what the hub reports; the
/// weights exist only as pickles. No partial download remains in the cache.
pub fn resolve(model_name: &str, options: &HubOptions, progress: &dyn Fn(Progress<'_>)) -> Result<Resolved> {
    let path = Path::new(model_name);
    if path.is_dir() {
        return Ok(Resolved {
            path: path.to_owned(),
            commit: None,
            note: None,
        });
    }
    if path.exists() {
        return Err(layout::not_a_folder(path));
    }
    let id = HubId::parse(model_name).ok_or_else(|| {
        Error::input(format!(
            "`{model_name}` is neither an existing folder nor a hub id"
        ))
        .with_expected("the path of a model folder, or owner/name or owner/name@revision on the hub")
    })?;
    let cache = Cache::new(options, &id);
    if options.offline {
        return match cache.snapshot() {
            Some((path, commit)) => Ok(Resolved {
                path,
                commit: Some(commit),
                note: None,
            }),
            None => Err(not_cached(model_name, &cache, "HF_HUB_OFFLINE is set").with_help(
                "unset HF_HUB_OFFLINE, or download the model on a machine with network access and \
                 copy its cache",
            )),
        };
    }
    // A commit is immutable: if it is cached, no request is needed.
    if let Some((path, commit)) = cache.snapshot().filter(|(_, commit)| *commit == id.revision) {
        return Ok(Resolved {
            path,
            commit: Some(commit),
            note: None,
        });
    }
    match download(&id, options, &cache, progress) {
        Ok((path, commit)) => Ok(Resolved {
            path,
            commit: Some(commit),
            note: None,
        }),
        Err(Failure::Fatal(error)) => Err(*error),
        Err(Failure::Unreachable(why)) => match cache.snapshot() {
            Some((path, commit)) => {
                let note = format!(
                    "{} could not be reached ({why}); using the cached copy of {}, commit {commit}",
                    options.endpoint, id.repository
                );
                Ok(Resolved {
                    path,
                    commit: Some(commit),
                    note: Some(note),
                })
            }
            None => Err(not_cached(
                model_name,
                &cache,
                &format!("{} could not be reached: {why}", options.endpoint),
            )
            .with_help("check the network, the proxy (HTTPS_PROXY) and HF_ENDPOINT, and try again")),
        },
    }
}

impl HubId {
    fn parse(text: &str) -> Option<HubId> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, DEFAULT_REVISION));
        let (owner, name) = repository.split_once('/')?;
        let part = |p: &str| {
            (1..=96).contains(&p.len())
                && p.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && !p.starts_with(['-', '.'])
                && !p.ends_with(['-', '.'])
                && !p.contains("..")
                && !p.contains("--")
        };
        let revision_fits = (1..=255).contains(&revision.len())
            && revision
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
            && revision.split('/').all(|p| !p.is_empty() && !p.starts_with('.'));
        (part(owner) && part(name) && revision_fits).then(|| HubId {
            repository: repository.to_owned(),
            revision: revision.to_owned(),
        })
    }
}

/// Downloads the files of the revision that aren't cached yet. Returns the snapshot folder and its
/// commit.
fn download(
    id: &HubId,
    options: &HubOptions,
    cache: &Cache,
    progress: &dyn Fn(Progress<'_>),
) -> Result<(PathBuf, String), Failure> {
    let client = Client::new(options, id);
    let listing = client.listing()?;
    let fetch = |file: &str| -> Result<PathBuf, Failure> {
        if let Some(path) = cache.file(&listing.commit, file) {
            return Ok(path);
        }
        let about = client.about(&listing.commit, file)?;
        if !cache.has_blob(&about.etag, about.size) {
            cache.add_blob(&about.etag, |out| {
                client.download(&listing.commit, file, &about, out, progress)
            })?;
        }
        Ok(cache.link(&listing.commit, file, &about.etag)?)
    };
    let has = |file: &str| listing.files.contains(file);
    if !has(CONFIG) {
        return Err(
            Error::input(format!("{} on the hub has no {CONFIG}", id.repository))
                .with_expected("a repository with config.json and model.safetensors")
                .into(),
        );
    }
    if !has(WEIGHTS) && !has(WEIGHTS_INDEX) {
        return Err(no_safetensors(id, &listing.files).into());
    }
    // The weights are fetched last, so a snapshot with weights has all the other files.
    for file in [CONFIG, PREPROCESSOR, PROCESSOR].into_iter().filter(|f| has(f)) {
        fetch(file)?;
    }
    if has(WEIGHTS) {
        fetch(WEIGHTS)?;
    } else {
        let index = fetch(WEIGHTS_INDEX)?;
        let shards: BTreeSet<String> = layout::read_index(&index)?
            .into_iter()
            .map(|(_, file)| file)
            .collect();
        for file in shards {
            fetch(&file)?;
        }
    }
    cache.remember(&listing.commit)?;
    Ok((cache.snapshot_folder(&listing.commit), listing.commit.clone()))
}

fn no_safetensors(id: &HubId, files: &BTreeSet<String>) -> Error {
    match files.iter().find(|f| layout::is_pickle(f)) {
        Some(pickle) => layout::pickle_refused(Path::new(&id.repository), pickle),
        None => Error::input(format!("{} on the hub has no {WEIGHTS}", id.repository))
            .with_expected("a repository with config.json and model.safetensors"),
    }
}

fn not_cached(model_name: &str, cache: &Cache, why: &str) -> Error {
    Error::input(format!(
        "there is no folder `{model_name}`, and the hub id is not in the cache at {}: {why}",
        cache.place().display()
    ))
}

#[cfg(test)]
mod tests;
