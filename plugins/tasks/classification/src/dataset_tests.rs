use super::*;
use cvhost_plugin_api::data::{RecordArgs, Severity};
use serde_json::{Value, json};

/// A temporary folder with files, and the arguments for opening it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[&str]) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        for file in files {
            folder.write(file, "");
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Arguments for a split whose images are in the folder of the same name; `annotations` is a
    /// file name or empty.
    fn args(&self, split: &str, annotations: &str, mut config: Value) -> OpenArgs {
        config["data"]["train_data_path"] = json!(self.path("train"));
        if self.path("train.csv").exists() {
            config["data"]["train_annotation_file"] = json!(self.path("train.csv"));
        }
        OpenArgs {
            split: split.to_owned(),
            images: self.path(split).display().to_string(),
            annotations: match annotations {
                "" => String::new(),
                name => self.path(name).display().to_string(),
            },
            config,
            checkpoint_classes: Vec::new(),
            ..OpenArgs::default()
        }
    }

    fn open(&self, split: &str, annotations: &str, config: Value) -> Result<ClassificationDataSet> {
        ClassificationDataSet::open(&self.args(split, annotations, config))
    }

    fn refusal(&self, split: &str, annotations: &str, config: Value) -> PluginError {
        self.open(split, annotations, config)
            .err()
            .expect("the dataset is rejected")
    }
}

fn names(data: &ClassificationDataSet) -> Vec<String> {
    data.spec().names.iter().map(ToString::to_string).collect()
}

fn warnings(data: &ClassificationDataSet) -> String {
    let problems = data.problems();
    assert!(problems.iter().all(|p| p.severity == Severity::WARNING));
    problems.iter().map(|p| format!("{}\n", p.message)).collect()
}

fn distribution(data: &ClassificationDataSet, index: usize) -> Vec<f32> {
    let record = data.record(&RecordArgs::at(index as u64)).unwrap();
    let array = record.fields.require("class_distribution").unwrap();
    array.values::<f32>().unwrap().to_vec()
}

const TWO: [&str; 4] = [
    "train/dog/b.png",
    "train/cat/2.PNG",
    "train/cat/deep/1.jpg",
    "train/cat/10.webp",
];

#[test]
fn class_folders_are_sorted_and_their_images_are_records() {
    let folder = Folder::with(&TWO);
    let data = folder.open("train", "", json!({})).unwrap();
    assert_eq!(names(&data), ["cat", "dog"]);
    assert_eq!(data.len(), 4);
    let record = data.record(&RecordArgs::at(0)).unwrap();
    assert_eq!(record.name, "cat/10.webp");
    assert_eq!(
        record.images[0].path,
        folder.path("train/cat/10.webp").display().to_string()
    );
    assert_eq!(record.fields.items[0].role, Role::DISTRIBUTION);
    assert_eq!(distribution(&data, 0), [1.0, 0.0]);
    assert_eq!(distribution(&data, 3), [0.0, 1.0]);
    assert_eq!(
        data.record(&RecordArgs::at(2))
            .unwrap()
            .fields
            .require("image")
            .unwrap()
            .as_text()
            .unwrap(),
        "cat/deep/1.jpg"
    );
    assert_eq!(data.meta(3).unwrap().classes.as_slice(), [1]);
    assert!(data.record(&RecordArgs::at(4)).is_err() && data.meta(4).is_err());
    let extra: Value = serde_json::from_str(&data.spec().extra).unwrap();
    assert_eq!(extra, json!({"multi_label": false, "class_counts": [3, 1]}));
    assert_eq!(data.spec().form, "classification/1");
    assert_eq!(warnings(&data), "");
}

#[test]
fn skipped_files_are_reported_with_counts() {
    let folder = Folder::with(&TWO);
    for file in [
        "train/.DS_Store",
        "train/cat/.hidden.png",
        "train/.git/x.png",
        "train/cat/notes.txt",
    ] {
        folder.write(file, "");
    }
    folder.write("train/readme.md", "");
    folder.write("train/loose.png", "");
    std::fs::create_dir_all(folder.path("train/cow/empty")).unwrap();
    std::os::unix::fs::symlink(".", folder.path("train/cat/loop")).unwrap();
    std::os::unix::fs::symlink("../dog/b.png", folder.path("train/cat/same.png")).unwrap();
    let data = folder.open("train", "", json!({})).unwrap();
    assert_eq!(names(&data), ["cat", "dog"]);
    assert_eq!(data.len(), 5);
    let messages = warnings(&data);
    for part in [
        "1 class folder without images: `cow`",
        "2 skipped (not an image by its name): cat/notes.txt, readme.md",
        "1 skipped (an image outside of a class folder): loose.png",
        "1 skipped (a link to a folder): cat/loop",
    ] {
        assert!(messages.contains(part), "no {part:?} in:\n{messages}");
    }
    assert!(
        !messages.contains("hidden") && !messages.contains("git"),
        "{messages}"
    );
}

