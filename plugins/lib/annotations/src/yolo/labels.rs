//! A YOLO label file: one object per line, `class cx cy w h`, in fractions of the image's sides.

/// The largest class number.
const MAX_CLASS: u32 = 65_535;
/// Larger absolute values are pixels, not fractions of the image's sides.
const MAX_RELATIVE: f64 = 2.0;
/// Maximum number of faults reported per file.
const MAX_FAULTS: usize = 20;

/// One object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// From 1.
    pub line: u32,
    pub class: u32,
    /// `[x, y, width, height]` in fractions of the image's sides; x and y are the top left corner.
    pub xywh: [f64; 4],
}

/// The content of a file, and its faults as line and message.
#[derive(Debug, Default, PartialEq)]
pub struct Labels {
    pub rows: Vec<Row>,
    pub faults: Vec<(u32, String)>,
}

/// Parses a file's content. `keypoints` is the number of keypoint values after the box, for
/// datasets with keypoints (the product of `kpt_shape`). A polygon row (`class x1 y1 x2 y2 x3 y3
/// …`) yields its bounding box.
pub fn parse(bytes: &[u8], keypoints: Option<usize>) -> Labels {
    let mut labels = Labels::default();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (line, row) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        let parsed = match std::str::from_utf8(row) {
            Ok(row) if row.trim().is_empty() => continue,
            Ok(row) => object(row, keypoints),
            Err(_) => Err("not UTF-8".to_owned()),
        };
        match parsed {
            Ok((class, xywh)) => labels.rows.push(Row { line, class, xywh }),
            Err(what) if labels.faults.len() < MAX_FAULTS => labels.faults.push((line, what)),
            Err(_) => {}
        }
    }
    labels
}

fn object(row: &str, keypoints: Option<usize>) -> Result<(u32, [f64; 4]), String> {
    let mut cells = row.split_ascii_whitespace();
    let class = class(cells.next().unwrap_or_default())?;
    let mut numbers = Vec::with_capacity(4);
    for cell in cells {
        let number: f64 = cell.parse().map_err(|_| format!("`{cell}` is not a number"))?;
        numbers.push(number);
    }
    let has_keypoints = keypoints.is_some_and(|count| numbers.len() == 4 + count);
    let is_polygon = keypoints.is_none() && numbers.len() >= 6 && numbers.len().is_multiple_of(2);
    let xywh = match *numbers.as_slice() {
        _ if is_polygon => around(&numbers),
        [cx, cy, w, h, ..] if numbers.len() == 4 || has_keypoints => [cx - w / 2.0, cy - h / 2.0, w, h],
        [_, _, _, _, _] => {
            return Err("6 numbers; a row with a score is a detection, not a label".to_owned());
        }
        _ => return Err(columns(numbers.len(), keypoints)),
    };
    let far = |v: &&f64| v.is_finite() && v.abs() > MAX_RELATIVE;
    if let Some(far) = numbers.iter().take(4).find(far) {
        return Err(format!(
            "{far} is not a fraction of the image's side (0 to 1); is it in pixels?"
        ));
    }
    Ok((class, xywh))
}

fn columns(count: usize, keypoints: Option<usize>) -> String {
    let keypoints = keypoints.map(|n| {
        let n = n + 5;
        format!(", or {n} with keypoints according to `kpt_shape`")
    });
    format!(
        "{} numbers; a box has 5 (class, cx, cy, w, h){}",
        count + 1,
        keypoints.unwrap_or_else(|| ", and a polygon a class and at least 3 pairs of x and y".to_owned())
    )
}

/// The class number; some tools write `3.0`.
fn class(cell: &str) -> Result<u32, String> {
    let number = cell.parse::<f64>().ok().filter(|v| v.fract() == 0.0 && *v >= 0.0);
    match number {
        Some(number) if number <= f64::from(MAX_CLASS) => Ok(number as u32),
        Some(_) => Err(format!("class {cell} is above {MAX_CLASS}")),
        None => Err(format!("`{cell}` is not a class number (0, 1, 2 …)")),
    }
}

/// The bounding box of points.
fn around(points: &[f64]) -> [f64; 4] {
    let axis = |start: usize| points.iter().skip(start).step_by(2).copied();
    // NaN must be propagated.
    let least = |start| axis(start).fold(f64::INFINITY, |a, b| if b.is_nan() || b < a { b } else { a });
    let most = |start| axis(start).fold(f64::NEG_INFINITY, |a, b| if b.is_nan() || b > a { b } else { a });
    let (x, y) = (least(0), least(1));
    [x, y, most(0) - x, most(1) - y]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_polygons_and_keypoints_yield_boxes() {
        let text = b"\xef\xbb\xbf0 0.5 0.5 0.25 0.5\r\n\n 2.0\t0.1 0.2 0.3 0.2 0.3 0.6 \n1 nan 0.5 0.1 0.1";
        let labels = parse(text, None);
        assert_eq!(labels.faults, []);
        let [first, second, third] = labels.rows.as_slice() else {
            panic!("three rows")
        };
        assert_eq!(
            (first.line, first.class, first.xywh),
            (1, 0, [0.375, 0.25, 0.25, 0.5])
        );
        assert_eq!((second.line, second.class), (3, 2));
        assert_eq!(second.xywh, [0.1, 0.2, 0.3 - 0.1, 0.6 - 0.2]);
        assert!(third.xywh[0].is_nan());
        let pose = parse(
            b"0 0.5 0.5 0.25 0.5 9 9 9 9 9 9\n0 0.5 0.5 0.25 0.5 9 9 9 9",
            Some(6),
        );
        assert_eq!(pose.rows.len(), 1);
        assert!(pose.faults[0].1.contains("11 with keypoints"), "{pose:?}");
    }

    #[test]
    fn invalid_rows_are_reported_with_their_lines() {
        for (row, part) in [
            ("cat 0.5 0.5 0.1 0.1", "`cat` is not a class number"),
            ("-1 0.5 0.5 0.1 0.1", "`-1` is not a class number"),
            ("1e9 0.5 0.5 0.1 0.1", "above 65535"),
            ("0 0.5 0.5 0.1", "4 numbers; a box has 5"),
            ("0 0.5 0.5 0.1 0.1 0.9", "a row with a score"),
            ("0 0.5 0.5 0.1 0.1 0.1 0.1 0.1", "8 numbers"),
            ("0 0.5 x 0.1 0.1", "`x` is not a number"),
            ("0 320 240 50 60", "is it in pixels?"),
        ] {
            let labels = parse(format!("\n{row}\n").as_bytes(), None);
            assert_eq!(labels.rows, [], "{row}");
            assert!(
                labels.faults[0].0 == 2 && labels.faults[0].1.contains(part),
                "{labels:?}"
            );
        }
        assert_eq!(parse("x\n".repeat(1000).as_bytes(), None).faults.len(), 20);
    }
}
