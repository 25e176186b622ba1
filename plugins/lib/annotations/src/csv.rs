//! CSV and TSV files with one object per row.

use crate::boxes::{Annotation, BoxSet, Category, Naming};
use crate::limits;
use csv_core::{ReadRecordResult, ReaderBuilder};
use cvhost_datasets::Faults;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

/// Column names in lower case; within each kind, the first one present is used.
const IMAGE: [&str; 7] = [
    "image",
    "filename",
    "file_name",
    "file",
    "path",
    "image_path",
    "image_name",
];
const CLASS: [&str; 7] = [
    "class",
    "label",
    "class_name",
    "category",
    "category_name",
    "name",
    "label_name",
];
const XMIN: [&str; 4] = ["xmin", "x_min", "x1", "left"];
const YMIN: [&str; 4] = ["ymin", "y_min", "y1", "top"];
const XMAX: [&str; 4] = ["xmax", "x_max", "x2", "right"];
const YMAX: [&str; 4] = ["ymax", "y_max", "y2", "bottom"];
const X: [&str; 2] = ["x", "bbox_x"];
const Y: [&str; 2] = ["y", "bbox_y"];
/// Size of the box; `width` and `height` are the image's if the box is given by its corners.
const W: [&str; 4] = ["w", "bbox_w", "bbox_width", "box_width"];
const H: [&str; 4] = ["h", "bbox_h", "bbox_height", "box_height"];
const WIDTH: [&str; 3] = ["image_width", "img_width", "img_w"];
const HEIGHT: [&str; 3] = ["image_height", "img_height", "img_h"];

/// The longest row, in bytes.
const MAX_ROW: usize = 1 << 20;

/// Description of the file, for error messages.
pub const EXPECTED: &str = "the first line must name the columns: the image's file name (`image`, \
     `filename`, `file` or `path`), the class (`class` or `label`), and the box in pixels, either \
     `xmin`, `ymin`, `xmax`, `ymax` or `x`, `y`, `w`, `h`; with corners, `width` and `height` may \
     give the size of the image";

const ROWS: &str = "rows that can't be read";

/// The meaning of the columns.
#[derive(Debug, PartialEq)]
struct Layout {
    image: usize,
    class: usize,
    /// Left, top, and either right, bottom or width, height.
    edges: [usize; 4],
    corners: bool,
    /// Width and height of the image.
    size: Option<[usize; 2]>,
}

/// Reads a file. Images and classes are in order of first occurrence; classes are numbered from 0.
/// `Err` is an error that affects the whole file.
pub fn read(reader: impl Read, delimiter: u8, faults: &mut Faults) -> Result<BoxSet, String> {
    let mut lines = Lines::new(reader, delimiter);
    let Some((header_line, header)) = lines.next_row()? else {
        return Err("the file is empty".to_owned());
    };
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let layout =
        layout(&header).map_err(|what| format!("line {header_line}: {what}: {}", header.join(", ")))?;
    let mut rows = Rows::default();
    while let Some((line, cells)) = lines.next_row()? {
        if cells.len() != header.len() {
            let (count, wanted) = (cells.len(), header.len());
            faults.push(ROWS, || {
                format!("line {line}: {count} cells, but the header has {wanted}")
            });
        } else if let Err(what) = rows.add(line, &cells, &layout) {
            faults.push(ROWS, || format!("line {line}: {what}"));
        }
    }
    Ok(rows.finish())
}