#[test]
fn links_that_leave_the_folder_are_rejected() {
    let folder = Folder::with(&TWO);
    folder.write("outside/x.png", "");
    std::os::unix::fs::symlink("../../outside/x.png", folder.path("train/cat/x.png")).unwrap();
    std::os::unix::fs::symlink("../outside", folder.path("train/cow")).unwrap();
    let report = folder.refusal("train", "", json!({})).to_string();
    assert!(report.starts_with("2 problems in the train split"), "{report}");
    assert!(
        report.contains("cat/x.png is a link that leaves the folder; rejected"),
        "{report}"
    );
    assert!(
        report.contains("cow is a link that leaves the folder"),
        "{report}"
    );
}

#[test]
fn an_error_for_an_empty_split_lists_what_is_there() {
    let folder = Folder::with(&["val/loose.png"]);
    let error = folder.refusal("val", "", json!({}));
    assert_eq!(error.key, "data.val_data_path");
    assert!(error.message.contains("the val split has no images"), "{error}");
    assert!(
        error
            .to_string()
            .contains("(an image outside of a class folder): loose.png"),
        "{error}"
    );
    assert!(error.help.contains("data.val_annotation_file"));
    assert_eq!(folder.refusal("test", "", json!({})).key, "data.test_data_path");
    let mut args = folder.args("test", "", json!({}));
    args.images = String::new();
    assert_eq!(
        ClassificationDataSet::open(&args).err().unwrap().key,
        "data.test_data_path"
    );
    let json_file = folder.refusal("val", "labels.json", json!({}));
    assert_eq!(json_file.key, "data.val_annotation_file");
    assert!(
        json_file.message.contains("neither a .csv nor a .tsv file"),
        "{json_file}"
    );
}

#[test]
fn other_splits_have_the_training_numbers_even_if_classes_are_absent() {
    let folder = Folder::with(&["train/a/1.png", "train/b/1.png", "train/c/1.png", "val/c/1.png"]);
    std::fs::create_dir_all(folder.path("train/aa_empty")).unwrap();
    let data = folder.open("val", "", json!({})).unwrap();
    assert_eq!(names(&data), ["a", "b", "c"]);
    assert_eq!(distribution(&data, 0), [0.0, 0.0, 1.0]);
    assert!(
        warnings(&data).contains("no image of 2 of the 3 classes: `a`, `b`"),
        "{}",
        warnings(&data)
    );
    // A class that the training split lacks can't be learnt.
    folder.write("val/d/1.png", "");
    let report = folder.refusal("val", "", json!({})).to_string();
    assert!(
        report.contains("folder `d`: class `d` is not among the classes of the training data: `a`, `b`, `c`"),
        "{report}"
    );
    // Without training data, the split's own classes are used.
    std::fs::remove_dir_all(folder.path("train")).unwrap();
    assert_eq!(names(&folder.open("val", "", json!({})).unwrap()), ["c", "d"]);
}

#[test]
fn a_table_and_folders_can_be_mixed_between_splits() {
    let folder = Folder::with(&["train/1.png", "train/2.png", "train/3.png", "val/b/1.png"]);
    folder.write("train.csv", "file,class\n1.png,a|b\n2.png,b\n3.png,\n");
    let train = folder.open("train", "train.csv", json!({})).unwrap();
    assert_eq!(distribution(&train, 0), [1.0, 1.0]);
    assert_eq!(distribution(&train, 2), [0.0, 0.0]);
    assert_eq!(train.record(&RecordArgs::at(1)).unwrap().name, "line 3 (2.png)");
    let extra: Value = serde_json::from_str(&train.spec().extra).unwrap();
    assert_eq!(extra, json!({"multi_label": true, "class_counts": [1, 2]}));
    let val = folder.open("val", "", json!({})).unwrap();
    assert_eq!(names(&val), ["a", "b"]);
    let extra: Value = serde_json::from_str(&val.spec().extra).unwrap();
    assert_eq!(extra, json!({"multi_label": true, "class_counts": [0, 1]}));
}

