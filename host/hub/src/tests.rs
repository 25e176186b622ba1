//! Tests against a local server that mimics the hub.

use super::*;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[derive(Clone, Default)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Sends only this many bytes of the body, then closes the connection.
    truncated: Option<usize>,
}

impl Reply {
    fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status: 200,
            body: body.into(),
            ..Reply::default()
        }
    }

    fn status(status: u16) -> Reply {
        Reply {
            status,
            ..Reply::default()
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

/// Replies by "METHOD /path", and a log of requests as "METHOD /path" or "METHOD /path +token".
#[derive(Clone)]
struct Server {
    url: String,
    replies: Arc<Mutex<BTreeMap<String, Reply>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server {
            url,
            replies: Arc::default(),
            log: Arc::default(),
        };
        let shared = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.answer(stream);
            }
        });
        server
    }

    fn set(&self, request: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(request.to_owned(), reply);
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap())
            .lines()
            .map_while(Result::ok);
        let Some(first) = lines.next() else { return };
        let request = first.rsplit_once(' ').unwrap().0.to_owned();
        let token = lines
            .take_while(|l| !l.is_empty())
            .any(|l| l.to_lowercase().starts_with("authorization: bearer secret"));
        self.log
            .lock()
            .unwrap()
            .push(format!("{request}{}", if token { " +token" } else { "" }));
        let reply = self
            .replies
            .lock()
            .unwrap()
            .get(&request)
            .cloned()
            .unwrap_or(Reply::status(404));
        let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", reply.body.len());
        let _ = stream.write_all(head.as_bytes());
        if !request.starts_with("HEAD") {
            let _ = stream.write_all(&reply.body[..reply.truncated.unwrap_or(reply.body.len())]);
        }
    }
}

