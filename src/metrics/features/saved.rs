//! Saved forms of statistics and accumulators, with a version: what one process has gathered another one goes on with.

use faer::Mat;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use super::{
    FeatureStatistics, Scatter,
    accumulators::FeatureAccumulator,
    merge::MAX_SAMPLES,
    numbered::{Node, NumberedStatistics},
    part::{Part, number_of_parts},
    second_pass::ScatterAccumulator,
};
use crate::{
    error::Error,
    linalg::saved::{Version, Writing, check_orthonormal},
};

/// The version of saved statistics. A change of what they hold is a new one.
type OfStatistics = Version<1>;
/// The version of saved accumulators. A change of what they hold, or of the number of parts, is a new one.
type OfAccumulators = Version<2>;

impl Serialize for FeatureStatistics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut saved = serializer.serialize_struct("FeatureStatistics", 6)?;
        saved.serialize_field("version", &Version::<1>)?;
        saved.serialize_field("counts", &self.counts)?;
        saved.serialize_field("means", &Writing(&self.means))?;
        saved.serialize_field("errors", &Writing(&self.errors))?;
        saved.serialize_field("squares", &Writing(&self.squares))?;
        saved.serialize_field("scatter", &self.scatter)?;
        saved.end()
    }
}

impl Serialize for FeatureAccumulator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut saved = serializer.serialize_struct("FeatureAccumulator", 4)?;
        saved.serialize_field("version", &Version::<2>)?;
        saved.serialize_field("references", &Writing(&self.references))?;
        saved.serialize_field("has_reference", &self.has_reference)?;
        saved.serialize_field("parts", &written(&self.parts))?;
        saved.end()
    }
}

impl Serialize for ScatterAccumulator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut saved = serializer.serialize_struct("ScatterAccumulator", 4)?;
        saved.serialize_field("version", &Version::<2>)?;
        saved.serialize_field("statistics", &self.statistics)?;
        saved.serialize_field("basis", &Writing(&self.basis))?;
        saved.serialize_field("parts", &written(&self.parts))?;
        saved.end()
    }
}

/// Without the parts that no sample has come to: their zeros could be most of what is sent. The first one is always
/// written, so that what is read takes at most the memory of the eight parts of which one is there.
fn written(parts: &[Part]) -> Vec<Option<&Part>> {
    let is_written = |i, part: &Part| i == 0 || part.counts.iter().any(|&count| count > 0);
    parts.iter().enumerate().map(|(i, part)| is_written(i, part).then_some(part)).collect()
}

/// Only the sums: what the rest of a part holds is overwritten by the next batch.
impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut saved = serializer.serialize_struct("Part", 4)?;
        saved.serialize_field("counts", &self.counts)?;
        saved.serialize_field("sums", &Writing(&self.sums))?;
        saved.serialize_field("squares", &Writing(&self.squares))?;
        saved.serialize_field("scatter", &Writing(&self.scatter))?;
        saved.end()
    }
}

impl Serialize for NumberedStatistics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut saved = serializer.serialize_struct("NumberedStatistics", 3)?;
        saved.serialize_field("version", &Version::<1>)?;
        saved.serialize_field("empty", &self.empty)?;
        saved.serialize_field("nodes", &self.nodes)?;
        saved.end()
    }
}

/// Statistics as they are read, before their checks.
#[derive(Deserialize)]
#[serde(rename = "FeatureStatistics", deny_unknown_fields)]
pub(super) struct ReadStatistics {
    #[serde(rename = "version")]
    _version: OfStatistics,
    counts: Vec<u64>,
    #[serde(with = "crate::linalg::saved")]
    means: Mat<f64>,
    #[serde(with = "crate::linalg::saved")]
    errors: Vec<f64>,
    #[serde(with = "crate::linalg::saved")]
    squares: Vec<f64>,
    scatter: Option<Scatter>,
}

impl TryFrom<ReadStatistics> for FeatureStatistics {
    type Error = String;

