//! The part of an image that a top-down pose model sees: a box with a margin, warped to the input's
//! size.
//!
//! The mapping follows unbiased data processing (Huang et al., "The Devil is in the Details:
//! Delving into Unbiased Data Processing for Human Pose Estimation", CVPR 2020), in which a side of
//! n pixels has length n - 1. Its arithmetic is that of the reference's `VitPoseImageProcessor`,
//! with float32 in the same places, so that the pixels are equal.

use cvhost_plugin_api::data::Region;
use cvhost_plugin_api::error::{PluginError, Result};

/// Scale of the crop relative to the box.
const PADDING: f32 = 1.25;
/// The unit of box sizes in the reference, in pixels. A processor's `normalize_factor` replaces it
/// only when the crop is computed.
const UNIT: f32 = 200.0;

/// A crop of an image, with the mapping between its pixels and the input's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoseCrop {
    /// x and y, in pixels of the image.
    centre: [f32; 2],
    /// Width and height, in pixels of the image.
    extent: [f32; 2],
    /// Radians, counter-clockwise.
    angle: f64,
    /// Height and width of the input in pixels.
    size: [u32; 2],
}

impl PoseCrop {
    /// The crop around `region`, in pixels of the image, for an input of `size`, height and width
    /// in pixels: the region, extended in one direction to the input's aspect ratio and enlarged by
    /// a quarter. It may extend beyond the image's border. A rotated region is shown upright; the
    /// reference doesn't support rotation.
    ///
    /// # Errors
    /// If the region isn't finite with positive width and height, or a side of `size` is below 2.
    pub fn new(region: &Region, size: [u32; 2], normalize_factor: f64) -> Result<Self> {
        let numbers = [region.x, region.y, region.width, region.height, region.angle];
        if numbers.iter().any(|v| !v.is_finite()) || region.width <= 0.0 || region.height <= 0.0 {
            return Err(PluginError::data(format!(
                "a box of {} x {} pixels at ({}, {}) is empty or not finite; expected finite numbers, \
                 and a width and a height above 0",
                region.width, region.height, region.x, region.y
            )));
        }
        if size.iter().any(|side| *side < 2) {
            return Err(PluginError::failed(format!(
                "a pose model's input has height and width {size:?}; expected at least 2 each"
            )));
        }
        let aspect = f64::from(size[1]) / f64::from(size[0]);
        let (mut width, mut height) = (region.width, region.height);
        if width > aspect * height {
            height = width / aspect;
        } else if width < aspect * height {
            width = height * aspect;
        }
        let extent = [width, height].map(|side| (side / normalize_factor) as f32 * PADDING * UNIT);
        let crop = PoseCrop {
            centre: [
                (region.x + region.width * 0.5) as f32,
                (region.y + region.height * 0.5) as f32,
            ],
            extent,
            angle: region.angle,
            size,
        };
        if crop.extent.iter().chain(&crop.centre).any(|v| !v.is_finite()) || crop.extent.contains(&0.0) {
            return Err(PluginError::data(format!(
                "a box of {} x {} pixels at ({}, {}) is too large or too small",
                region.width, region.height, region.x, region.y
            )));
        }
        Ok(crop)
    }

    /// Maps a point of the image, x and y in pixels, to pixels of a map of the crop with `size`,
    /// height and width: the input's size or a heat map's.
    pub fn to_map(&self, [x, y]: [f64; 2], size: [u32; 2]) -> [f64; 2] {
        let (sin, cos) = self.angle.sin_cos();
        let [dx, dy] = [x - f64::from(self.centre[0]), y - f64::from(self.centre[1])];
        let turned = [cos * dx - sin * dy, sin * dx + cos * dy];
        let [scale_x, scale_y] = self.steps(size);
        [
            (turned[0] + f64::from(self.extent[0]) * 0.5) / scale_x,
            (turned[1] + f64::from(self.extent[1]) * 0.5) / scale_y,
        ]
    }

    /// The inverse of [`Self::to_map`]: maps a point of a map of `size`, height and width, to
    /// pixels of the image.
    pub fn to_image(&self, [x, y]: [f64; 2], size: [u32; 2]) -> [f64; 2] {
        let [scale_x, scale_y] = self.steps(size);
        let [dx, dy] = [
            x * scale_x - f64::from(self.extent[0]) * 0.5,
            y * scale_y - f64::from(self.extent[1]) * 0.5,
        ];
        let (sin, cos) = self.angle.sin_cos();
        [
            cos * dx + sin * dy + f64::from(self.centre[0]),
            cos * dy - sin * dx + f64::from(self.centre[1]),
        ]
    }

    /// Distance between neighbouring pixels of the map, in pixels of the image. A side of one pixel
    /// counts as one step.
    fn steps(&self, [height, width]: [u32; 2]) -> [f64; 2] {
        let step = |extent: f32, side: u32| f64::from(extent) / (f64::from(side) - 1.0).max(1.0);
        [step(self.extent[0], width), step(self.extent[1], height)]
    }

