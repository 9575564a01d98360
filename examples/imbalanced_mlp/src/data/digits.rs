//! The optical digits of UCI, 8 × 8 pixels of 0 to 16.

use anyhow::{Result, ensure};

use super::Images;

pub(super) fn load() -> Result<Images> {
    let digits = smartcore::dataset::digits::load_dataset();
    // Whole numbers, kept as floats.
    let byte = |x: f32| (0.0..=255.0).contains(&x) && x.fract() == 0.0;
    ensure!(digits.data.iter().chain(&digits.target).all(|&x| byte(x)), "digits: a pixel or label is not a byte");
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let (pixels, labels) =
        (digits.data.iter().map(|&x| x as u8).collect(), digits.target.iter().map(|&x| x as usize).collect());
    Ok(Images { name: "digits".into(), inputs: digits.num_features, channels: 1, pixels, labels, ordered: false })
}
