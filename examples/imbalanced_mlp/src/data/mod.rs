//! Real images with labels, and the imbalanced part of them that a network is trained on.

mod cifar10;
mod digits;
mod idx;

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context, Result, bail, ensure};
use flate2::Crc;
use neural_collapse::{
    ClassCounts,
    rand::{SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom},
};

/// Which images: what `--data` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The 1,797 digits of UCI, 8 × 8, which come with the program.
    Digits,
    /// CIFAR-10 in its official binary layout: files, or folders of them.
    Cifar10(Vec<PathBuf>),
    /// Images and labels in the format of MNIST, compressed by gzip or not.
    Idx {
        /// The file of images.
        images: PathBuf,
        /// The file of labels.
        labels: PathBuf,
    },
}

/// All images of a source, as bytes, with their classes from 0.
#[derive(Clone, Debug)]
struct Images {
    /// What errors call them.
    name: String,
    /// Pixels of one image, all channels one after another.
    inputs: usize,
    channels: usize,
    pixels: Vec<u8>,
    labels: Vec<usize>,
    /// Whether the order says something, as that of words does, so that the first of a class are not like the rest.
    ordered: bool,
}

/// The images that a network is trained on.
#[derive(Clone, Debug)]
pub struct TrainingSet {
    /// One image after another: N × D, every channel of mean 0 and variance 1.
    pub images: Vec<f32>,
    /// Their classes.
    pub labels: Vec<usize>,
    /// Numbers D of an image.
    pub inputs: usize,
    /// Samples of every class.
    pub counts: ClassCounts,
    /// A checksum of the images and labels, before they are scaled.
    pub checksum: u32,
}

impl Source {
    /// From the words after `--data`.
    ///
    /// # Errors
    ///
    /// Words that are none of the three forms.
    pub fn from_words(words: &[String]) -> Result<Self> {
        match words {
            [name] if name == "digits" => Ok(Self::Digits),
            [name, paths @ ..] if name == "cifar10" && !paths.is_empty() => {
                Ok(Self::Cifar10(paths.iter().map(PathBuf::from).collect()))
            }
            [name, images, labels] if name == "idx" => Ok(Self::Idx { images: images.into(), labels: labels.into() }),
            _ => bail!(
                "--data {}: accepted are `digits`, `cifar10 PATH...` (files in the binary layout, or their folder) \
                 and `idx IMAGES LABELS` (two files, compressed by gzip or not)",
                words.join(" ")
            ),
        }
    }

    /// The profile of the paper that goes with the data, if there is one.
    #[must_use]
    pub fn default_counts(&self) -> Option<ClassCounts> {
        match self {
            // The steps of the paper's CIFAR-10 profile, as large as 174 samples of the rarest digit allow.
            Self::Digits => ClassCounts::from_str("150x2,120x2,90x2,60x2,30x2").ok(),
            Self::Cifar10(_) => Some(ClassCounts::paper_cifar10()),
            Self::Idx { .. } => None,
        }
    }

    /// The first n_k images of every class: in the order of the data set or, where that order says something, as the
    /// seed shuffles them.
    ///
    /// # Errors
    ///
    /// Files that are missing, cut short or of another format; labels out of range; a class with fewer images than
    /// asked for.
    pub fn load(&self, counts: &ClassCounts, seed: u64) -> Result<TrainingSet> {
        let images = match self {
            Self::Digits => digits::load()?,
            Self::Cifar10(paths) => cifar10::load(paths)?,
            Self::Idx { images, labels } => idx::load(images, labels, counts.classes())?,
        };
        images.select(counts, seed).with_context(|| format!("--data {}", images.name))
    }
}

impl Images {
    fn select(&self, counts: &ClassCounts, seed: u64) -> Result<TrainingSet> {
        let classes = counts.classes();
        if let Some(index) = self.labels.iter().position(|&label| label >= classes) {
            bail!(
                "image {index} (counted from 0) is of class {}, and --counts gives counts for {classes} classes",
                self.labels[index]
            );
        }
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        if self.ordered {
            order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        }
        let mut missing = counts.counts().to_vec();
        order.retain(|&sample| {
            let left = &mut missing[self.labels[sample]];
            let take = *left > 0;
            *left -= u64::from(take);
            take
        });
        if let Some(class) = missing.iter().position(|&left| left > 0) {
            let asked = counts.counts()[class];
            let there = asked - missing[class];
            bail!("class {class} (counted from 0) has {there} images, --counts asks for {asked}");
        }
        ensure!(self.inputs > 0, "the images have no pixels");
        let mut checksum = Crc::new();
        let mut images = Vec::with_capacity(order.len() * self.inputs);
        let mut labels = Vec::with_capacity(order.len());
        for sample in order {
            let pixels = &self.pixels[sample * self.inputs..][..self.inputs];
            checksum.update(pixels);
            checksum.update(&(self.labels[sample] as u64).to_le_bytes());
            images.extend(pixels.iter().copied().map(f32::from));
            labels.push(self.labels[sample]);
        }
        standardize(&mut images, self.inputs, self.channels);
        Ok(TrainingSet { images, labels, inputs: self.inputs, counts: counts.clone(), checksum: checksum.sum() })
    }
}

/// Every channel to mean 0 and variance 1 over all its pixels in all images; a channel of one value to 0.
fn standardize(images: &mut [f32], inputs: usize, channels: usize) {
    let pixels = inputs / channels;
    for channel in 0..channels {
        let range = channel * pixels..(channel + 1) * pixels;
        let count = (images.len() / channels) as f64;
        let values = |image: &[f32]| image[range.clone()].iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let mean = images.chunks_exact(inputs).flat_map(values).sum::<f64>() / count;
        let squares = images.chunks_exact(inputs).flat_map(values).map(|x| (x - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
        for x in images.chunks_exact_mut(inputs).flat_map(|image| &mut image[range.clone()]) {
            #[allow(clippy::cast_possible_truncation)]
            let scaled = ((f64::from(*x) - mean) * scale) as f32;
            *x = scaled;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_have_mean_zero_and_variance_one() {
        let mut images: Vec<f32> = vec![1.0, 3.0, 7.0, 7.0, 5.0, 7.0, 7.0, 7.0];
        standardize(&mut images, 4, 2);
        let first: Vec<f64> = [0, 1, 4, 5].map(|i| f64::from(images[i])).into();
        assert!(first.iter().sum::<f64>().abs() < 1e-6);
        assert!((first.iter().map(|x| x * x).sum::<f64>() - 4.0).abs() < 1e-6);
        assert_eq!([2, 3, 6, 7].map(|i| images[i]), [0.0; 4]);
    }

    #[test]
    fn the_first_of_every_class_are_taken() {
        let images = Images {
            name: "test".into(),
            inputs: 1,
            channels: 1,
            pixels: vec![10, 20, 30, 40, 50],
            labels: vec![1, 0, 1, 0, 1],
            ordered: false,
        };
        let set = images.select(&"1,2".parse().unwrap(), 0).unwrap();
        assert_eq!(set.labels, [1, 0, 1]);
        // 10, 20, 30: the mean is 20, and what is left is in equal steps.
        assert_eq!(set.images[1], 0.0);
        assert_eq!(set.images[0], -set.images[2]);
    }
}