    fn try_from(read: ReadStatistics) -> Result<Self, String> {
        let ReadStatistics { counts, means, errors, squares, scatter, .. } = read;
        let (width, classes) = means.shape();
        check_sides("statistics", width, classes)?;
        check_counts("statistics", classes, &[&counts])?;
        check_numbers("statistics: errors", classes, &errors)?;
        check_numbers("statistics: squares", classes, &squares)?;
        for k in (0..classes).filter(|&k| counts[k] == 0) {
            if squares[k] > 0.0 || means.col(k).norm_max() > 0.0 {
                return Err(format!("statistics: class {k} (counted from 0) has no samples, but numbers"));
            }
        }
        match &scatter {
            None => {}
            Some(Scatter::Full(scatter)) => check_scatter(scatter, width)?,
            Some(Scatter::Along { basis, scatter }) => {
                check_basis(basis, width)?;
                check_scatter(scatter, basis.ncols())?;
            }
        }
        Ok(Self { counts, means, errors, squares, scatter })
    }
}

/// Statistics of numbered batches as they are read, before their checks.
#[derive(Deserialize)]
#[serde(rename = "NumberedStatistics", deny_unknown_fields)]
pub(super) struct ReadNumbered {
    #[serde(rename = "version")]
    _version: OfStatistics,
    empty: FeatureStatistics,
    nodes: Vec<Node>,
}

impl TryFrom<ReadNumbered> for NumberedStatistics {
    type Error = String;

    fn try_from(ReadNumbered { empty, nodes, .. }: ReadNumbered) -> Result<Self, String> {
        if empty.counts.iter().any(|&count| count > 0) {
            return Err("statistics of numbered batches: what is empty has samples".into());
        }
        let mut checked = Self { empty, nodes: Vec::new() };
        for node in nodes {
            if !node.is_aligned() {
                let (start, level) = (node.start, node.level);
                return Err(format!("statistics of numbered batches: a node at {start} with level {level}"));
            }
            let text = |error: Error| format!("statistics of numbered batches: {error}");
            checked.check(&node).map_err(text)?;
            checked.join(node).map_err(text)?;
        }
        Ok(checked)
    }
}

/// An accumulator as it is read, before its checks.
#[derive(Deserialize)]
#[serde(rename = "FeatureAccumulator", deny_unknown_fields)]
pub(super) struct ReadFeatures {
    #[serde(rename = "version")]
    _version: OfAccumulators,
    #[serde(with = "crate::linalg::saved")]
    references: Mat<f64>,
    has_reference: Vec<bool>,
    parts: Vec<Option<ReadPart>>,
}

impl TryFrom<ReadFeatures> for FeatureAccumulator {
    type Error = String;

    fn try_from(ReadFeatures { references, has_reference, parts, .. }: ReadFeatures) -> Result<Self, String> {
        let (width, classes) = references.shape();
        check_sides("accumulator", width, classes)?;
        if has_reference.len() != classes {
            return Err(format!("accumulator: {} classes given, {classes} are needed", has_reference.len()));
        }
        let side = if parts.iter().flatten().any(|part| part.scatter.nrows() > 0) { width } else { 0 };
        let parts = check_parts(parts, width, classes, side)?;
        for k in (0..classes).filter(|&k| !has_reference[k]) {
            if references.col(k).norm_max() > 0.0 || parts.iter().any(|part| part.counts[k] > 0) {
                return Err(format!("accumulator: class {k} (counted from 0) has no reference, but numbers"));
            }
        }
        Ok(Self { references, has_reference, parts })
    }
}

/// An accumulator of a second pass as it is read, before its checks.
#[derive(Deserialize)]
#[serde(rename = "ScatterAccumulator", deny_unknown_fields)]
pub(super) struct ReadScatter {
    #[serde(rename = "version")]
    _version: OfAccumulators,
    statistics: FeatureStatistics,
    #[serde(with = "crate::linalg::saved")]
    basis: Mat<f64>,
    parts: Vec<Option<ReadPart>>,
}

impl TryFrom<ReadScatter> for ScatterAccumulator {
    type Error = String;

    fn try_from(ReadScatter { statistics, basis, parts, .. }: ReadScatter) -> Result<Self, String> {
        statistics.check_counts().map_err(|error| error.to_string())?;
        let (width, classes) = statistics.means.shape();
        check_basis(&basis, width)?;
        let parts = check_parts(parts, width, classes, basis.ncols())?;
        Ok(Self { statistics, basis, parts })
    }
}

#[derive(Deserialize)]
#[serde(rename = "Part", deny_unknown_fields)]
struct ReadPart {
    counts: Vec<u64>,
    #[serde(with = "crate::linalg::saved")]
    sums: Mat<f64>,
    #[serde(with = "crate::linalg::saved")]
    squares: Vec<f64>,
    #[serde(with = "crate::linalg::saved")]
    scatter: Mat<f64>,
}

