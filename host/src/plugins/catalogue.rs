//! The catalogue of plugin files: which were found, which are used, and which components they
//! provide.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use cvhost_plugin_api::note::{Component, Note};
use semver::Version;

use super::discover::{Folder, Origin, Search, files_in};
use super::{Facts, Host, Rejection, note, verify};
use crate::config::check::nearest;
use crate::error::{Error, Result};

/// One plugin file.
#[derive(Debug, Clone)]
pub struct Found {
    pub file: PathBuf,
    pub origin: Origin,
    /// The plugin's note, if it could be read.
    pub note: Option<Note>,
    pub facts: Option<Facts>,
    /// Why it is rejected, if it is.
    pub rejection: Option<Rejection>,
    /// The plugin used in its place: one from an earlier folder, or a higher version in the same
    /// folder.
    pub shadowed_by: Option<PathBuf>,
}

impl Found {
    /// Reads and checks one file.
    pub fn read(file: &Path, origin: Origin, host: &Host) -> Self {
        let mut found = Found {
            file: file.to_path_buf(),
            origin,
            note: None,
            facts: None,
            rejection: None,
            shadowed_by: None,
        };
        match note::read(file) {
            Err(rejection) => found.rejection = Some(rejection),
            Ok((note, facts)) => {
                found.rejection = verify::verify(&note, &facts, host).err();
                found.note = Some(note);
                found.facts = Some(facts);
            }
        }
        found
    }

    /// The note, if the plugin is used.
    pub fn usable(&self) -> Option<&Note> {
        self.note
            .as_ref()
            .filter(|_| self.rejection.is_none() && self.shadowed_by.is_none())
    }

    /// Whether the file is given on the command line.
    pub fn is_named(&self) -> bool {
        self.origin == Origin::PluginFile
    }

    fn version(&self) -> Option<Version> {
        self.note.as_ref().and_then(|n| Version::parse(&n.version).ok())
    }
}

/// All plugin files, in the order of their folders.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    pub found: Vec<Found>,
    pub folders: Vec<Folder>,
    /// Warnings for the user: shadowed plugins and missing folders.
    pub warnings: Vec<String>,
}

