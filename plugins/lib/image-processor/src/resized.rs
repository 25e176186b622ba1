//! Resizes an image row by row, so that intermediate results stay in the CPU's caches.

use crate::kernels::{self, ROWS};
use crate::resize::{Resample, Taps};
use cvhost_plugin_api::error::Result;
use std::ops::Range;

/// Number of rows, resized along x, that accumulate before those no longer needed by the vertical
/// pass are dropped.
const GATHERED: usize = 32;

/// A resize of which only a part is computed. All sizes are in pixels.
pub(crate) struct Resized<'a> {
    /// 8-bit RGB, `[height, width, 3]`; its length matches `size`.
    pub(crate) pixels: &'a [u8],
    /// Width and height.
    pub(crate) size: (usize, usize),
    /// Width and height after resizing.
    pub(crate) to: (usize, usize),
    /// The columns of the result to compute.
    pub(crate) columns: Range<usize>,
    pub(crate) rows: Range<usize>,
    pub(crate) filter: Resample,
}

impl Resized<'_> {
    /// Passes the wanted rows to `emit` in order, numbered from 0: 8-bit RGB, three bytes per
    /// wanted column.
    pub(crate) fn each_row(&self, emit: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let ((width, height), (to_width, to_height)) = (self.size, self.to);
        let x = (to_width != width).then(|| Taps::new(self.filter, width, to_width, self.columns.clone()));
        let y = (to_height != height).then(|| Taps::new(self.filter, height, to_height, self.rows.clone()));
        match (x, y) {
            (None, None) => self.unchanged(emit),
            (None, Some(y)) => self.along_y(&y, emit),
            (Some(x), None) => self.along_x(&x, emit),
            (Some(x), Some(y)) if columns_first(self.size, self.to) => self.along_y_then_x(&x, &y, emit),
            (Some(x), Some(y)) => self.along_x_then_y(&x, &y, emit),
        }
    }

    /// The image's bytes starting at this column and row.
    fn from(&self, column: usize, row: usize) -> &[u8] {
        self.pixels
            .get(row * self.stride() + 3 * column..)
            .unwrap_or_default()
    }

    fn stride(&self) -> usize {
        3 * self.size.0
    }

    /// Bytes per output row.
    fn length(&self) -> usize {
        3 * self.columns.len()
    }

    fn unchanged(&self, mut emit: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        for (index, row) in self.rows.clone().enumerate() {
            let pixels = self.from(self.columns.start, row);
            emit(index, pixels.get(..self.length()).unwrap_or_default())?;
        }
        Ok(())
    }

    fn along_y(&self, taps: &Taps, mut emit: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let mut line = vec![0u8; self.length()];
        for (index, (start, weights)) in taps.iter().enumerate() {
            kernels::along_y(
                self.from(self.columns.start, start),
                self.stride(),
                weights,
                &mut line,
            );
            emit(index, &line)?;
        }
        Ok(())
    }

    fn along_x(&self, taps: &Taps, mut emit: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let mut pass = Horizontal::new(taps);
        let mut block = vec![0u8; ROWS * self.length()];
        for (first, count) in blocks(self.rows.len()) {
            let source = self.from(pass.reach.start, self.rows.start + first);
            pass.run(source, self.stride(), count, &mut block);
            for (lane, row) in block.chunks_exact(self.length()).take(count).enumerate() {
                emit(first + lane, row)?;
            }
        }
        Ok(())
    }

    fn along_y_then_x(
        &self,
        x: &Taps,
        y: &Taps,
        mut emit: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut pass = Horizontal::new(x);
        let stride = 3 * pass.reach.len();
        let mut source = vec![0u8; ROWS * stride];
        let mut block = vec![0u8; ROWS * self.length()];
        let mut taps = y.iter();
        for (first, count) in blocks(self.rows.len()) {
            for (row, (start, weights)) in source.chunks_exact_mut(stride).zip(taps.by_ref().take(count)) {
                kernels::along_y(self.from(pass.reach.start, start), self.stride(), weights, row);
            }
            pass.run(&source, stride, count, &mut block);
            for (lane, row) in block.chunks_exact(self.length()).take(count).enumerate() {
                emit(first + lane, row)?;
            }
        }
        Ok(())
    }

    fn along_x_then_y(
        &self,
        x: &Taps,
        y: &Taps,
        mut emit: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut pass = Horizontal::new(x);
        let length = self.length();
        let end = y.reach().end;
        // Rows of the image starting at `base`, resized along x.
        let most = y.most() + GATHERED;
        let mut gathered = vec![0u8; most * length];
        let (mut base, mut count) = (0, 0);
        let mut line = vec![0u8; length];
        for (index, (start, weights)) in y.iter().enumerate() {
            if start >= base + count {
                (base, count) = (start, 0);
            }
            while base + count < start + weights.len() {
                if count + ROWS > most {
                    gathered.copy_within((start - base) * length..count * length, 0);
                    (base, count) = (start, base + count - start);
                }
                let more = ROWS.min(end - (base + count));
                let source = self.from(pass.reach.start, base + count);
                let target = gathered.get_mut(count * length..).unwrap_or_default();
                pass.run(source, self.stride(), more, target);
                count += more;
            }
            let rows = gathered.get((start - base) * length..).unwrap_or_default();
            kernels::along_y(rows, length, weights, &mut line);
            emit(index, &line)?;
        }
        Ok(())
    }
}

/// Whether the vertical pass comes first. The order matters because each pass rounds to 8 bits.
/// Pillow 13 does so if the height shrinks more than twice as much as the width; older versions
/// always process rows first.
fn columns_first((width, height): (usize, usize), (to_width, to_height): (usize, usize)) -> bool {
    to_height < height && (height - to_height) + 2 * to_width > 2 * width
}

/// The starts and lengths of blocks of up to [`ROWS`] rows.
fn blocks(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows)
        .step_by(ROWS)
        .map(move |first| (first, ROWS.min(rows - first)))
}

/// The horizontal pass, [`ROWS`] rows at a time.
struct Horizontal<'a> {
    taps: &'a Taps,
    /// The columns of the image needed.
    reach: Range<usize>,
    columns: Vec<[u8; ROWS]>,
    resized: Vec<[u8; ROWS]>,
}

impl<'a> Horizontal<'a> {
    fn new(taps: &'a Taps) -> Self {
        let reach = taps.reach();
        Horizontal {
            taps,
            columns: vec![[0; ROWS]; 3 * reach.len()],
            resized: vec![[0; ROWS]; 3 * taps.iter().count()],
            reach,
        }
    }

    /// Resizes `count` rows. `rows` starts at column `reach.start` of the first row; the results
    /// are written to `out` one after the other.
    fn run(&mut self, rows: &[u8], stride: usize, count: usize, out: &mut [u8]) {
        kernels::to_columns(rows, stride, &mut self.columns);
        kernels::along_x(&self.columns, self.reach.start, self.taps, &mut self.resized);
        kernels::to_rows(&self.resized, count, self.resized.len(), out);
    }
}
