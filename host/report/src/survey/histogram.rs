//! Histograms.

use serde_json::{Value, json};

/// A histogram with increasing edges. Bin `i` counts values of at least `edges[i - 1]` and below
/// `edges[i]`; the first bin has no lower and the last no upper bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// The lower bounds of all bins but the first.
    edges: Vec<f64>,
    labels: Vec<String>,
    counts: Vec<u64>,
}

impl Histogram {
    /// `labels` has one entry per bin, that is, one more than `edges`.
    pub fn new(edges: &[f64], labels: &[&str]) -> Self {
        Histogram {
            edges: edges.to_vec(),
            labels: labels.iter().map(ToString::to_string).collect(),
            counts: vec![0; edges.len() + 1],
        }
    }

    /// The width of an image divided by its height.
    pub fn aspect_ratio() -> Self {
        let labels = [
            "< 0.5",
            "0.5–0.67",
            "0.67–0.8",
            "0.8–0.95",
            "0.95–1.05",
            "1.05–1.25",
            "1.25–1.5",
            "1.5–2",
            "≥ 2",
        ];
        let edges = [0.5, 2.0 / 3.0, 0.8, 0.95, 1.05, 1.25, 1.5, 2.0];
        Self::new(&edges, &labels)
    }

    /// The number of objects in a record.
    pub fn objects() -> Self {
        let labels = [
            "0", "1", "2", "3–4", "5–8", "9–16", "17–32", "33–64", "65–128", "≥ 129",
        ];
        Self::new(&[1.0, 2.0, 3.0, 5.0, 9.0, 17.0, 33.0, 65.0, 129.0], &labels)
    }

    /// The square root of the ratio of a box's area to the image's area.
    pub fn relative_size() -> Self {
        let labels = [
            "< 1 %",
            "1–2 %",
            "2–5 %",
            "5–10 %",
            "10–20 %",
            "20–30 %",
            "30–50 %",
            "50–70 %",
            "≥ 70 %",
        ];
        Self::new(&[0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7], &labels)
    }

    /// The area of a box in square pixels, in COCO's size classes.
    pub fn coco_area() -> Self {
        let labels = ["small (< 32²)", "medium (< 96²)", "large (≥ 96²)"];
        Self::new(&[32.0 * 32.0, 96.0 * 96.0], &labels)
    }

    pub fn add(&mut self, value: f64) {
        let bin = self.edges.partition_point(|edge| *edge <= value);
        if let Some(count) = self.counts.get_mut(bin) {
            *count += 1;
        }
    }

    /// The label and count of each bin.
    pub fn bins(&self) -> impl Iterator<Item = (&str, u64)> {
        self.labels
            .iter()
            .map(String::as_str)
            .zip(self.counts.iter().copied())
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// `{"edges": […], "labels": […], "counts": […]}`.
    pub fn to_json(&self) -> Value {
        json!({"edges": self.edges, "labels": self.labels, "counts": self.counts})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_an_edge_belongs_to_the_bin_above() {
        let mut histogram = Histogram::coco_area();
        for area in [0.0, 1023.9, 1024.0, 9215.0, 9216.0, 1e9] {
            histogram.add(area);
        }
        assert_eq!(
            histogram.bins().map(|(_, count)| count).collect::<Vec<_>>(),
            [2, 2, 2]
        );
        assert_eq!(histogram.total(), 6);
    }

    #[test]
    fn every_bin_has_a_label() {
        for histogram in [
            Histogram::aspect_ratio(),
            Histogram::objects(),
            Histogram::relative_size(),
            Histogram::coco_area(),
        ] {
            assert_eq!(histogram.labels.len(), histogram.counts.len(), "{histogram:?}");
            assert!(histogram.edges.is_sorted());
        }
    }
}
