//! The format of MNIST: a magic number that tells the type and the dimensions, the dimensions, the numbers.

use std::{io::Read, path::Path};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;

use super::Images;

/// The first bytes of a file that gzip has compressed.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The type of the numbers: bytes.
const BYTES: u8 = 0x08;

/// Images and labels of two files. Labels run from 0 or, where none is 0 and one is the number of classes, from 1, as
/// those of EMNIST letters do.
pub(super) fn load(images: &Path, labels: &Path, classes: usize) -> Result<Images> {
    let named = |path: &Path| format!("--data idx {}", path.display());
    let (shape, pixels) = read(images, "images").with_context(|| named(images))?;
    ensure!(shape.len() >= 2, "{}: labels given, the file of images goes first", named(images));
    let (label_shape, values) = read(labels, "labels").with_context(|| named(labels))?;
    ensure!(label_shape.len() == 1, "{}: images given, the file of labels goes second", named(labels));
    ensure!(
        shape[0] == values.len(),
        "{}: {} labels for the {} images of {}",
        named(labels),
        values.len(),
        shape[0],
        images.display()
    );
    let first = usize::from(!values.contains(&0) && values.iter().any(|&value| usize::from(value) == classes));
    let class = |(index, &value): (usize, &u8)| {
        let last = classes - 1 + first;
        ensure!(
            usize::from(value) <= last,
            "{}: entry {index} (counted from 0) is {value}, accepted are {first} to {last} for the {classes} classes \
             of --counts",
            named(labels)
        );
        Ok(usize::from(value) - first)
    };
    Ok(Images {
        name: format!("idx {}", images.display()),
        inputs: shape[1..].iter().product(),
        channels: 1,
        labels: values.iter().enumerate().map(class).collect::<Result<_>>()?,
        pixels,
        ordered: true,
    })
}

/// The dimensions and the bytes of a file.
fn read(path: &Path, what: &str) -> Result<(Vec<usize>, Vec<u8>)> {
    let mut bytes = std::fs::read(path)?;
    if bytes.starts_with(&GZIP) {
        let mut plain = Vec::new();
        MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).context("the compressed file is damaged")?;
        bytes = plain;
    }
    let (&[a, b, kind, dimensions], rest) =
        bytes.split_first_chunk::<4>().context("the file is shorter than its magic number of 4 bytes")?;
    if a != 0 || b != 0 || kind != BYTES || dimensions == 0 {
        bail!(
            "the magic number is {:#010x}, accepted are 0x00000801 (labels) and 0x00000803 (images): this is not a \
             file of {what} in the IDX format",
            u32::from_be_bytes([a, b, kind, dimensions])
        );
    }
    let (sizes, numbers) = rest.split_at_checked(4 * usize::from(dimensions)).context("the file ends in its header")?;
    let shape: Vec<usize> = sizes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|size| usize::try_from(u32::from_be_bytes(*size)))
        .collect::<Result<_, _>>()?;
    let announced = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    if announced != Some(numbers.len()) {
        let dimensions = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
        bail!("{} bytes of {what} after the header, which announces {dimensions}", numbers.len());
    }
    Ok((shape, numbers.to_vec()))
}
