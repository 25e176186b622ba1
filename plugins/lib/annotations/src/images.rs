//! The images of a split, stored compactly: 24 bytes per image plus the file names.

/// Ids, sizes and file names, in insertion order.
#[derive(Debug, Default, Clone)]
pub struct Images {
    ids: Vec<i64>,
    sizes: Vec<(u32, u32)>,
    /// The concatenated names, and the end of each.
    names: String,
    ends: Vec<usize>,
}

impl Images {
    /// Adds an image. `name` is relative to the split's folder; `size` is width and height in
    /// pixels, 0 if unknown.
    pub fn push(&mut self, id: i64, name: &str, size: (u32, u32)) {
        self.ids.push(id);
        self.sizes.push(size);
        self.names.push_str(name);
        self.ends.push(self.names.len());
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The ids in order.
    pub fn ids(&self) -> &[i64] {
        &self.ids
    }

    pub fn id(&self, index: usize) -> Option<i64> {
        self.ids.get(index).copied()
    }

    /// Width and height in pixels; 0 if the annotations don't give them or `index` is out of range.
    pub fn size(&self, index: usize) -> (u32, u32) {
        self.sizes.get(index).copied().unwrap_or_default()
    }

    /// The file name; empty if `index` is out of range.
    pub fn name(&self, index: usize) -> &str {
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before).copied(),
            None => Some(0),
        };
        let range = start.zip(self.ends.get(index).copied());
        range
            .and_then(|(start, end)| self.names.get(start..end))
            .unwrap_or_default()
    }

    /// File names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.name(index))
    }

    /// Ids with their positions, sorted, for [`position`].
    pub fn positions(&self) -> Vec<(i64, u32)> {
        let mut positions: Vec<(i64, u32)> = self.ids.iter().copied().zip(0..).collect();
        positions.sort_unstable();
        positions
    }

    /// Releases excess capacity.
    pub fn shrink(&mut self) {
        self.ids.shrink_to_fit();
        self.sizes.shrink_to_fit();
        self.names.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.ids.capacity() * size_of::<i64>()
            + self.sizes.capacity() * size_of::<(u32, u32)>()
            + self.names.capacity()
            + self.ends.capacity() * size_of::<usize>()
    }
}

/// The index of the image `id` in the result of [`Images::positions`]; the first one of a repeated
/// id.
pub fn position(positions: &[(i64, u32)], id: i64) -> Option<usize> {
    let at = positions.partition_point(|&(known, _)| known < id);
    positions
        .get(at)
        .filter(|(known, _)| *known == id)
        .map(|(_, index)| *index as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sizes_and_ids_come_back() {
        let mut images = Images::default();
        images.push(7, "a/ä.jpg", (4, 3));
        images.push(2, "", (0, 0));
        images.push(9, "c.png", (1, 2));
        assert_eq!(images.names().collect::<Vec<_>>(), ["a/ä.jpg", "", "c.png"]);
        assert_eq!((images.id(2), images.size(2)), (Some(9), (1, 2)));
        assert_eq!((images.name(3), images.id(3), images.size(3)), ("", None, (0, 0)));
        let positions = images.positions();
        assert_eq!(position(&positions, 9), Some(2));
        assert_eq!(position(&positions, 8), None);
    }
}
