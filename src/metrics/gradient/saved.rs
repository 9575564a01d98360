//! The saved form of [`GradientAccumulator`], with a version: what one process has gathered another one goes on with.

use std::sync::Arc;

use faer::{Col, ColRef, Mat};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use super::{
    super::{features::MAX_SAMPLES, nearest_center::NearestCenter},
    accumulator::GradientAccumulator,
    kernels::Pulls,
    network::Network,
    part::{Part, Sums},
};
use crate::{
    error::Error,
    linalg::saved::{Version, Writing},
    model::Ufm,
};

impl Serialize for GradientAccumulator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Network { weights, bias, product } = &*self.network;
        let mut saved = serializer.serialize_struct("GradientAccumulator", 7)?;
        saved.serialize_field("version", &Version::<1>)?;
        saved.serialize_field("models", &self.models)?;
        saved.serialize_field("weights", &Writing(weights))?;
        saved.serialize_field("bias", &Writing(bias))?;
        saved.serialize_field("product", &Writing(product))?;
        saved.serialize_field("decisions", &self.decisions)?;
        saved.serialize_field("parts", &self.parts)?;
        saved.end()
    }
}

/// Only the sums: what the rest of a part holds is overwritten by the next batch, or empty between batches.
impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut saved = serializer.serialize_struct("Part", 6)?;
        saved.serialize_field("counts", &self.counts)?;
        saved.serialize_field("sums", &self.sums)?;
        saved.serialize_field("square", &Writing(&self.square))?;
        saved.serialize_field("is_nonnegative", &self.is_nonnegative)?;
        saved.serialize_field("logits", &Writing(&self.logits.total))?;
        saved.serialize_field("logits_square", &Writing(&self.logits.square))?;
        saved.end()
    }
}

impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Pulls { square, active, inner, features } = self.pulls;
        let mut saved = serializer.serialize_struct("Sums", 5)?;
        saved.serialize_field("loss", &Writing(&self.loss))?;
        saved.serialize_field("outer", &Writing(&self.outer))?;
        saved.serialize_field("total", &Writing(&self.total))?;
        saved.serialize_field("residual", &Writing(&self.residual))?;
        saved.serialize_field("pulls", &Writing(&vec![square, active, inner, features]))?;
        saved.end()
    }
}

/// An accumulator as it is read, before its checks.
///
/// The product is read and not computed again: another processor would round it otherwise.
#[derive(Deserialize)]
#[serde(rename = "GradientAccumulator", deny_unknown_fields)]
pub(super) struct Read {
    #[serde(rename = "version")]
    _version: Version<1>,
    models: Vec<Ufm>,
    #[serde(with = "crate::linalg::saved")]
    weights: Vec<Mat<f64>>,
    #[serde(with = "crate::linalg::saved")]
    bias: Option<Col<f64>>,
    #[serde(with = "crate::linalg::saved")]
    product: Mat<f64>,
    decisions: Option<NearestCenter>,
    parts: Vec<ReadPart>,
}

#[derive(Deserialize)]
#[serde(rename = "Part", deny_unknown_fields)]
struct ReadPart {
    counts: Vec<u64>,
    sums: Vec<ReadSums>,
    #[serde(with = "crate::linalg::saved")]
    square: f64,
    is_nonnegative: bool,
    #[serde(with = "crate::linalg::saved")]
    logits: Col<f64>,
    #[serde(with = "crate::linalg::saved")]
    logits_square: f64,
}

#[derive(Deserialize)]
#[serde(rename = "Sums", deny_unknown_fields)]
struct ReadSums {
    #[serde(with = "crate::linalg::saved")]
    loss: f64,
    #[serde(with = "crate::linalg::saved")]
    outer: Mat<f64>,
    #[serde(with = "crate::linalg::saved")]
    total: Col<f64>,
    #[serde(with = "crate::linalg::saved")]
    residual: f64,
    #[serde(with = "crate::linalg::saved")]
    pulls: Vec<f64>,
}

impl TryFrom<Read> for GradientAccumulator {
    type Error = String;

