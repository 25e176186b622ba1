//! Self-contained HTML pages: styles, drawings and images are embedded, nothing is fetched, and
//! there are no scripts.

mod chart;

pub use chart::{histogram, table_with_bars};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cvhost::error::{Error, Result};
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use std::fmt::Write;

/// JPEG quality of the small images in pages.
const QUALITY: u8 = 85;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d1d22;--dim:#62626c;--ground:#fff;--card:#f4f4f6;\
--bar:#2f6fdb;--line:#d9d9de}\
@media(prefers-color-scheme:dark){:root{--ink:#ececf1;--dim:#a0a0ab;--ground:#16161a;\
--card:#212127;--bar:#6ea2f5;--line:#3a3a42}}\
body{margin:0 auto;max-width:76rem;padding:1.5rem;background:var(--ground);color:var(--ink);\
font:15px/1.5 system-ui,sans-serif}\
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.3rem;margin:2.2rem 0 .8rem;\
border-bottom:1px solid var(--line)}\
h3{font-size:1rem;margin:0 0 .5rem}p{margin:.3rem 0}.dim{color:var(--dim)}\
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(22rem,1fr));gap:1rem;\
margin:0 0 1rem}\
.card{background:var(--card);border-radius:8px;padding:1rem;margin:0 0 1rem;overflow-x:auto}\
.cards .card{margin:0}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.15rem .8rem .15rem 0;\
vertical-align:top;overflow-wrap:anywhere}\
th{font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
.bar{display:block;height:.7rem;min-width:1px;margin-top:.35rem;border-radius:2px;\
background:var(--bar)}\
svg{display:block;width:100%;height:auto}svg rect{fill:var(--bar)}svg text{fill:var(--ink);\
font:12px system-ui,sans-serif}\
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem}\
figure{margin:0;background:var(--card);border-radius:8px;padding:.6rem}figure img{display:block;\
max-width:100%;height:auto;margin:0 auto}\
figcaption{font-size:.8rem;margin-top:.4rem;overflow-wrap:anywhere}";

/// Wraps an HTML body into a complete page with this title.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(title)
    )
}

/// Escapes text for use between tags and in quoted attributes. Control characters, which HTML
/// forbids, become `�`.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// Formats a table of two columns: names and values.
pub fn facts(rows: &[(&str, String)]) -> String {
    let mut html = "<table>\n".to_owned();
    for (name, value) in rows {
        let _ = writeln!(
            html,
            "<tr><th>{}</th><td>{}</td></tr>",
            escaped(name),
            escaped(value)
        );
    }
    html + "</table>\n"
}

/// Embeds an image as a JPEG, with a title and a line below it.
pub fn figure(image: &RgbImage, title: &str, below: &str) -> Result<String> {
    let mut bytes = Vec::new();
    image
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))
        .map_err(|e| Error::failed(format!("cannot encode an image of the page: {e}")))?;
    let (width, height) = image.dimensions();
    let (title, below) = (escaped(title), escaped(below));
    let below = if below.is_empty() {
        String::new()
    } else {
        format!("<br><span class=\"dim\">{below}</span>")
    };
    Ok(format!(
        "<figure><img width=\"{width}\" height=\"{height}\" alt=\"{title}\" \
         src=\"data:image/jpeg;base64,{}\">\
         <figcaption>{title}{below}</figcaption></figure>\n",
        STANDARD.encode(bytes)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_defined_names_cannot_become_markup() {
        let nasty = "\"><script>alert('x')</script>&\u{7}";
        let safe = escaped(nasty);
        assert!(!safe.contains(['<', '>', '"', '\'', '\u{7}']), "{safe}");
        let image = RgbImage::new(3, 2);
        let html = page(nasty, &figure(&image, nasty, nasty).unwrap()) + &facts(&[(nasty, nasty.to_owned())]);
        assert!(!html.contains("<script") && !html.contains('\u{7}'));
        assert!(html.contains("width=\"3\" height=\"2\""));
        assert!(!html.contains("http"), "nothing is fetched");
    }
}