fn weights(name: &str) -> Vec<u8> {
    let header = format!(r#"{{"{name}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[7]].concat()
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// A hub with one model. Large files are in a file storage on another port.
struct Hub {
    hub: Server,
    store: Server,
    cache: tempfile::TempDir,
}

impl Hub {
    fn new(large: &[(&str, Vec<u8>)], small: &[(&str, &str)]) -> Hub {
        let hub = Hub {
            hub: Server::start(),
            store: Server::start(),
            cache: tempfile::tempdir().unwrap(),
        };
        let names: Vec<&str> = large
            .iter()
            .map(|f| f.0)
            .chain(small.iter().map(|f| f.0))
            .chain(["README.md"])
            .collect();
        hub.list("main", COMMIT, &names);
        for (at, (name, text)) in small.iter().enumerate() {
            let path = format!("/a/b/resolve/{COMMIT}/{name}");
            let moved = format!("/api/resolve-cache/models/a/b/{COMMIT}/{name}");
            for method in ["GET", "HEAD"] {
                let head = Reply::status(307)
                    .with("Location", moved.clone())
                    .with("X-Repo-Commit", COMMIT);
                hub.hub.set(&format!("{method} {path}"), head);
                hub.hub.set(
                    &format!("{method} {moved}"),
                    Reply::ok(*text).with("ETag", format!("W/\"{at:040x}\"")),
                );
            }
        }
        for (name, bytes) in large {
            let path = format!("/a/b/resolve/{COMMIT}/{name}");
            let redirect = Reply::status(302)
                .with("Location", format!("{}/store/{name}?signature=1", hub.store.url))
                .with("X-Repo-Commit", COMMIT)
                .with("X-Linked-Size", bytes.len().to_string())
                .with("X-Linked-ETag", format!("\"{}\"", sha256(bytes)));
            hub.hub.set(&format!("HEAD {path}"), redirect.clone());
            hub.hub.set(&format!("GET {path}"), redirect);
            hub.store.set(
                &format!("GET /store/{name}?signature=1"),
                Reply::ok(bytes.clone()),
            );
        }
        hub
    }

    fn usual() -> Hub {
        Hub::new(
            &[("model.safetensors", weights("w"))],
            &[
                ("config.json", "{}"),
                ("preprocessor_config.json", "{\"size\":1}"),
            ],
        )
    }

    fn list(&self, revision: &str, commit: &str, names: &[&str]) {
        let siblings: Vec<_> = names.iter().map(|n| json!({"rfilename": n})).collect();
        let body = json!({"sha": commit, "siblings": siblings}).to_string();
        self.hub.set(
            &format!("GET /api/models/a/b/revision/{revision}"),
            Reply::ok(body),
        );
    }

    fn options(&self) -> HubOptions {
        HubOptions {
            endpoint: self.hub.url.clone(),
            cache: self.cache.path().join("hub"),
            offline: false,
            token: Some("secret".to_owned()),
            retry_wait: Duration::ZERO,
            timeout: Duration::from_secs(5),
        }
    }

    fn away(&self) -> HubOptions {
        // Nothing listens on a port that was just released.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        HubOptions {
            endpoint: format!("http://127.0.0.1:{port}"),
            ..self.options()
        }
    }

    fn resolve(&self, name: &str) -> Result<Resolved> {
        resolve(name, &self.options(), &|_| {})
    }

    /// All files and links in the cache.
    fn cached(&self) -> Vec<String> {
        fn walk(folder: &Path, into: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), into);
                } else {
                    into.push(entry.path().display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(self.cache.path(), &mut found);
        let root = format!("{}/hub/models--a--b/", self.cache.path().display());
        found.iter_mut().for_each(|f| *f = f.replace(&root, ""));
        found.sort();
        found
    }
}

/// The bytes of a file in the snapshot.
fn content(resolved: &Resolved, file: &str) -> Vec<u8> {
    std::fs::read(resolved.path.join(file)).unwrap()
}

#[test]
fn a_model_is_downloaded_into_the_hubs_own_layout() {
    let hub = Hub::usual();
    let told = Mutex::new(Vec::new());
    let resolved = resolve("a/b", &hub.options(), &|p| {
        told.lock().unwrap().push((p.file.to_owned(), p.done, p.total))
    })
    .unwrap();
    assert_eq!(resolved.commit.as_deref(), Some(COMMIT));
    assert!(
        resolved
            .path
            .ends_with(format!("hub/models--a--b/snapshots/{COMMIT}"))
    );
    let preprocessor = layout::read_json(&resolved.path.join("preprocessor_config.json")).unwrap();
    assert_eq!(preprocessor, json!({"size": 1}));
    assert_eq!(content(&resolved, "model.safetensors"), weights("w"));
    let sha = sha256(&weights("w"));
    let link = std::fs::read_link(resolved.path.join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(&sha));
    let mut expected = vec![
        format!("blobs/{:040x}", 0),
        format!("blobs/{:040x}", 1),
        format!("blobs/{sha}"),
        "refs/main".to_owned(),
        format!("snapshots/{COMMIT}/config.json"),
        format!("snapshots/{COMMIT}/model.safetensors"),
        format!("snapshots/{COMMIT}/preprocessor_config.json"),
    ];
    expected.sort();
    assert_eq!(hub.cached(), expected);
    let size = weights("w").len() as u64;
    assert_eq!(
        told.lock().unwrap().last().unwrap(),
        &("model.safetensors".to_owned(), size, Some(size))
    );
    // The token is sent to the hub, never to the storage.
    assert!(hub.hub.requests().iter().all(|r| r.ends_with(" +token")));
    assert_eq!(hub.store.requests(), ["GET /store/model.safetensors?signature=1"]);
}

#[test]
fn a_cached_model_is_not_fetched_again() {
    let hub = Hub::usual();
    let first = hub.resolve("a/b").unwrap();
    hub.hub.requests();
    assert_eq!(hub.resolve("a/b").unwrap(), first);
    assert_eq!(hub.hub.requests(), ["GET /api/models/a/b/revision/main +token"]);
    // A cached commit needs no request at all.
    let by_commit = hub.resolve(&format!("a/b@{COMMIT}")).unwrap();
    assert_eq!((by_commit.path, hub.hub.requests().len()), (first.path, 0));
}

#[test]
fn a_moved_branch_is_fetched_and_shares_unchanged_blobs() {
    let hub = Hub::usual();
    hub.resolve("a/b").unwrap();
    let (next, new) = ("f".repeat(40), weights("v"));
    hub.list("main", &next, &["config.json", "model.safetensors"]);
    let etag = |name: &str| {
        if name == "config.json" {
            format!("{:040x}", 0)
        } else {
            sha256(&new)
        }
    };
    for (name, bytes) in [
        ("config.json", b"{}".to_vec()),
        ("model.safetensors", new.clone()),
    ] {
        for method in ["HEAD", "GET"] {
            let reply = Reply::ok(bytes.clone()).with("ETag", etag(name));
            hub.hub
                .set(&format!("{method} /a/b/resolve/{next}/{name}"), reply);
        }
    }
    hub.hub.requests();
    let resolved = hub.resolve("a/b").unwrap();
    assert_eq!(content(&resolved, "model.safetensors"), weights("v"));
    assert!(
        !hub.hub
            .requests()
            .iter()
            .any(|r| r.starts_with("GET") && r.contains("config.json"))
    );
    assert_eq!(resolve("a/b", &hub.away(), &|_| {}).unwrap().commit, Some(next));
}

#[test]
fn without_network_the_cached_copy_is_used_with_a_note() {
    let hub = Hub::usual();
    let path = hub.resolve("a/b").unwrap().path;
    let away = resolve("a/b", &hub.away(), &|_| {}).unwrap();
    assert_eq!(away.path, path);
    assert!(away.note.unwrap().contains("could not be reached"));
    hub.hub.requests();
    let offline = HubOptions {
        offline: true,
        ..hub.options()
    };
    assert_eq!(resolve("a/b", &offline, &|_| {}).unwrap().path, path);
    assert_eq!(hub.hub.requests(), [""; 0]);
    // A server error is treated like a missing network.
    hub.hub
        .set("GET /api/models/a/b/revision/main", Reply::status(503));
    assert!(hub.resolve("a/b").unwrap().note.unwrap().contains("503"));
    assert_eq!(hub.hub.requests().len(), 3, "tried three times");
}

#[test]
fn without_network_and_cache_the_error_has_a_hint() {
    let hub = Hub::usual();
    let text = resolve("a/b", &hub.away(), &|_| {}).unwrap_err().to_string();
    assert!(
        text.contains("no folder `a/b`")
            && text.contains("could not be reached")
            && text.contains("HF_ENDPOINT"),
        "{text}"
    );
    let offline = HubOptions {
        offline: true,
        ..hub.options()
    };
    let text = resolve("a/b", &offline, &|_| {}).unwrap_err().to_string();
    assert!(
        text.contains("not in the cache") && text.contains("unset HF_HUB_OFFLINE"),
        "{text}"
    );
    assert_eq!(hub.cached(), [""; 0]);
}

#[test]
fn corrupt_downloads_never_enter_the_cache() {
    let hub = Hub::usual();
    let mut wrong = weights("w");
    *wrong.last_mut().unwrap() = 8;
    hub.store
        .set("GET /store/model.safetensors?signature=1", Reply::ok(wrong));
    let text = hub.resolve("a/b").unwrap_err().to_string();
    assert!(
        text.contains("model.safetensors") && text.contains("its SHA-256 is"),
        "{text}"
    );
    let mut longer = weights("w");
    longer.push(0);
    hub.store
        .set("GET /store/model.safetensors?signature=1", Reply::ok(longer));
    assert!(
        hub.resolve("a/b")
            .unwrap_err()
            .to_string()
            .contains("more than the")
    );
    // The connection breaks three times.
    let truncated = Reply {
        truncated: Some(10),
        ..Reply::ok(weights("w"))
    };
    hub.store.requests();
    hub.store
        .set("GET /store/model.safetensors?signature=1", truncated);
    let text = hub.resolve("a/b").unwrap_err().to_string();
    assert!(text.contains("was interrupted after 10"), "{text}");
    assert_eq!(hub.store.requests().len(), 3);
    let cached = hub.cached();
    assert!(
        !cached
            .iter()
            .any(|f| f.contains("model.safetensors") || f.contains(".tmp-") || f.contains("refs")),
        "{cached:?}"
    );
    let offline = HubOptions {
        offline: true,
        ..hub.options()
    };
    assert!(
        resolve("a/b", &offline, &|_| {}).is_err(),
        "a snapshot without weights is incomplete"
    );
    // The next try succeeds.
    hub.store.set(
        "GET /store/model.safetensors?signature=1",
        Reply::ok(weights("w")),
    );
    assert!(hub.resolve("a/b").is_ok());
}

#[test]
fn refusals_of_the_hub_have_a_hint() {
    let hub = Hub::usual();
    let listing = "GET /api/models/a/b/revision/main";
    let refusal = |reply: Reply, options: &HubOptions| {
        hub.hub.set(listing, reply);
        resolve("a/b", options, &|_| {}).unwrap_err().to_string()
    };
    let (with, without) = (
        hub.options(),
        HubOptions {
            token: None,
            ..hub.options()
        },
    );
    let missing = Reply::status(401).with("X-Error-Code", "RepoNotFound");
    let text = refusal(missing, &without);
    assert!(
        text.contains("neither a local folder nor a visible model") && text.contains("set HF_TOKEN"),
        "{text}"
    );
    assert!(refusal(Reply::status(401), &with).contains("the token was rejected"));
    assert!(refusal(Reply::status(403), &with).contains("has no read access"));
    let text = refusal(Reply::status(403).with("X-Error-Code", "GatedRepo"), &with);
    assert!(
        text.contains("accept its terms at") && text.contains("/a/b"),
        "{text}"
    );
    assert!(refusal(Reply::status(404), &with).contains("neither a local folder nor a visible model"));
    let text = refusal(Reply::status(404).with("X-Error-Code", "RevisionNotFound"), &with);
    assert!(text.contains("has no revision `main`"), "{text}");
    assert!(refusal(Reply::ok("<html>"), &with).contains("did not answer like a Hugging Face hub"));
    assert!(refusal(Reply::status(500), &with).contains("could not be reached: it answered 500"));
    let circle = Reply::status(302).with("Location", "/api/models/a/b/revision/main");
    assert!(refusal(circle, &with).contains("redirects endlessly"));
    assert_eq!(hub.cached(), [""; 0]);
}

#[test]
fn a_repository_with_only_pickles_is_refused_before_any_download() {
    let hub = Hub::new(&[], &[("config.json", "{}"), ("pytorch_model.bin", "x")]);
    let text = hub.resolve("a/b").unwrap_err().to_string();
    assert!(
        text.contains("pytorch_model.bin") && text.contains("AutoModel.from_pretrained(\"a/b\")"),
        "{text}"
    );
    assert_eq!(hub.cached(), [""; 0]);
    assert!(
        Hub::new(&[], &[("config.json", "{}")])
            .resolve("a/b")
            .unwrap_err()
            .to_string()
            .contains("no model.safetensors")
    );
}

#[test]
fn all_shards_are_downloaded() {
    let index = json!({"weight_map": {"v": "model-1.safetensors", "w": "model-2.safetensors"}}).to_string();
    let shards = [
        ("model-1.safetensors", weights("v")),
        ("model-2.safetensors", weights("w")),
    ];
    let hub = Hub::new(
        &shards,
        &[("config.json", "{}"), ("model.safetensors.index.json", &index)],
    );
    let resolved = hub.resolve("a/b").unwrap();
    for (file, bytes) in &shards {
        assert_eq!(content(&resolved, file), *bytes, "{file}");
    }
    std::fs::remove_file(resolved.path.join("model-2.safetensors")).unwrap();
    assert!(
        resolve("a/b", &hub.away(), &|_| {}).is_err(),
        "a shard is missing and the hub is unreachable"
    );
    assert!(hub.resolve("a/b").is_ok(), "the hub still has it");
}

#[test]
fn an_etag_cannot_escape_the_cache() {
    let hub = Hub::usual();
    for method in ["HEAD", "GET"] {
        let reply = Reply::ok("{}").with("ETag", "\"../../../../tmp/x\"");
        hub.hub
            .set(&format!("{method} /a/b/resolve/{COMMIT}/config.json"), reply);
    }
    assert!(
        hub.resolve("a/b")
            .unwrap_err()
            .to_string()
            .contains("no usable ETag")
    );
    assert_eq!(hub.cached(), [""; 0]);
}

#[test]
fn folders_take_precedence_and_invalid_names_are_reported() {
    let hub = Hub::usual();
    let folder = hub.cache.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    let name = folder.to_str().unwrap();
    assert_eq!(
        hub.resolve(name).unwrap(),
        Resolved {
            path: folder.clone(),
            commit: None,
            note: None
        }
    );
    std::fs::write(folder.join("best.pt"), "x").unwrap();
    assert!(
        hub.resolve(folder.join("best.pt").to_str().unwrap())
            .unwrap_err()
            .to_string()
            .contains("pickle")
    );
    for name in [
        "./x/y",
        "/no/such",
        "runs/a/last",
        "a",
        "",
        "a/b@",
        "a/b@../c",
        "a/../b",
        "a/.b",
        "a b/c",
        "~/x",
    ] {
        let text = hub.resolve(name).unwrap_err().to_string();
        assert!(
            text.contains("neither an existing folder nor a hub id"),
            "{name}: {text}"
        );
    }
    assert_eq!(hub.hub.requests(), [""; 0]);
}

#[test]
fn a_revision_may_be_a_tag_with_slashes() {
    let hub = Hub::usual();
    let listing = hub.hub.replies.lock().unwrap()["GET /api/models/a/b/revision/main"].clone();
    hub.hub.set("GET /api/models/a/b/revision/refs%2Fpr%2F1", listing);
    let path = hub.resolve("a/b@refs/pr/1").unwrap().path;
    assert!(hub.cached().contains(&"refs/refs/pr/1".to_owned()));
    assert_eq!(resolve("a/b@refs/pr/1", &hub.away(), &|_| {}).unwrap().path, path);
}

#[test]
fn environment_variables_are_read_like_the_hubs_tools_do() {
    let options = |set: &[(&str, &str)]| {
        HubOptions::from_variables(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    };
    let plain = options(&[("HOME", "/home/u")]);
    assert_eq!(plain.cache, Path::new("/home/u/.cache/huggingface/hub"));
    assert!(plain.endpoint.starts_with("https://") && !plain.offline && plain.token.is_none());
    assert_eq!(
        options(&[("HF_HOME", "/d"), ("HOME", "/h")]).cache,
        Path::new("/d/hub")
    );
    assert_eq!(
        options(&[("HF_HOME", "/d"), ("HF_HUB_CACHE", "/c")]).cache,
        Path::new("/c")
    );
    let all = options(&[
        ("HF_ENDPOINT", "http://x/"),
        ("HF_HUB_OFFLINE", "1"),
        ("HF_TOKEN", " t\n"),
    ]);
    assert_eq!(
        (all.endpoint.as_str(), all.offline, all.token.as_deref()),
        ("http://x", true, Some("t"))
    );
    assert!(!options(&[("HF_HUB_OFFLINE", "0")]).offline);
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("token"), "from-login\n").unwrap();
    let login = options(&[("HF_HOME", home.path().to_str().unwrap())]);
    assert_eq!(login.token.as_deref(), Some("from-login"));
}
