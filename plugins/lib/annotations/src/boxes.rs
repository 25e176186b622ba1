//! The boxes of a split, independent of the format they were read from.

use crate::images::{Images, position};

/// One annotated box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Annotation {
    /// Number used for it in messages, see [`Naming`].
    pub id: i64,
    pub image_id: i64,
    pub category_id: i64,
    /// `[x, y, width, height]` as in the file, in pixels or, in a set with [`BoxSet::relative`], as
    /// fractions of the image's sides; NaN where the file has no number.
    pub bbox: [f64; 4],
    /// In squared units of `bbox`; the area of the box if the file gives none.
    pub area: f64,
    /// Ignored: not trained on, and counted neither as a true nor as a false positive in the
    /// evaluation.
    pub crowd: bool,
}

/// A class and its attributes in the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Category {
    pub id: i64,
    pub name: String,
    pub supercategory: Option<String>,
    /// For panoptic files: whether it is a thing, which can be counted, or stuff.
    pub is_thing: Option<bool>,
    /// Keypoint names in order; empty if there are none.
    pub keypoints: Vec<String>,
    /// Pairs of connected keypoints, numbered from 1 as in the file.
    pub skeleton: Vec<[u32; 2]>,
}

/// What the annotation ids of a set refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// Unique ids from the file.
    #[default]
    Annotations,
    /// Ids of panoptic segments, unique within an image.
    Segments,
    /// The index of the object in its image, from 1.
    Objects,
    /// The line in the image's label file, from 1.
    Lines,
    /// The line in the single annotation file, from 1.
    Rows,
}

/// All boxes of a split.
#[derive(Debug, Default)]
pub struct BoxSet {
    pub images: Images,
    pub annotations: Vec<Annotation>,
    pub categories: Vec<Category>,
    /// Boxes are in fractions of the image's sides (0 to 1), not in pixels.
    pub relative: bool,
    pub naming: Naming,
}

impl BoxSet {
    /// The annotation's name in messages, including its image.
    pub fn name_of(&self, annotation: &Annotation, positions: &[(i64, u32)]) -> String {
        let Annotation { id, image_id, .. } = annotation;
        let file = || position(positions, *image_id).map_or("", |index| self.images.name(index));
        match self.naming {
            Naming::Annotations => format!("annotation {id} of image {image_id}"),
            Naming::Segments => format!("segment {id} of image {image_id}"),
            Naming::Objects => format!("object {id} of {}", file()),
            Naming::Lines => format!("line {id} of {}", file()),
            Naming::Rows => format!("line {id} ({})", file()),
        }
    }

    /// The image's name in messages: with its id if the file gives one.
    pub fn name_of_image(&self, index: usize) -> String {
        let name = self.images.name(index);
        match (self.naming, self.images.id(index)) {
            (Naming::Annotations | Naming::Segments, Some(id)) => format!("image {id} ({name})"),
            _ => name.to_owned(),
        }
    }

    /// Groups the annotations by image. Annotations of unknown images are in no group.
    pub fn by_image(&self) -> ByImage {
        let positions = self.images.positions();
        let image_of: Vec<u32> = self
            .annotations
            .iter()
            .map(|a| position(&positions, a.image_id).map_or(u32::MAX, |index| index as u32))
            .collect();
        let key = |i: &u32| image_of.get(*i as usize).copied();
        let mut order: Vec<u32> = (0..image_of.len() as u32).collect();
        if !image_of.is_sorted() {
            order.sort_by_key(key); // stable: keeps the file's order within an image
        }
        let mut starts = Vec::with_capacity(self.images.len() + 1);
        let mut at = 0;
        for image in 0..=self.images.len() as u32 {
            while order.get(at).is_some_and(|i| key(i) < Some(image)) {
                at += 1;
            }
            starts.push(at as u32);
        }
        ByImage { order, starts }
    }

    /// Bytes on the heap, excluding the categories' names.
    pub fn heap_bytes(&self) -> usize {
        self.images.heap_bytes()
            + self.annotations.capacity() * size_of::<Annotation>()
            + self.categories.capacity() * size_of::<Category>()
    }
}

/// The annotations of each image.
#[derive(Debug, Default)]
pub struct ByImage {
    /// Annotation indices, ordered by image and then as in the file.
    order: Vec<u32>,
    /// The annotations of image `i` are `order[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
}

impl ByImage {
    /// Indices of the image's annotations in file order; empty if `image` is out of range.
    pub fn of(&self, image: usize) -> impl Iterator<Item = usize> {
        let bound = |i: usize| self.starts.get(i).map_or(0, |&s| s as usize);
        let own = self.order.get(bound(image)..bound(image + 1)).unwrap_or(&[]);
        own.iter().map(|&i| i as usize)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        (self.order.capacity() + self.starts.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotation(id: i64, image_id: i64) -> Annotation {
        Annotation {
            id,
            image_id,
            category_id: 1,
            bbox: [0.0; 4],
            area: 0.0,
            crowd: false,
        }
    }

    #[test]
    fn annotations_are_grouped_by_image_in_the_files_order() {
        let mut set = BoxSet::default();
        for (id, name) in [(5, "b"), (3, "a"), (4, "c")] {
            set.images.push(id, name, (0, 0));
        }
        set.annotations = [(1, 4), (2, 5), (3, 99), (4, 4), (5, 5)]
            .map(|(id, image)| annotation(id, image))
            .to_vec();
        let groups = set.by_image();
        let of = |image| groups.of(image).collect::<Vec<_>>();
        assert_eq!(
            (of(0), of(1), of(2), of(3)),
            (vec![1, 4], vec![], vec![0, 3], vec![])
        );
        assert_eq!(
            set.name_of(&annotation(9, 3), &set.images.positions()),
            "annotation 9 of image 3"
        );
        set.naming = Naming::Lines;
        assert_eq!(
            set.name_of(&annotation(9, 3), &set.images.positions()),
            "line 9 of a"
        );
        assert!(size_of::<Annotation>() <= 72);
    }
}
