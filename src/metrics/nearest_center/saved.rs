//! The saved form of [`NearestCenter`], with a version.

use faer::{Col, Mat};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use super::{
    NearestCenter,
    rules::{Rules, Sizes, Tally},
};
use crate::{
    linalg::saved::{Version, Writing},
    metrics::features::MAX_SAMPLES,
};

impl Serialize for NearestCenter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Rules { center, classifiers, shift, means, squares, sizes, apart } = &self.rules;
        let mut saved = serializer.serialize_struct("NearestCenter", 9)?;
        saved.serialize_field("version", &Version::<4>)?;
        saved.serialize_field("center", &Writing(center))?;
        saved.serialize_field("classifiers", &Writing(classifiers))?;
        saved.serialize_field("shift", &Writing(shift))?;
        saved.serialize_field("means", &Writing(means))?;
        saved.serialize_field("squares", &Writing(squares))?;
        saved.serialize_field("sizes", sizes)?;
        saved.serialize_field("apart", apart)?;
        saved.serialize_field("tally", &self.tally)?;
        saved.end()
    }
}

/// What is read, before its checks.
///
/// What could be computed again, shift, squares, sizes and distances, is read too: on another processor it would be rounded otherwise,
/// and a sample that is as near to two classes as rounding tells would be judged otherwise.
#[derive(Deserialize)]
#[serde(rename = "NearestCenter", deny_unknown_fields)]
pub(super) struct Read {
    #[serde(rename = "version")]
    _version: Version<4>,
    #[serde(with = "crate::linalg::saved")]
    center: Col<f64>,
    #[serde(with = "crate::linalg::saved")]
    classifiers: Mat<f64>,
    #[serde(with = "crate::linalg::saved")]
    shift: Col<f64>,
    #[serde(with = "crate::linalg::saved")]
    means: Mat<f64>,
    #[serde(with = "crate::linalg::saved")]
    squares: Col<f64>,
    sizes: Vec<Sizes>,
    apart: Vec<f64>,
    tally: Tally,
}

impl TryFrom<Read> for NearestCenter {
    type Error = String;

    fn try_from(read: Read) -> Result<Self, String> {
        let Read { center, classifiers, shift, means, squares, sizes, apart, tally, .. } = read;
        let (width, classes) = means.shape();
        let lengths = [
            (center.nrows(), width),
            (shift.nrows(), classes),
            (squares.nrows(), classes),
            (sizes.len(), classes),
            (apart.len(), classes),
        ];
        if width == 0 || classes == 0 || classifiers.shape() != (classes, width) || lengths.iter().any(|(a, b)| a != b)
        {
            return Err(format!("nearest center: its parts do not fit class means of {width} x {classes}"));
        }
        let sizes_of = |sizes: &Sizes| [sizes.classifier, sizes.shift, sizes.mean];
        let wrong = |number: &f64| !(number.is_finite() && *number >= 0.0);
        if let Some(number) = sizes.iter().flat_map(sizes_of).chain(squares.iter().chain(&apart).copied()).find(wrong) {
            return Err(format!("nearest center: a size of {number:?} given, accepted: finite numbers >= 0"));
        }
        tally.check(classes)?;
        Ok(Self { rules: Rules { center, classifiers, shift, means, squares, sizes, apart }, tally })
    }
}

impl Tally {
    fn check(&self, classes: usize) -> Result<(), String> {
        let total = |list: &[u64]| list.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let samples = total(&self.samples);
        let of_class = |class: usize| self.samples.get(class).copied().unwrap_or(0);
        // As many share a place as there are classes, and no class has more samples than it has.
        let fit = |list: &Vec<Vec<u64>>| {
            list.iter().enumerate().all(|(class, of)| of.len() <= classes && total(of) <= of_class(class))
        };
        let is_decided = |of: &Vec<u64>| of.len() <= classes && total(of) <= samples;
        let fits = samples <= MAX_SAMPLES
            && self.samples.len() <= classes
            && self.disagreements <= samples
            && [&self.correct, &self.correct_by_center].into_iter().all(fit)
            && self.decided.len() <= classes
            && self.decided.iter().all(is_decided);
        fits.then_some(()).ok_or_else(|| format!("nearest center: counts do not fit its {samples} samples"))
    }
}
