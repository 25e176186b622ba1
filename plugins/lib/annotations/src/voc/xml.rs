//! A Pascal VOC file: the objects of one image.
//!
//! Events are read one by one; entities other than XML's five predefined ones and character
//! references are rejected, never expanded.

use crate::limits;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// Maximum nesting depth of elements.
const MAX_DEPTH: usize = 64;
/// Maximum length of the text of an element, in bytes.
const MAX_TEXT: usize = 4096;

/// An image as described by its file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    /// Empty if the file doesn't give it.
    pub file_name: String,
    /// Width and height in pixels; 0 if the file doesn't give them.
    pub size: (u32, u32),
    pub objects: Vec<Object>,
}

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The class; empty if the file doesn't give it.
    pub name: String,
    /// `[xmin, ymin, xmax, ymax]` as in the file; NaN where the file has no number.
    pub xyxy: [f64; 4],
    /// Whether there is a `bndbox` at all.
    pub has_box: bool,
    /// Marked as difficult to recognise.
    pub difficult: bool,
    /// Extends beyond the image, or is partly occluded.
    pub truncated: bool,
}

impl Default for Object {
    fn default() -> Self {
        Object {
            name: String::new(),
            xyxy: [f64::NAN; 4],
            has_box: false,
            difficult: false,
            truncated: false,
        }
    }
}

/// The relevant elements by their position; the name and box of an object's `part` are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Root,
    FileName,
    Size,
    Width,
    Height,
    Object,
    Name,
    Difficult,
    Truncated,
    Box,
    Edge(usize),
    Other,
}

impl Element {
    fn below(parent: Option<Element>, name: &[u8]) -> Element {
        match (parent, name) {
            (None, b"annotation") => Element::Root,
            (Some(Element::Root), b"filename") => Element::FileName,
            (Some(Element::Root), b"size") => Element::Size,
            (Some(Element::Root), b"object") => Element::Object,
            (Some(Element::Size), b"width") => Element::Width,
            (Some(Element::Size), b"height") => Element::Height,
            (Some(Element::Object), b"name") => Element::Name,
            (Some(Element::Object), b"difficult") => Element::Difficult,
            (Some(Element::Object), b"truncated") => Element::Truncated,
            (Some(Element::Object), b"bndbox") => Element::Box,
            (Some(Element::Box), b"xmin") => Element::Edge(0),
            (Some(Element::Box), b"ymin") => Element::Edge(1),
            (Some(Element::Box), b"xmax") => Element::Edge(2),
            (Some(Element::Box), b"ymax") => Element::Edge(3),
            _ => Element::Other,
        }
    }
}

/// Parses a file's content. The error gives the reason and the line.
pub fn parse(bytes: &[u8]) -> Result<Image, String> {
    let text = limits::utf8(bytes)?;
    let mut reader = Reader::from_reader(text.as_bytes());
    let mut state = State::default();
    let at_line = |position: u64, what: String| {
        let before = text
            .as_bytes()
            .get(..position as usize)
            .unwrap_or(text.as_bytes());
        format!("line {}: {what}", limits::line_of(before))
    };
    loop {
        match reader.read_event() {
            Ok(Event::Eof) => break,
            Ok(event) => state
                .take(event)
                .map_err(|what| at_line(reader.buffer_position(), what))?,
            Err(e) => {
                return Err(at_line(
                    reader.error_position(),
                    format!("this is not valid XML: {e}"),
                ));
            }
        }
    }
    match state.path.last() {
        Some(_) => Err("the file ends within an element; it is truncated".to_owned()),
        None if !state.rooted => Err("the element `annotation` is missing".to_owned()),
        None => Ok(state.image),
    }
}

#[derive(Default)]
struct State {
    image: Image,
    path: Vec<Element>,
    text: String,
    rooted: bool,
}