fn layout(header: &[String]) -> Result<Layout, String> {
    let lower: Vec<String> = header.iter().map(|h| h.to_lowercase()).collect();
    let mut sorted: Vec<&str> = lower
        .iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    sorted.sort_unstable();
    if let Some(same) = sorted.chunk_by(|a, b| a == b).find(|same| same.len() > 1) {
        return Err(format!("two columns are named `{}`", same.first().unwrap_or(&"")));
    }
    let find = |names: &[&str]| names.iter().find_map(|name| lower.iter().position(|h| h == name));
    let all = |columns: [&[&str]; 4]| {
        let found = columns.map(find);
        match found {
            [Some(a), Some(b), Some(c), Some(d)] => Some([a, b, c, d]),
            _ => None,
        }
    };
    let pair = |width: Option<usize>, height: Option<usize>| width.zip(height).map(|(w, h)| [w, h]);
    let image = find(&IMAGE).ok_or("no column with the file names of the images")?;
    let class = find(&CLASS).ok_or("no column with the classes")?;
    let outer = pair(find(&WIDTH), find(&HEIGHT));
    let plain = pair(find(&["width"]), find(&["height"]));
    let (edges, corners, size) = if let Some(edges) = all([&XMIN, &YMIN, &XMAX, &YMAX]) {
        (edges, true, outer.or(plain))
    } else if let Some(edges) = all([&X, &Y, &W, &H]) {
        (edges, false, outer.or(plain))
    } else if let (Some([x, y]), Some([w, h])) = (pair(find(&X), find(&Y)), plain) {
        ([x, y, w, h], false, outer)
    } else {
        return Err("the columns of the box are incomplete".to_owned());
    };
    Ok(Layout {
        image,
        class,
        edges,
        corners,
        size,
    })
}

/// Collects the rows.
#[derive(Default)]
struct Rows {
    set: BoxSet,
    images: HashMap<Box<str>, i64>,
    sizes: Vec<(u32, u32)>,
    names: Vec<Box<str>>,
    classes: HashMap<Box<str>, i64>,
}

impl Rows {
    fn add(&mut self, line: u64, cells: &[&str], layout: &Layout) -> Result<(), String> {
        let cell = |column: usize| cells.get(column).copied().unwrap_or_default();
        let mut name = cell(layout.image);
        while let Some(rest) = name.strip_prefix("./") {
            name = rest;
        }
        if name.is_empty() {
            return Err("the file name is empty".to_owned());
        }
        let side = |column: usize| cell(column).parse::<f64>().ok().map_or(0, |v| v as u32);
        let size = layout.size.map_or((0, 0), |[w, h]| (side(w), side(h)));
        let numbers = layout.edges.map(cell);
        let class = cell(layout.class);
        let empty = numbers.iter().all(|n| n.is_empty());
        if empty != class.is_empty() {
            let what = if empty {
                "a class without a box"
            } else {
                "a box without a class"
            };
            return Err(format!("{what}; an image without objects has neither"));
        }
        let mut edges = [f64::NAN; 4];
        if !empty {
            for (slot, text) in edges.iter_mut().zip(numbers) {
                *slot = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
            }
        }
        let image_id = self.image(name, size)?;
        if empty {
            return Ok(());
        }
        let [x, y, c, d] = edges;
        let bbox = if layout.corners {
            [x, y, c - x, d - y]
        } else {
            edges
        };
        let category_id = self.class(class);
        self.set.annotations.push(Annotation {
            id: line as i64,
            image_id,
            category_id,
            bbox,
            area: bbox[2] * bbox[3],
            crowd: false,
        });
        Ok(())
    }

    /// The id of an image, from 1; an error if two of its rows give different sizes.
    fn image(&mut self, name: &str, size: (u32, u32)) -> Result<i64, String> {
        let Some(&id) = self.images.get(name) else {
            let id = self.sizes.len() as i64 + 1;
            self.images.insert(name.into(), id);
            self.names.push(name.into());
            self.sizes.push(size);
            return Ok(id);
        };
        let known = usize::try_from(id - 1)
            .ok()
            .and_then(|i| self.sizes.get(i))
            .copied();
        match known {
            Some((w, h)) if (w, h) != size => Err(format!(
                "{name} is {} x {} here, but {w} x {h} in an earlier row",
                size.0, size.1
            )),
            _ => Ok(id),
        }
    }

