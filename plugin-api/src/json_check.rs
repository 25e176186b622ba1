//! Checks at compile time that a plugin's schema file is JSON.

/// Whether `text` is one JSON value. Numbers and escapes are checked loosely: what a person gets wrong
/// by hand are brackets, quotes and commas.
#[must_use]
pub const fn is_json(text: &str) -> bool {
    let bytes = text.as_bytes();
    let end = skip_space(bytes, value(bytes, skip_space(bytes, 0), 0));
    end == bytes.len()
}

/// Past every length: something is wrong.
const WRONG: usize = usize::MAX / 2;
/// Deeper values are taken for an error, so that the compiler's own stack isn't.
const MAX_DEPTH: u32 = 60;

const fn at(bytes: &[u8], i: usize) -> u8 {
    if i < bytes.len() { bytes[i] } else { 0 }
}

const fn skip_space(bytes: &[u8], mut i: usize) -> usize {
    while matches!(at(bytes, i), b' ' | b'\n' | b'\r' | b'\t') {
        i += 1;
    }
    i
}

/// The place after the value that starts at `i`.
const fn value(bytes: &[u8], i: usize, depth: u32) -> usize {
    if depth > MAX_DEPTH {
        return WRONG;
    }
    match at(bytes, i) {
        b'{' => members(bytes, skip_space(bytes, i + 1), b'}', depth),
        b'[' => members(bytes, skip_space(bytes, i + 1), b']', depth),
        b'"' => string(bytes, i + 1),
        b't' => word(bytes, i, b"true"),
        b'f' => word(bytes, i, b"false"),
        b'n' => word(bytes, i, b"null"),
        b'-' | b'0'..=b'9' => number(bytes, i + 1),
        _ => WRONG,
    }
}

const fn members(bytes: &[u8], mut i: usize, close: u8, depth: u32) -> usize {
    if at(bytes, i) == close {
        return i + 1;
    }
    loop {
        if close == b'}' {
            if at(bytes, i) != b'"' {
                return WRONG;
            }
            i = skip_space(bytes, string(bytes, i + 1));
            if at(bytes, i) != b':' {
                return WRONG;
            }
            i = skip_space(bytes, i + 1);
        }
        i = skip_space(bytes, value(bytes, i, depth + 1));
        match at(bytes, i) {
            b',' => i = skip_space(bytes, i + 1),
            end if end == close => return i + 1,
            _ => return WRONG,
        }
    }
}

const fn string(bytes: &[u8], mut i: usize) -> usize {
    while i < bytes.len() {
        match bytes[i] {
            b'"' => return i + 1,
            b'\\' => i += 2,
            control if control < 0x20 => return WRONG,
            _ => i += 1,
        }
    }
    WRONG
}

const fn word(bytes: &[u8], i: usize, expected: &[u8]) -> usize {
    let mut n = 0;
    while n < expected.len() {
        if at(bytes, i + n) != expected[n] {
            return WRONG;
        }
        n += 1;
    }
    i + n
}

const fn number(bytes: &[u8], mut i: usize) -> usize {
    while matches!(at(bytes, i), b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') {
        i += 1;
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_from_what_only_looks_like_it() {
        for good in [
            "{}",
            " [1, -2.5e3, true, null, \"a\\\"b\"] \n",
            r#"{"a": {"b": []}, "c": "ä"}"#,
            "0",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "{",
            "{a: 1}",
            "{\"a\" 1}",
            "[1,]",
            "{\"a\": 1,}",
            "{} {}",
            "\"open",
            "tru",
            "[1 2]",
            "{\"a\": 1}}",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
        assert!(!is_json(&"[".repeat(5000)));
    }
}