#[test]
fn all_faults_of_a_table_are_in_one_report_with_their_lines() {
    let folder = Folder::with(&["train/a.png", "train/b.png", "out.png"]);
    std::os::unix::fs::symlink("../out.png", folder.path("train/out.png")).unwrap();
    folder.write(
        "train.csv",
        "image,label\na.png,cat\ngone.png,cat\n../out.png,cat\n/etc/hostname,cat\nout.png,cat\nb.png,\na.png,cat\nb.png\n",
    );
    let config = json!({"model": {"class_names": ["dog", "cow"]}});
    let report = folder.refusal("train", "train.csv", config).to_string();
    for part in [
        "train.csv",
        "line 3: ",
        "train/gone.png does not exist",
        "line 4: \"../out.png\" has `..` in it; rejected",
        "line 5: \"/etc/hostname\" is an absolute path; rejected",
        "line 6: \"out.png\" is a link that leaves the folder; rejected",
        "line 7: b.png has no label",
        "line 8: a.png already occurs in line 2",
        "line 9: 1 cells, but the header has 2",
        "line 2: class `cat` is not among the classes of `model.class_names`: `dog`, `cow`",
        "line 3: class `cat`, as above",
    ] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
    assert!(report.starts_with("13 problems in the train split"), "{report}");
}

#[test]
fn class_names_set_the_order_and_may_include_classes_without_images() {
    let folder = Folder::with(&TWO);
    let names_of = |list: Value| folder.open("train", "", json!({"model": {"class_names": list}}));
    let data = names_of(json!(["dog", "bird", "cat"])).unwrap();
    assert_eq!(names(&data), ["dog", "bird", "cat"]);
    assert_eq!(distribution(&data, 0), [0.0, 0.0, 1.0]);
    assert!(warnings(&data).contains("no image of 1 of the 3 classes: `bird`"));
    let error = names_of(json!(["dog"])).err().unwrap().to_string();
    assert!(
        error.contains("class `cat` is not among the classes of `model.class_names`: `dog`"),
        "{error}"
    );
    assert_eq!(
        names_of(json!(["dog", "cat", "dog"])).err().unwrap().key,
        "model.class_names"
    );
    assert_eq!(names_of(json!([])).err().unwrap().key, "model.class_names");
}

#[test]
fn an_error_for_a_wrong_class_count_names_the_key_and_the_classes() {
    let folder = Folder::with(&TWO);
    let error = folder.refusal("train", "", json!({"model": {"num_classes": 3}}));
    assert_eq!(error.key, "model.num_classes");
    assert_eq!(
        error.message,
        "`model.num_classes` is 3, but the train data have 2: `cat`, `dog`"
    );
    let config = json!({"model": {"num_classes": 3, "class_names": ["cat", "dog"]}});
    let error = folder.refusal("train", "", config);
    assert!(
        error.message.contains("is 3, but the `model.class_names` have 2"),
        "{error}"
    );
    assert!(
        folder
            .open("train", "", json!({"model": {"num_classes": 2}}))
            .is_ok()
    );
}

#[test]
fn a_checkpoint_with_all_classes_keeps_its_numbering() {
    let folder = Folder::with(&[&TWO[..], &["val/dog/1.png"]].concat());
    let open = |split: &str, config: Value, classes: &[&str]| {
        let mut args = folder.args(split, "", config);
        args.checkpoint_classes = classes.iter().map(ToString::to_string).collect();
        ClassificationDataSet::open(&args).unwrap()
    };
    let checkpoint = ["bird", "Dog", "cat"];
    for split in ["train", "val"] {
        let data = open(split, json!({}), &checkpoint);
        assert_eq!(names(&data), checkpoint, "{split}");
        assert_eq!(data.spec().ids.as_slice(), [-1, 1, 2]);
    }
    assert_eq!(
        distribution(&open("train", json!({}), &checkpoint), 0),
        [0.0, 0.0, 1.0]
    );
    // Only the validation classes are all in the checkpoint, not the training classes: both splits
    // use the training numbers.
    for split in ["train", "val"] {
        assert_eq!(names(&open(split, json!({}), &["dog", "bird"])), ["cat", "dog"]);
        let two = json!({"model": {"num_classes": 2}});
        assert_eq!(names(&open(split, two, &checkpoint)), ["cat", "dog"]);
    }
}