impl State {
    fn take(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Start(tag) => self.open(tag.name().as_ref()),
            Event::Empty(tag) => {
                self.open(tag.name().as_ref())?;
                self.close();
                Ok(())
            }
            Event::End(_) => {
                self.close();
                Ok(())
            }
            Event::Text(text) => self.add(&text),
            Event::CData(text) => self.add(&text),
            Event::GeneralRef(reference) => self.reference(&reference),
            Event::DocType(declaration) if contains(&declaration, b"<!ENTITY") => {
                Err("entity declarations are not allowed".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, name: &[u8]) -> Result<(), String> {
        if self.path.len() >= MAX_DEPTH {
            return Err(format!("elements are nested more than {MAX_DEPTH} deep"));
        }
        let element = Element::below(self.path.last().copied(), name);
        if self.path.is_empty() {
            if element != Element::Root {
                let name = String::from_utf8_lossy(name);
                return Err(format!("the root element is `{name}`, not `annotation`"));
            }
            if std::mem::replace(&mut self.rooted, true) {
                return Err("a second element `annotation`; a file describes one image".to_owned());
            }
        }
        match element {
            Element::Object => self.image.objects.push(Object::default()),
            Element::Box => self.object(|object| object.has_box = true),
            _ => {}
        }
        self.path.push(element);
        self.text.clear();
        Ok(())
    }

    fn close(&mut self) {
        let text = self.text.trim();
        // NaN and negative values become 0.
        let side = || text.parse::<f64>().ok().map_or(0, |v| v as u32);
        let flag = !matches!(text, "" | "0" | "false" | "False" | "Unspecified" | "Unknown");
        match self.path.pop() {
            Some(Element::FileName) => self.image.file_name = text.to_owned(),
            Some(Element::Width) => self.image.size.0 = side(),
            Some(Element::Height) => self.image.size.1 = side(),
            Some(Element::Name) => {
                let name = text.to_owned();
                self.object(|object| object.name = name);
            }
            Some(Element::Difficult) => self.object(|object| object.difficult = flag),
            Some(Element::Truncated) => self.object(|object| object.truncated = flag),
            Some(Element::Edge(edge)) => {
                let value = text.parse().unwrap_or(f64::NAN);
                self.object(|object| {
                    if let Some(slot) = object.xyxy.get_mut(edge) {
                        *slot = value;
                    }
                });
            }
            _ => {}
        }
        self.text.clear();
    }

    fn object(&mut self, change: impl FnOnce(&mut Object)) {
        if let Some(object) = self.image.objects.last_mut() {
            change(object);
        }
    }

    fn add(&mut self, text: &[u8]) -> Result<(), String> {
        // The whole file is UTF-8, and it is split only at tags, which are ASCII.
        let text = std::str::from_utf8(text).map_err(|_| "not UTF-8".to_owned())?;
        if matches!(self.path.last(), None | Some(Element::Other)) {
            return Ok(());
        }
        if self.text.len() + text.len() > MAX_TEXT {
            return Err(format!("text longer than {MAX_TEXT} bytes"));
        }
        self.text.push_str(text);
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef) -> Result<(), String> {
        let bytes: &[u8] = reference;
        let text = match bytes {
            b"amp" => '&',
            b"lt" => '<',
            b"gt" => '>',
            b"quot" => '"',
            b"apos" => '\'',
            _ => {
                let character = reference.resolve_char_ref().ok().flatten();
                character.ok_or_else(|| {
                    format!(
                        "the entity `&{};` is not predefined in XML; rejected",
                        String::from_utf8_lossy(bytes)
                    )
                })?
            }
        };
        self.add(text.encode_utf8(&mut [0; 4]).as_bytes())
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_with_its_objects_is_read() {
        let image = parse(
            br#"<?xml version="1.0"?><annotation verified="no"><folder>x</folder><filename>a &amp; b&#46;jpg</filename>
            <size><width>640</width><height>480.0</height><depth>3</depth></size>
            <object><name>RBC</name><pose>Unspecified</pose><truncated>1</truncated><difficult>0</difficult>
              <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
              <bndbox><ymax> 4.5 </ymax><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax></bndbox></object>
            <object><bndbox><xmin>nan</xmin><ymin>oops</ymin></bndbox><name><![CDATA[a<b]]></name>
              <difficult>1</difficult></object><object/></annotation>"#,
        )
        .unwrap();
        assert_eq!((image.file_name.as_str(), image.size), ("a & b.jpg", (640, 480)));
        let [first, second, third] = image.objects.as_slice() else {
            panic!("three objects")
        };
        assert_eq!((first.name.as_str(), first.xyxy), ("RBC", [1.0, 2.0, 3.0, 4.5]));
        assert!(first.truncated && !first.difficult && first.has_box);
        assert!(second.difficult && second.name == "a<b" && second.xyxy.iter().all(|v| v.is_nan()));
        assert!(!third.has_box);
    }

    #[test]
    fn other_files_are_rejected_with_reason_and_line() {
        for (text, part) in [
            ("", "the element `annotation` is missing"),
            ("\n<html></html>", "line 2: the root element is `html`"),
            (
                "<annotation>\n<object></annotation>",
                "line 2: this is not valid XML",
            ),
            ("<annotation><object>", "truncated"),
            ("<annotation/><annotation/>", "a second element"),
            ("{\"images\": []}", "the element `annotation` is missing"),
            (
                "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><annotation>&b;</annotation>",
                "entity declarations are not allowed",
            ),
            (
                "<annotation><filename>&b;</filename></annotation>",
                "entity `&b;`",
            ),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(parse("<a>".repeat(1_000_000).as_bytes()).is_err());
        let deep = format!("<annotation>{}", "<a>".repeat(1_000_000));
        assert!(parse(deep.as_bytes()).unwrap_err().contains("64 deep"));
        assert!(parse(b"\xff\xfe<\0").unwrap_err().contains("UTF-16"));
    }
}