    fn try_from(read: Read) -> Result<Self, String> {
        let Read { models, weights, bias, product, decisions, parts, .. } = read;
        let text = |error: Error| format!("gradient: {error}");
        let empty = Self::new(models, weights, bias).map_err(text)?;
        if product.shape() != empty.network.product.shape() {
            let (rows, cols) = empty.network.product.shape();
            let (found_rows, found_cols) = product.shape();
            return Err(format!("gradient: a product of {found_rows} x {found_cols} given, {rows} x {cols} is needed"));
        }
        if !is_product(&product, &empty.network) {
            return Err("gradient: the product is not that of the layers".into());
        }
        let Self { network, models, parts: fresh, .. } = empty;
        let network = Arc::try_unwrap(network).map_or_else(
            |_| Err("gradient: the network is shared".to_owned()),
            |network| Ok(Network { product, ..network }),
        )?;
        if fresh.len() != parts.len() {
            return Err(format!("gradient: {} parts given, {} are needed", parts.len(), fresh.len()));
        }
        let parts = fresh.into_iter().zip(parts).map(|(part, read)| read.check(part)).collect::<Result<Vec<_>, _>>()?;
        let samples = parts.iter().flat_map(|part| &part.counts).fold(0_u64, |sum, count| sum.saturating_add(*count));
        if samples > MAX_SAMPLES {
            return Err("gradient: the counts sum up to more than 2^53, at most that is accepted".into());
        }
        let accumulator = Self { network: Arc::new(network), models, decisions: None, parts };
        match decisions {
            None => Ok(accumulator),
            Some(decisions) => accumulator.continuing(decisions).map_err(text),
        }
    }
}

/// Whether a product is that of the layers, up to the rounding of another processor: of each layer's inner dimension, for
/// entries all taken positive.
fn is_product(product: &Mat<f64>, network: &Network) -> bool {
    let size = |matrix: &Mat<f64>| Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)].abs());
    let sizes = network.weights[1..].iter().fold(size(&network.weights[0]), |below, weights| size(weights) * below);
    let terms: usize = network.weights.iter().map(|weights| weights.ncols() + 4).sum();
    let rounding = 2.0 * terms as f64 * f64::EPSILON;
    let columns = || product.col_iter().zip(network.product.col_iter()).zip(sizes.col_iter());
    let is_near = |((one, other), size): ((ColRef<'_, f64>, ColRef<'_, f64>), ColRef<'_, f64>)| {
        (0..one.nrows()).all(|i| (one[i] - other[i]).abs() <= rounding * size[i])
    };
    columns().all(is_near)
}

impl ReadPart {
    /// Puts what was read in the place of an empty part.
    fn check(self, mut part: Part) -> Result<Part, String> {
        let Self { counts, sums, square, is_nonnegative, logits, logits_square } = self;
        let classes = part.counts.len();
        let of = |what: &str, found: usize, expected: usize| {
            let fits = found == expected;
            fits.then_some(()).ok_or_else(|| format!("gradient: {found} {what} given, {expected} are needed"))
        };
        of("counts", counts.len(), classes)?;
        of("sums of models", sums.len(), part.sums.len())?;
        of("sums of logits", logits.nrows(), classes)?;
        check_size("square", square)?;
        check_size("square of logits", logits_square)?;
        for (own, read) in part.sums.iter_mut().zip(sums) {
            let ReadSums { loss, outer, total, residual, pulls } = read;
            let (found, expected) = (outer.shape(), own.outer.shape());
            if found != expected {
                let ((rows, cols), (found_rows, found_cols)) = (expected, found);
                return Err(format!("gradient: {found_rows} x {found_cols} given, {rows} x {cols} is needed"));
            }
            of("sums of residuals", total.nrows(), classes)?;
            for (what, number) in [("loss", loss), ("residual", residual)] {
                check_size(what, number)?;
            }
            let [square, active, inner, features] = pulls[..] else {
                return Err(format!("gradient: {} pulls given, 4 are needed", pulls.len()));
            };
            for (what, number) in [("pull", square), ("active pull", active), ("square of features", features)] {
                check_size(what, number)?;
            }
            if !inner.is_finite() {
                return Err(format!("gradient: an inner product of {inner:?} given, accepted: finite numbers"));
            }
            *own = Sums { loss, outer, total, residual, pulls: Pulls { square, active, inner, features } };
        }
        (part.counts, part.square, part.is_nonnegative) = (counts, square, is_nonnegative);
        (part.logits.total, part.logits.square) = (logits, logits_square);
        Ok(part)
    }
}

fn check_size(what: &str, number: f64) -> Result<(), String> {
    let fits = number.is_finite() && number >= 0.0;
    fits.then_some(()).ok_or_else(|| format!("gradient: a {what} of {number:?} given, accepted: finite numbers >= 0"))
}