#[test]
fn multi_label_can_be_requested_and_a_single_class_is_reported() {
    let folder = Folder::with(&["train/cat/1.png"]);
    let data = folder
        .open("train", "", json!({"data": {"multi_label": true}}))
        .unwrap();
    assert!(data.spec().extra.contains(r#""multi_label":true"#));
    assert_eq!(warnings(&data), "");
    let data = folder.open("train", "", json!({})).unwrap();
    assert!(warnings(&data).contains("only one class, `cat`"));
}

#[test]
fn a_hundred_thousand_rows_are_read_in_little_memory_and_time() {
    let folder = Folder::with(&["train/x"]);
    let mut text = String::from("image,label\n");
    for i in 0..100_000 {
        text += &format!("some/folder/picture_{i:06}.png,class_{}\n", i % 100);
    }
    folder.write("train.csv", &text);
    let started = std::time::Instant::now();
    let found = table::read(&folder.path("train.csv"), None, "train").unwrap();
    assert_eq!(found.records.len(), 100_000);
    assert_eq!(found.records.counts(100), vec![1000; 100]);
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[test]
fn a_table_next_to_its_images_needs_no_key() {
    let folder = Folder::with(&["train/a.png", "train/b.png"]);
    folder.write(
        "train/_classes.csv",
        "filename, cat, dog\na.png, 1, 0\nb.png, 1, 1\n",
    );
    let data = folder.open("train", "", json!({})).unwrap();
    assert_eq!(names(&data), ["cat", "dog"]);
    assert_eq!(data.meta(1).unwrap().classes.as_slice(), [0, 1]);
    assert!(!warnings(&data).contains("data.format"));
}

#[test]
fn folders_and_a_table_in_one_place_cause_a_warning_and_can_be_chosen() {
    let folder = Folder::with(&["train/cat/a.png", "train/dog/b.png"]);
    folder.write("train/labels.csv", "image,label\ncat/a.png,x\ndog/b.png,y\n");
    let data = folder.open("train", "", json!({})).unwrap();
    assert_eq!(names(&data), ["cat", "dog"]);
    let messages = warnings(&data);
    assert!(
        messages.contains("used as classes, although") && messages.contains("`data.format`"),
        "{messages}"
    );
    let table = folder
        .open("train", "", json!({"data": {"format": "csv"}}))
        .unwrap();
    assert_eq!(names(&table), ["x", "y"]);
    let folders = folder
        .open("train", "", json!({"data": {"format": "folders"}}))
        .unwrap();
    assert!(!warnings(&folders).contains("data.format"));
    folder.write("mine.csv", "image,label\ncat/a.png,x\n");
    let both = folder.refusal("train", "mine.csv", json!({"data": {"format": "folders"}}));
    assert_eq!(both.key, "data.train_annotation_file");
    std::fs::remove_file(folder.path("train/labels.csv")).unwrap();
    let none = folder.refusal("train", "", json!({"data": {"format": "csv"}}));
    assert!(none.message.contains("contains no CSV file"), "{none}");
}

#[test]
fn a_repaired_table_has_only_the_valid_rows() {
    let folder = Folder::with(&["train/a.png", "train/b.png", "train/c.png", "train/d.png"]);
    let content = "\u{feff}image,label,note\r\n\r\n\"a.png\",cat,1\r\ngone.png,cat,2\r\na.png,cat,3\r\nb.png,dog,4\r\nb.png,cat,5\r\n\
                   ../x.png,cat,6\r\nc.png,\r\nc.png,,7\r\nd.png,dog,8";
    folder.write("train.csv", content);
    let args = folder.args("train", "train.csv", json!({}));
    let repaired = crate::repair::repair(&args).unwrap();
    assert!(
        repaired.files[0].path.ends_with("train.repaired.csv"),
        "{}",
        repaired.files[0].path
    );
    let text = std::str::from_utf8(&repaired.files[0].bytes).unwrap();
    assert_eq!(text, "image,label,note\r\n\r\n\"a.png\",cat,1\r\nd.png,dog,8");
    let messages: Vec<&str> = repaired.changes.iter().map(|c| c.as_str()).collect();
    for part in [
        "gone.png does not exist",
        "dropped: line 5: a.png already occurs in line 3",
        "line 7: b.png already occurs in line 6, with another label",
        "line 8: \"../x.png\" has `..` in it",
        "line 9: 2 cells, but the header has 3",
        "line 10: c.png has no label",
    ] {
        assert!(
            messages.iter().any(|line| line.contains(part)),
            "no {part:?} in {messages:#?}"
        );
    }
    assert_eq!(messages.len(), 6);
    folder.write("train.repaired.csv", text);
    assert_eq!(
        folder
            .open("train", "train.repaired.csv", json!({}))
            .unwrap()
            .len(),
        2
    );
    let good = crate::repair::repair(&folder.args("train", "train.repaired.csv", json!({}))).unwrap();
    assert!(good.changes.is_empty() && good.files[0].bytes.as_slice() == text.as_bytes());
    let folders = folder.args("train", "", json!({}));
    assert!(
        crate::repair::repair(&folders)
            .unwrap_err()
            .message
            .contains("class folders")
    );
}