impl Catalogue {
    /// Collects the plugins of `search`. A rejected file doesn't affect the others.
    ///
    /// # Errors
    /// If a `--plugins-dir` doesn't exist, a folder can't be read or a `--plugin-file` is rejected.
    pub fn discover(search: &Search, host: &Host) -> Result<Self> {
        let mut catalogue = Catalogue {
            folders: search.folders.clone(),
            ..Catalogue::default()
        };
        let mut seen = HashSet::new();
        for file in &search.files {
            let found = Found::read(file, Origin::PluginFile, host);
            if let Some(rejection) = &found.rejection {
                return Err(rejected(file, rejection));
            }
            seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone()));
            catalogue.add(vec![found]);
        }
        for folder in &search.folders {
            if !folder.exists {
                catalogue.missing(folder)?;
                continue;
            }
            let mut group = Vec::new();
            for file in files_in(&folder.path)? {
                if !seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())) {
                    continue;
                }
                let found = Found::read(&file, folder.origin, host);
                // The build folder normally contains other libraries too.
                if found.note.is_some() || folder.origin != Origin::Build {
                    group.push(found);
                }
            }
            catalogue.add(group);
        }
        Ok(catalogue)
    }

    fn missing(&mut self, folder: &Folder) -> Result<()> {
        let path = folder.path.display();
        match folder.origin {
            Origin::PluginsDir => Err(Error::usage(format!(
                "--plugins-dir: the folder {path} does not exist"
            ))
            .with_expected("a folder with plugin files")),
            Origin::Environment => {
                self.warnings
                    .push(format!("CVHOST_PLUGIN_PATH: the folder {path} does not exist"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds the plugins of one folder. Of several with the same name the highest version is used; a
    /// plugin that an earlier folder provides is shadowed.
    fn add(&mut self, mut group: Vec<Found>) {
        let mut best: HashMap<String, (Option<Version>, PathBuf)> = HashMap::new();
        for found in group.iter().filter(|f| f.usable().is_some()) {
            let name = found.note.as_ref().map(|n| n.name.clone()).unwrap_or_default();
            let version = found.version();
            match best.get(&name) {
                Some((known, _)) if *known >= version => {}
                _ => {
                    best.insert(name, (version, found.file.clone()));
                }
            }
        }
        for found in group.iter_mut().filter(|f| f.rejection.is_none()) {
            let Some(note) = &found.note else { continue };
            let earlier = self.found.iter().find(|other| {
                other.usable().is_some_and(|n| n.name == note.name)
                    || (other.usable().is_some() && other.file.file_name() == found.file.file_name())
            });
            let higher = best.get(&note.name).filter(|(_, file)| *file != found.file);
            let (by, why) = match (earlier, higher) {
                (Some(other), _) => (other.file.clone(), "its folder comes first".to_owned()),
                (None, Some((version, file))) => {
                    let version = version.as_ref().map(Version::to_string).unwrap_or_default();
                    (
                        file.clone(),
                        format!("its version {version} is not lower than {}", note.version),
                    )
                }
                (None, None) => continue,
            };
            self.warnings.push(format!(
                "plugin {} {} ({}) is not used: {} is used instead because {why}",
                note.name,
                note.version,
                found.file.display(),
                by.display(),
            ));
            found.shadowed_by = Some(by);
        }
        self.found.append(&mut group);
    }

    /// The plugins in use.
    pub fn usable(&self) -> impl Iterator<Item = (&Found, &Note)> {
        self.found.iter().filter_map(|f| Some((f, f.usable()?)))
    }

    /// All components of one kind (`task`, `adapter`, `logger`) with the file that provides each.
    pub fn components<'a>(
        &'a self,
        kind: &str,
    ) -> impl Iterator<Item = (&'a Found, &'a Component)> + use<'a> {
        let all = self
            .usable()
            .flat_map(|(f, note)| note.components.iter().map(move |c| (f, c)));
        let kind = kind.to_owned();
        all.filter(move |(_, component)| component.kind == kind)
    }

    /// The component `name` of this kind; a file given on the command line takes precedence over
    /// discovered ones.
    ///
    /// # Errors
    /// If no plugin provides it, with the nearest name, the available names, or the rejected file
    /// that would provide it. If two plugins provide it, with both files.
    pub fn require(&self, kind: &str, name: &str) -> Result<(&Found, &Component)> {
        let mut all: Vec<_> = self.components(kind).filter(|(_, c)| c.name == name).collect();
        if all.iter().any(|(found, _)| found.is_named()) {
            all.retain(|(found, _)| found.is_named());
        }
        match (all.pop(), all.pop()) {
            (Some(one), None) => Ok(one),
            (Some((a, _)), Some((b, _))) => Err(Error::environment(format!(
                "two plugins provide the {kind} `{name}`: {} and {}",
                b.file.display(),
                a.file.display()
            ))
            .with_help("remove one of the two files")),
            (None, _) => Err(self.unknown(kind, name)),
        }
    }

    fn unknown(&self, kind: &str, name: &str) -> Error {
        let provides = |f: &&Found| {
            f.note
                .as_ref()
                .is_some_and(|n| n.components.iter().any(|c| c.kind == kind && c.name == name))
        };
        let broken = self.found.iter().filter(|f| f.rejection.is_some()).find(provides);
        if let Some((found, rejection)) = broken.and_then(|f| Some((f, f.rejection.as_ref()?))) {
            return rejected(&found.file, rejection).within(format!("the {kind} `{name}`"));
        }
        let mut names: Vec<&str> = self.components(kind).map(|(_, c)| c.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let error = Error::usage(format!("there is no {kind} `{name}`"));
        let error = match nearest(name, &names) {
            Some(close) => error.with_help(format!("did you mean `{close}`?")),
            None => error.with_help(
                "`cvhost plugin list` shows the plugins, `cvhost doctor` the folders that are searched",
            ),
        };
        if names.is_empty() {
            return error.with_expected(format!("a plugin that provides a {kind}; none was found"));
        }
        error.with_expected(format!("one of the available {kind}s: {}", names.join(", ")))
    }

    /// The adapter for a form and a checkpoint's `model_type`. `choice` is `model.adapter` and
    /// takes precedence. Of several that serve the pair, one from a file given on the command line
    /// wins over discovered ones.
    ///
    /// # Errors
    /// If none serves the pair, with the pairs that are served. If several do, with all files and
    /// how to choose.
    pub fn adapter(
        &self,
        form: &str,
        model_type: &str,
        choice: Option<&str>,
    ) -> Result<(&Found, &Component)> {
        if let Some(name) = choice {
            return self.require("adapter", name);
        }
        let serves = |c: &Component| {
            c.serves
                .iter()
                .any(|s| s.form == form && s.model_type == model_type)
        };
        let all: Vec<_> = self.components("adapter").filter(|(_, c)| serves(c)).collect();
        let named: Vec<_> = all.iter().filter(|(f, _)| f.is_named()).copied().collect();
        match if named.is_empty() { all } else { named }.as_slice() {
            [one] => Ok(*one),
            [] => Err(self.not_served(form, model_type)),
            several => {
                let files = several
                    .iter()
                    .map(|(f, c)| format!("`{}` from {}", c.name, f.file.display()));
                Err(
                    Error::environment(format!("several adapters serve `{model_type}` models for {form}"))
                        .with_details(files.collect())
                        .with_help(format!(
                            "choose one with model.adapter={} in the configuration or `--adapter` \
                             of predict, or give its file with --plugin-file",
                            several[0].1.name
                        )),
                )
            }
        }
    }

    fn not_served(&self, form: &str, model_type: &str) -> Error {
        let mut served: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pair in self.components("adapter").flat_map(|(_, c)| &c.serves) {
            served.entry(&pair.form).or_default().push(&pair.model_type);
        }
        let error = Error::environment(format!("no plugin serves `{model_type}` models for {form}"));
        let error = match served.get(form) {
            Some(types) => error.with_expected(format!(
                "a checkpoint whose `model_type` is one of: {}",
                types.join(", ")
            )),
            None => error.with_expected(format!("an adapter plugin for {form}; none was found")),
        };
        error.with_help(
            "`cvhost plugin list` shows the plugins; install one for this family, or \
                         choose another model_name",
        )
    }

    /// Finds plugins by plugin name, component name or file name.
    pub fn by_name(&self, name: &str) -> Vec<&Found> {
        let matches = |f: &&Found| {
            let file = f.file.file_name().is_some_and(|n| n == name);
            file || f
                .note
                .as_ref()
                .is_some_and(|n| n.name == name || n.components.iter().any(|c| c.name == name))
        };
        self.found.iter().filter(matches).collect()
    }
}

/// The error for a required file that was rejected.
fn rejected(file: &Path, rejection: &Rejection) -> Error {
    let missing = if fs::metadata(file).is_err() {
        "the file does not exist: "
    } else {
        ""
    };
    let mut error = Error::environment(format!(
        "plugin {}: {missing}{}",
        file.display(),
        rejection.reason
    ));
    if let Some(found) = &rejection.found {
        error.what = format!("{} (found {found})", error.what);
    }
    error.expected.clone_from(&rejection.expected);
    error.help.clone_from(&rejection.help);
    error
}