    /// The number of a class, newly assigned if the class is new.
    fn class(&mut self, name: &str) -> i64 {
        if let Some(&number) = self.classes.get(name) {
            return number;
        }
        let number = self.set.categories.len() as i64;
        self.classes.insert(name.into(), number);
        self.set.categories.push(Category {
            id: number,
            name: name.to_owned(),
            ..Category::default()
        });
        number
    }

    fn finish(mut self) -> BoxSet {
        for ((id, name), size) in (1..).zip(&self.names).zip(&self.sizes) {
            self.set.images.push(id, name, *size);
        }
        self.set.images.shrink();
        self.set.annotations.shrink_to_fit();
        self.set.naming = Naming::Rows;
        self.set
    }
}

/// Reads row by row and tracks line numbers.
struct Lines<R> {
    reader: BufReader<R>,
    parser: csv_core::Reader,
    /// Number of lines read so far.
    line: u64,
    raw: Vec<u8>,
    cells: String,
}

impl<R: Read> Lines<R> {
    fn new(reader: R, delimiter: u8) -> Self {
        Lines {
            reader: BufReader::with_capacity(64 * 1024, reader),
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            line: 0,
            raw: Vec::new(),
            cells: String::new(),
        }
    }

    /// The next non-empty row: the number of its first line, from 1, and its trimmed cells.
    fn next_row(&mut self) -> Result<Option<(u64, Vec<&str>)>, String> {
        let line = loop {
            match self.next_line()? {
                None => return Ok(None),
                Some(line) if !self.raw.iter().all(u8::is_ascii_whitespace) => break line,
                Some(_) => {}
            }
        };
        if line == 1 {
            limits::utf8(&self.raw)?; // rejects UTF-16
            if self.raw.starts_with(b"\xef\xbb\xbf") {
                self.raw.drain(..3);
            }
        }
        let mut output = vec![0; self.raw.len() + 1];
        let mut ends = vec![0; self.raw.len() + 2];
        self.parser.reset();
        let (mut at, mut to, mut count) = (0, 0, 0);
        // The line break ends the row; without one, an empty input does.
        for _ in 0..2 {
            let input = self.raw.get(at..).unwrap_or_default();
            let free = output.get_mut(to..).unwrap_or_default();
            let (result, read, wrote, ended) =
                self.parser
                    .read_record(input, free, ends.get_mut(count..).unwrap_or_default());
            (at, to, count) = (at + read, to + wrote, count + ended);
            if !matches!(result, ReadRecordResult::InputEmpty) {
                break;
            }
        }
        output.truncate(to);
        self.cells = String::from_utf8(output).map_err(|_| format!("line {line}: not UTF-8"))?;
        let mut cells = Vec::with_capacity(count);
        let mut start = 0;
        for &end in ends.iter().take(count) {
            cells.push(self.cells.get(start..end).unwrap_or_default().trim());
            start = end;
        }
        Ok(Some((line, cells)))
    }

    /// Reads a line into `raw`, plus further lines while a quote is open. Returns the line number,
    /// or `None` at the end of the file.
    fn next_line(&mut self) -> Result<Option<u64>, String> {
        self.raw.clear();
        let first = self.line + 1;
        let mut open = false;
        loop {
            let before = self.raw.len();
            let limit = (MAX_ROW - before.min(MAX_ROW)) as u64;
            let read = (&mut self.reader)
                .take(limit)
                .read_until(b'\n', &mut self.raw)
                .map_err(|e| e.to_string())?;
            self.line += 1;
            let new = self.raw.get(before..).unwrap_or_default();
            open ^= new.iter().filter(|b| **b == b'"').count() % 2 == 1;
            let ended = self.raw.ends_with(b"\n");
            if self.raw.len() >= MAX_ROW && (open || !ended) {
                return Err(format!(
                    "line {first}: the row is longer than {MAX_ROW} bytes; a quote may be unclosed"
                ));
            }
            if read == 0 && before == 0 {
                return Ok(None);
            }
            if read == 0 || !open {
                return Ok(Some(first));
            }
        }
    }
}

#[cfg(test)]
mod tests;
