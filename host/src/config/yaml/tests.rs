use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

fn fault(text: &str) -> Fault {
    parse(text).unwrap_err().remove(0)
}

fn at(fault: &Fault) -> (usize, usize) {
    match fault.mark {
        Mark::File { line, column, .. } => (line, column),
        _ => panic!("no location: {fault:?}"),
    }
}

#[test]
fn values_keys_and_their_locations_are_read() {
    let node = parse("model:\n  name: 'x'\n  size: [1, 2.5]\n  \"quoted key\": null\n").unwrap();
    assert_eq!(
        node.to_json(),
        json!({"model": {"name": "x", "size": [1, 2.5], "quoted key": null}})
    );
    assert_eq!(
        node.at("model.size[1]").unwrap().mark,
        Mark::File {
            line: 3,
            column: 13,
            width: 3
        }
    );
    assert_eq!(
        node.mark_of("model.name"),
        Mark::File {
            line: 2,
            column: 3,
            width: 4
        }
    );
}

#[test]
fn columns_count_characters() {
    let node = parse("ключ: {б: 1, в: 2}\n").unwrap();
    assert_eq!(
        node.mark_of("ключ.в"),
        Mark::File {
            line: 1,
            column: 14,
            width: 1
        }
    );
}

#[test]
fn every_duplicate_key_is_reported() {
    let faults = parse("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n").unwrap_err();
    assert_eq!(faults.iter().map(at).collect::<Vec<_>>(), [(4, 3), (5, 1)]);
    assert!(faults[1].help.as_ref().unwrap().contains("line 1"));
}

#[test]
fn aliases_and_merge_keys_are_expanded() {
    let node = parse("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  p: 3\nc: *x\n").unwrap();
    let expected = json!({"a": {"p": 1, "q": 2}, "b": {"p": 3, "q": 2}, "c": {"p": 1, "q": 2}});
    assert_eq!(node.to_json(), expected);
}

#[test]
fn an_alias_inside_its_own_value_is_refused() {
    assert_eq!(at(&fault("a: &x\n  b: *x\n")), (2, 6));
}

#[test]
fn broken_yaml_is_reported_with_its_location() {
    for text in [
        "a: [1, 2\nb: 3\n",
        "a:\n\t- x\n",
        "a: 'x",
        "a: b: c",
        "? [a]\n: b",
        "--- a\n--- b",
        "a: !foo x",
    ] {
        let fault = fault(text);
        assert!(
            matches!(fault.mark, Mark::File { line: 1..=3, .. }),
            "{text}: {fault:?}"
        );
    }
}

fn refused_quickly(text: &str) {
    refused_within(text, 100);
}

/// The best of three, as other load on the machine must not fail the test.
fn refused_within(text: &str, ms: u64) {
    let took = (0..3).map(|_| {
        let start = Instant::now();
        assert!(parse(text).is_err());
        start.elapsed()
    });
    let took = took.min().unwrap();
    assert!(
        took < Duration::from_millis(ms),
        "{took:?} for {:?}",
        &text[..20.min(text.len())]
    );
}

#[test]
fn an_alias_bomb_is_refused_in_100_ms() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..40 {
        let inner = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    refused_quickly(&bomb);
    // A long string that is repeated takes memory as well.
    let repeated = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(500_000),
        vec!["*a"; 50_000].join(",")
    );
    refused_quickly(&repeated);
}

#[test]
fn nesting_of_200_000_is_refused_in_100_ms() {
    refused_quickly(&"[".repeat(200_000));
    refused_quickly(&"[\n".repeat(200_000));
    refused_quickly(&"{a: ".repeat(200_000));
    refused_quickly(&"{a:\n".repeat(200_000));
    refused_quickly(&"- ".repeat(200_000));
    refused_quickly(&"[a, ".repeat(200_000));
    refused_quickly(&"? ".repeat(200_000));
    refused_quickly(&"{\"\":".repeat(200_000));
    refused_quickly(
        &(0..1000)
            .map(|n| format!("{}a:\n", " ".repeat(n)))
            .collect::<String>(),
    );
    refused_quickly(&format!("a: {}", "[".repeat(65)));
    assert!(parse(&format!("a: {}{}", "[".repeat(60), "]".repeat(60))).is_ok());
}

#[test]
fn a_megabyte_of_small_values_is_refused_without_hanging() {
    refused_within(&"a,".repeat(400_000).replace("a,a", "[a,a"), 2000);
    refused_within(&format!("[{}]", "1,".repeat(400_000)), 2000);
    refused_within(
        &(0..100_000).map(|n| format!("k{n}: 1\n")).collect::<String>(),
        500,
    );
    refused_within(&"&a ".repeat(300_000), 2000);
}

#[test]
fn values_agree_with_serde_yaml() {
    for text in [
        "a: 1e-4\nb: [1, -2, 0x1F, 0o17, .5, 1., true, null, ~, 'x', \"y\\n\", word, a b, 1.2.3, yes]\n",
        "a: |\n  text\n  more\nb: >-\n  folded\n  line\nc: {d: [], e: {}}\n",
        "- a: 1\n  b: 2\n- - x\n  - y\n-\n",
        "# only a comment\n",
        "",
    ] {
        let expected: serde_json::Value = serde_yaml::from_str(text).unwrap();
        assert_eq!(parse(text).unwrap().to_json(), expected, "{text}");
    }
}

#[test]
fn a_line_of_dashes_is_not_nesting() {
    assert!(parse(&format!("# {}\na: 1\n", "-".repeat(400))).is_ok());
    assert!(parse(&format!("a: \"{}\"\n", "x-".repeat(400))).is_ok());
}
