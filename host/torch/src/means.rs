//! Means of the loss and its parts over images.

use crate::network::Forward;
use crate::scalars;
use cvhost::error::Result;

/// Means of the loss and its parts over images, stored as sums that can be merged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Means {
    images: usize,
    loss: f64,
    parts: Vec<(String, f64)>,
}

impl Means {
    /// Adds the loss and its parts of a batch, with a single copy from the device.
    pub fn add(&mut self, forward: &Forward, images: usize) -> Result<()> {
        let parts = forward.parts.iter().map(|(_, value)| value);
        let packed = scalars::pack(forward.loss.iter().chain(parts))?;
        let mut values = scalars::read(&packed)?.into_iter();
        let loss = forward.loss.as_ref().and_then(|_| values.next());
        let names = forward.parts.iter().map(|(name, _)| name.as_str());
        self.add_numbers(loss, names.zip(values), images);
        Ok(())
    }

    /// Adds the loss and its parts of a batch of `images` images.
    pub fn add_numbers<'a>(
        &mut self,
        loss: Option<f64>,
        parts: impl Iterator<Item = (&'a str, f64)>,
        images: usize,
    ) {
        let weight = images as f64;
        self.images += images;
        self.loss += weight * loss.unwrap_or(0.0);
        for (name, value) in parts {
            self.add_part(name, weight * value);
        }
    }

    fn add_part(&mut self, name: &str, value: f64) {
        match self.parts.iter_mut().find(|(n, _)| n == name) {
            Some((_, sum)) => *sum += value,
            None => self.parts.push((name.to_owned(), value)),
        }
    }

    /// Adds the images of `other`.
    pub fn merge(&mut self, other: &Means) {
        self.images += other.images;
        self.loss += other.loss;
        for (name, value) in &other.parts {
            self.add_part(name, *value);
        }
    }

    pub fn images(&self) -> usize {
        self.images
    }

    /// The mean loss; NaN before the first batch.
    pub fn loss(&self) -> f64 {
        self.loss / self.images as f64
    }

    /// The mean of each part of the loss, by name.
    pub fn parts(&self) -> Vec<(String, f64)> {
        let mean = |sum: f64| sum / self.images as f64;
        let parts = self.parts.iter();
        parts.map(|(name, sum)| (name.clone(), mean(*sum))).collect()
    }

    /// Serialises the sums exactly: images, loss, then each part as length, name, value.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((self.images as u64).to_le_bytes());
        bytes.extend(self.loss.to_le_bytes());
        for (name, value) in &self.parts {
            bytes.extend((name.len() as u64).to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes
    }

    /// Reads the output of [`Means::to_bytes`]; `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Means> {
        let mut rest = bytes;
        let mut means = Means {
            images: usize::try_from(u64::from_le_bytes(take(&mut rest)?)).ok()?,
            loss: f64::from_le_bytes(take(&mut rest)?),
            parts: Vec::new(),
        };
        while !rest.is_empty() {
            let length = usize::try_from(u64::from_le_bytes(take(&mut rest)?)).ok()?;
            let (name, after) = rest.split_at_checked(length)?;
            rest = after;
            let name = std::str::from_utf8(name).ok()?.to_owned();
            means.parts.push((name, f64::from_le_bytes(take(&mut rest)?)));
        }
        Some(means)
    }
}

fn take(bytes: &mut &[u8]) -> Option<[u8; 8]> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_means_are_those_of_all_images() {
        let batches = [
            (Some(1.5), 0.25, 2),
            (Some(f64::NAN), -1.0, 1),
            (Some(3.0), 8.5, 4),
        ];
        let add = |means: &mut Means, (loss, part, images): (Option<f64>, f64, usize)| {
            means.add_numbers(loss, [("loss_ce", part)].into_iter(), images);
        };
        let (mut first, mut second) = (Means::default(), Means::default());
        add(&mut first, batches[0]);
        add(&mut second, batches[1]);
        add(&mut second, batches[2]);
        let sent = Means::from_bytes(&second.to_bytes()).unwrap();
        first.merge(&sent);
        assert_eq!(first.images(), 7);
        assert!(first.loss().is_nan());
        assert_eq!(first.parts(), [("loss_ce".to_owned(), (0.5 - 1.0 + 34.0) / 7.0)]);
        assert_eq!(Means::from_bytes(&[]), None);
        let bytes = first.to_bytes();
        assert_eq!(Means::from_bytes(&bytes[..bytes.len() - 1]), None);
    }
}