/// The parts of an accumulator for these sizes, in the number that it has: shares of later batches go to the same ones.
fn check_parts(read: Vec<Option<ReadPart>>, width: usize, classes: usize, side: usize) -> Result<Vec<Part>, String> {
    let (expected, found) = (number_of_parts(width, classes, side), read.len());
    if expected != found {
        return Err(format!("accumulator: {found} parts given, {expected} are needed"));
    }
    if read[0].is_none() {
        return Err("accumulator: the first part is null, only the others can be".into());
    }
    let counts: Vec<&[u64]> = read.iter().flatten().map(|part| part.counts.as_slice()).collect();
    check_counts("accumulator", classes, &counts)?;
    let empty = || Part::new(width, classes, side).map_err(|error| error.to_string());
    read.into_iter().map(|part| part.map_or_else(empty, |part| part.check(width, classes, side))).collect()
}

impl ReadPart {
    fn check(self, width: usize, classes: usize, side: usize) -> Result<Part, String> {
        let Self { counts, sums, squares, scatter } = self;
        check_shape("class sums", &sums, (width, classes))?;
        check_numbers("accumulator: squares", classes, &squares)?;
        check_shape("scatter", &scatter, (side, side))?;
        for k in (0..classes).filter(|&k| counts[k] == 0) {
            if squares[k] > 0.0 || sums.col(k).norm_max() > 0.0 {
                return Err(format!("accumulator: class {k} (counted from 0) has no samples, but numbers"));
            }
        }
        let mut part = Part::new(width, classes, side).map_err(|error| error.to_string())?;
        (part.counts, part.sums, part.squares, part.scatter) = (counts, sums, squares, scatter);
        Ok(part)
    }
}

fn check_sides(what: &str, width: usize, classes: usize) -> Result<(), String> {
    let is_there = width > 0 && classes > 0;
    is_there.then_some(()).ok_or_else(|| format!("{what}: {width} x {classes} given, at least 1 x 1 is needed"))
}

/// Whether all lists have a count for every class, and all counts together are counts of samples.
fn check_counts(what: &str, classes: usize, lists: &[&[u64]]) -> Result<(), String> {
    let mut samples = 0_u64;
    for counts in lists {
        if counts.len() != classes {
            return Err(format!("{what}: {} counts given, {classes} are needed", counts.len()));
        }
        samples = counts.iter().fold(samples, |sum, count| sum.saturating_add(*count));
    }
    let is_exact = samples <= MAX_SAMPLES;
    is_exact
        .then_some(())
        .ok_or_else(|| format!("{what}: the counts sum up to more than 2^53, at most that is accepted"))
}

fn check_numbers(what: &str, classes: usize, numbers: &[f64]) -> Result<(), String> {
    if numbers.len() != classes {
        return Err(format!("{what}: {} numbers given, {classes} are needed", numbers.len()));
    }
    match numbers.iter().position(|number| !(number.is_finite() && *number >= 0.0)) {
        None => Ok(()),
        Some(k) => {
            Err(format!("{what}: {:?} of class {k} (counted from 0) given, accepted: finite numbers >= 0", numbers[k]))
        }
    }
}

fn check_shape(what: &str, matrix: &Mat<f64>, expected: (usize, usize)) -> Result<(), String> {
    let ((rows, cols), found) = (expected, matrix.shape());
    let fits = expected == found;
    fits.then_some(()).ok_or_else(|| format!("{what}: {} x {} given, {rows} x {cols} is needed", found.0, found.1))
}

fn check_scatter(scatter: &Mat<f64>, side: usize) -> Result<(), String> {
    check_shape("scatter", scatter, (side, side))?;
    let is_symmetric = (0..side).all(|j| (0..j).all(|i| scatter[(i, j)] == scatter[(j, i)]));
    is_symmetric.then_some(()).ok_or_else(|| "scatter: the matrix is not symmetric".to_owned())
}

fn check_basis(basis: &Mat<f64>, width: usize) -> Result<(), String> {
    if basis.nrows() != width {
        return Err(format!("basis: {} rows given, {width} are needed", basis.nrows()));
    }
    check_orthonormal("basis", basis.as_ref())
}