    /// The rows (y, then x) of the affine matrix that maps (row, column, 1) of the input to the
    /// image.
    pub(crate) fn to_source(self) -> [[f64; 3]; 2] {
        let sides = [f64::from(self.size[1]) - 1.0, f64::from(self.size[0]) - 1.0];
        let scale_x = sides[0] / f64::from(self.extent[0]);
        let scale_y = sides[1] / f64::from(self.extent[1]);
        let (sin, cos) = self.angle.sin_cos();
        let (sin32, cos32) = (sin as f32, cos as f32);
        // The paper's image size is replaced by twice the centre.
        let [w, h] = self.centre.map(|c| -0.5 * (c * 2.0));
        let shift_x = w * cos32 - h * sin32 + 0.5 * self.extent[0];
        let shift_y = w * sin32 + h * cos32 + 0.5 * self.extent[1];
        let matrix = [
            [cos * scale_x, -sin * scale_x, scale_x * f64::from(shift_x)],
            [sin * scale_y, cos * scale_y, scale_y * f64::from(shift_y)],
        ];
        let [[a, b, c], [d, e, f]] = matrix.map(|row| row.map(|v| f64::from(v as f32)));
        // Inverted by elimination with reciprocals of the pivots, like the reference's linear
        // algebra: the rounding decides which pixels are outside the image.
        let pivot = 1.0 / a;
        let below = d * pivot;
        let second = 1.0 / (e - below * b);
        let (y_from_x, y_from_y) = (-below * second, second);
        let y_shift = -(f - below * c) * second;
        let x_from_y = -(b * y_from_y) * pivot;
        let x_from_x = (1.0 - b * y_from_x) * pivot;
        let x_shift = (-c - b * y_shift) * pivot;
        [[y_from_y, y_from_x, y_shift], [x_from_y, x_from_x, x_shift]]
    }

    /// Whether rows of the input are rows of the image, i.e. the crop isn't rotated.
    pub(crate) fn is_upright(self) -> bool {
        self.angle == 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region([x, y, width, height]: [f64; 4], angle: f64) -> Region {
        Region {
            x,
            y,
            width,
            height,
            angle,
        }
    }

    fn near(a: [f64; 2], b: [f64; 2]) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3)
    }

    #[test]
    fn a_box_is_extended_to_the_aspect_ratio_and_enlarged() {
        // 40 x 40 becomes 40 x 53 1/3, and 50 x 66 2/3 with the margin.
        let crop = PoseCrop::new(&region([10.0, 20.0, 40.0, 40.0], 0.0), [64, 48], 200.0).unwrap();
        assert!(near(
            crop.to_image([0.0, 0.0], [64, 48]),
            [5.0, 40.0 - 100.0 / 3.0]
        ));
        assert!(near(
            crop.to_image([47.0, 63.0], [64, 48]),
            [55.0, 40.0 + 100.0 / 3.0]
        ));
        // A smaller factor makes boxes larger.
        let crop = PoseCrop::new(&region([10.0, 20.0, 40.0, 40.0], 0.0), [64, 48], 100.0).unwrap();
        assert!(near(crop.to_image([0.0, 31.5], [64, 48]), [-20.0, 40.0]));
    }

    #[test]
    fn points_round_trip_through_the_input() {
        for angle in [0.0, 0.4, -2.0] {
            let crop = PoseCrop::new(&region([3.0, 4.0, 50.0, 20.0], angle), [64, 48], 200.0).unwrap();
            for point in [[3.0, 4.0], [28.0, 14.0], [-7.0, 60.0]] {
                for size in [[64, 48], [16, 12]] {
                    assert!(near(crop.to_image(crop.to_map(point, size), size), point));
                }
            }
            // The pixels shown agree with the mapping of points.
            let [y_of, x_of] = crop.to_source();
            for [row, column] in [[0.0, 0.0], [63.0, 10.0], [20.0, 47.0]] {
                let shown = [x_of, y_of].map(|of| of[0] * row + of[1] * column + of[2]);
                assert!(near(shown, crop.to_image([column, row], [64, 48])), "{shown:?}");
            }
        }
    }

    #[test]
    fn a_rotated_box_is_shown_upright() {
        // A quarter turn counter-clockwise: what is above the centre in the image was on its
        // right-hand side.
        let angle = std::f64::consts::FRAC_PI_2;
        let crop = PoseCrop::new(&region([10.0, 10.0, 20.0, 20.0], angle), [33, 33], 200.0).unwrap();
        assert!(near(crop.to_map([20.0, 20.0 - 12.5], [33, 33]), [32.0, 16.0]));
    }

    #[test]
    fn empty_boxes_are_errors() {
        for corners in [
            [0.0, 0.0, 0.0, 5.0],
            [0.0, 0.0, 5.0, -1.0],
            [f64::NAN, 0.0, 5.0, 5.0],
            [0.0, 0.0, 1e300, 5.0],
        ] {
            assert!(
                PoseCrop::new(&region(corners, 0.0), [64, 48], 200.0).is_err(),
                "{corners:?}"
            );
        }
        assert!(PoseCrop::new(&region([0.0, 0.0, 5.0, 5.0], 0.0), [64, 1], 200.0).is_err());
    }
}
