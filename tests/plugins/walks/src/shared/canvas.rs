//! Drawing on images and on planes of the same size. Coordinates are pixels; anything outside is
//! skipped.

use cvhost_plugin_api::data::Image;

/// Colours that are easy to distinguish.
const COLOURS: [[u8; 3]; 8] = [
    [60, 120, 230],
    [60, 180, 90],
    [230, 60, 60],
    [250, 190, 40],
    [180, 80, 200],
    [60, 200, 210],
    [240, 130, 50],
    [230, 120, 190],
];

/// The colour for the number of an instance or class.
pub fn colour(number: usize) -> [u8; 3] {
    COLOURS.get(number % COLOURS.len()).copied().unwrap_or_default()
}

/// The pixels of a disc.
pub fn disc([x, y]: [f64; 2], radius: f64) -> impl Iterator<Item = (i32, i32)> {
    let range = move |at: f64| (at - radius).floor() as i32..=(at + radius).ceil() as i32;
    range(y)
        .flat_map(move |py| range(x).map(move |px| (px, py)))
        .filter(move |&(px, py)| (f64::from(px) + 0.5 - x).hypot(f64::from(py) + 0.5 - y) <= radius)
}

/// The pixels of a thick line.
pub fn line(from: [f64; 2], to: [f64; 2], radius: f64) -> impl Iterator<Item = (i32, i32)> {
    let steps = ((to[0] - from[0]).hypot(to[1] - from[1]) * 2.0).ceil().max(1.0) as i32;
    (0..=steps).flat_map(move |step| {
        let fraction = f64::from(step) / f64::from(steps);
        let at = |i: usize| from[i] + (to[i] - from[i]) * fraction;
        disc([at(0), at(1)], radius)
    })
}

/// Sets pixels to a colour.
pub fn paint(canvas: &mut Image, pixels: impl Iterator<Item = (i32, i32)>, rgb: [u8; 3]) {
    for (x, y) in pixels {
        if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) {
            canvas.set_pixel(x, y, rgb);
        }
    }
}

/// Blends a pixel half and half with a colour.
pub fn tint(canvas: &mut Image, x: u32, y: u32, rgb: [u8; 3]) {
    if let Some(old) = canvas.pixel(x, y) {
        let mixed = std::array::from_fn(|c| {
            let (a, b) = (old.get(c).copied().unwrap_or(0), rgb.get(c).copied().unwrap_or(0));
            ((u16::from(a) + u16::from(b)) / 2) as u8
        });
        canvas.set_pixel(x, y, mixed);
    }
}

/// Draws the outline of an xyxy box, one pixel wide.
pub fn outline(canvas: &mut Image, [x1, y1, x2, y2]: [f64; 4], rgb: [u8; 3]) {
    let (x1, y1) = (x1.round() as i32, y1.round() as i32);
    let (x2, y2) = (x2.round() as i32 - 1, y2.round() as i32 - 1);
    let across = (x1..=x2).flat_map(|x| [(x, y1), (x, y2)]);
    let down = (y1..=y2).flat_map(|y| [(x1, y), (x2, y)]);
    paint(canvas, across.chain(down), rgb);
}

/// Enlarges the image by `factor`, to make space for lines.
pub fn enlarge(canvas: &mut Image, factor: u32) {
    let mut large = Image::filled(canvas.width * factor, canvas.height * factor, [0; 3]);
    for y in 0..large.height {
        for x in 0..large.width {
            large.set_pixel(x, y, canvas.pixel(x / factor, y / factor).unwrap_or_default());
        }
    }
    *canvas = large;
}
