//! Projective transformations of the plane.

/// A homography: a 3x3 matrix applied to column vectors (x, y, 1). The third coordinate of the
/// result is the weight by which the other two are divided; it is positive in front of the horizon,
/// and 1 everywhere for affine transformations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matrix([[f64; 3]; 3]);

/// Points with a smaller weight count as behind the horizon: they would be moved about a million
/// times as far away as usual.
pub const HORIZON: f64 = 1e-6;

impl Matrix {
    pub const IDENTITY: Matrix = Matrix::scale_translate([1.0, 1.0], [0.0, 0.0]);

    /// Scales, then translates, without rotation or shear. A negative scale mirrors.
    pub const fn scale_translate(scale: [f64; 2], offset: [f64; 2]) -> Self {
        Matrix([
            [scale[0], 0.0, offset[0]],
            [0.0, scale[1], offset[1]],
            [0.0, 0.0, 1.0],
        ])
    }

    /// Counter-clockwise rotation around `centre`, as seen with y pointing downwards.
    pub fn rotation(radians: f64, centre: [f64; 2]) -> Self {
        let (sin, cos) = radians.sin_cos();
        let [x, y] = centre;
        Matrix([
            [cos, sin, x - cos * x - sin * y],
            [-sin, cos, y + sin * x - cos * y],
            [0.0, 0.0, 1.0],
        ])
    }

    /// Maps the corners (0, 0), (width, 0), (width, height) and (0, height) to those of a convex
    /// quadrilateral, in this order (Heckbert 1989, "Fundamentals of Texture Mapping and Image
    /// Warping", section 2.2.3).
    pub fn to_quad(size: [f64; 2], [a, b, c, d]: [[f64; 2]; 4]) -> Self {
        let sum = [a[0] - b[0] + c[0] - d[0], a[1] - b[1] + c[1] - d[1]];
        let (right, below) = ([b[0] - c[0], b[1] - c[1]], [d[0] - c[0], d[1] - c[1]]);
        let det = right[0] * below[1] - below[0] * right[1];
        let g = (sum[0] * below[1] - below[0] * sum[1]) / det;
        let h = (right[0] * sum[1] - sum[0] * right[1]) / det;
        let unit = Matrix([
            [b[0] - a[0] + g * b[0], d[0] - a[0] + h * d[0], a[0]],
            [b[1] - a[1] + g * b[1], d[1] - a[1] + h * d[1], a[1]],
            [g, h, 1.0],
        ]);
        Matrix::scale_translate([1.0 / size[0], 1.0 / size[1]], [0.0, 0.0]).then(&unit)
    }

    /// The composition: this transformation followed by `next`.
    pub fn then(&self, next: &Matrix) -> Self {
        let column = |j: usize| self.0.map(|row| row.get(j).copied().unwrap_or(0.0));
        let columns = [column(0), column(1), column(2)];
        let dot =
            |row: [f64; 3], column: [f64; 3]| row[0] * column[0] + row[1] * column[1] + row[2] * column[2];
        Matrix(next.0.map(|row| columns.map(|column| dot(row, column))))
    }

    /// The inverse. All transformations used here are invertible; a singular one would yield
    /// infinities, which lie outside every image.
    pub fn inverse(&self) -> Self {
        let [[a, b, c], [d, e, f], [g, h, i]] = self.0;
        let det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
        Matrix(
            [
                [e * i - f * h, c * h - b * i, b * f - c * e],
                [f * g - d * i, a * i - c * g, c * d - a * f],
                [d * h - e * g, b * g - a * h, a * e - b * d],
            ]
            .map(|row| row.map(|v| v / det)),
        )
    }

    /// The three homogeneous coordinates before the division: x, y and weight.
    pub fn weighted(&self, [x, y]: [f64; 2]) -> [f64; 3] {
        self.0.map(|row| row[0] * x + row[1] * y + row[2])
    }

    /// Transforms a point; `None` on or behind the horizon.
    pub fn point(&self, point: [f64; 2]) -> Option<[f64; 2]> {
        let [x, y, weight] = self.weighted(point);
        // Skipping the division by 1 keeps the coordinates of affine transformations exact.
        if weight == 1.0 {
            Some([x, y])
        } else {
            (weight > HORIZON).then(|| [x / weight, y / weight])
        }
    }

    /// The change of x, y and weight from a point to the pixel to its right.
    pub fn steps(&self) -> [f64; 3] {
        self.0.map(|row| row[0])
    }

    /// The Jacobian at a point in front of the horizon: `[[dx'/dx, dx'/dy], [dy'/dx, dy'/dy]]`.
    pub fn jacobian(&self, point: [f64; 2]) -> [[f64; 2]; 2] {
        let [x, y, weight] = self.weighted(point);
        let weight = weight.max(HORIZON);
        let [across, down, bottom] = self.0;
        let row = |row: [f64; 3], value: f64| {
            [
                (row[0] - bottom[0] * value / weight) / weight,
                (row[1] - bottom[1] * value / weight) / weight,
            ]
        };
        [row(across, x), row(down, y)]
    }

    /// The scales and the translation, if the transformation consists only of these.
    pub fn as_scale_translate(&self) -> Option<([f64; 2], [f64; 2])> {
        match self.0 {
            [[x, 0.0, left], [0.0, y, top], [0.0, 0.0, 1.0]] => Some(([x, y], [left, top])),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: [f64; 2], b: [f64; 2]) -> bool {
        (a[0] - b[0]).abs() < 1e-6 && (a[1] - b[1]).abs() < 1e-6
    }

    #[test]
    fn points_behind_the_horizon_have_no_image() {
        // The weight is 1 - x / 10.
        let map = Matrix([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-0.1, 0.0, 1.0]]);
        assert_eq!(map.point([5.0, 1.0]), Some([10.0, 2.0]));
        assert_eq!(map.point([10.0, 1.0]), None);
        assert_eq!(map.point([12.0, 1.0]), None);
    }

    proptest! {
        #[test]
        fn corners_map_to_the_corners_of_the_quadrilateral_and_back(
            moves in prop::array::uniform8(0.0f64..0.2), x in 0.0f64..640.0, y in 0.0f64..480.0, angle in -3.0f64..3.0,
        ) {
            let [w, h] = [640.0, 480.0];
            let m = |i: usize, side: f64| moves[i] * side;
            let quad = [
                [m(0, w), m(1, h)],
                [w - m(2, w), m(3, h)],
                [w - m(4, w), h - m(5, h)],
                [m(6, w), h - m(7, h)],
            ];
            let map = Matrix::to_quad([w, h], quad);
            for (corner, expected) in [[0.0, 0.0], [w, 0.0], [w, h], [0.0, h]].into_iter().zip(quad) {
                prop_assert!(close(map.point(corner).unwrap(), expected));
            }
            let both = map.then(&Matrix::rotation(angle, [100.0, 50.0]));
            let there = both.point([x, y]).unwrap();
            let back = both.inverse().point(there).unwrap();
            prop_assert!(close(back, [x, y]), "{:?}", back);
        }

        #[test]
        fn the_jacobian_is_the_slope(x in 0.0f64..640.0, y in 0.0f64..480.0) {
            let map = Matrix::to_quad([640.0, 480.0], [[10.0, 20.0], [600.0, 5.0], [630.0, 470.0], [30.0, 430.0]]);
            let [[xx, xy], [yx, yy]] = map.jacobian([x, y]);
            let at = |x: f64, y: f64| map.point([x, y]).unwrap();
            let (here, right, below) = (at(x, y), at(x + 1e-4, y), at(x, y + 1e-4));
            for (slope, to, axis) in [(xx, right, 0), (yx, right, 1), (xy, below, 0), (yy, below, 1)] {
                prop_assert!((slope - (to[axis] - here[axis]) / 1e-4).abs() < 1e-4);
            }
        }
    }
}
