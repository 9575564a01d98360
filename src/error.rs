//! The one error type: what was given, where, and what would be accepted.

mod block;
mod checks;
mod message;

pub use block::Block;
pub(crate) use checks::{check_not_negative, check_positive};

/// Every way in which the input of a user can be invalid.
///
/// The documentation of each variant states the condition that raises it. Classes, samples and labels are counted from
/// 0, as in every framework; layers are named W_1 .. W_L, as in the paper.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The list of class counts is empty.
    NoClasses,
    /// A class has no sample: `counts[class] == 0`.
    ZeroCount {
        /// The class, from 0.
        class: usize,
    },
    /// `counts[0] + ... + counts[class] > 2^53`: the number of samples is no longer exact in an `f64`.
    TooManySamples {
        /// The first class at which the sum is too large, from 0.
        class: usize,
    },
    /// A word of a list of class counts is neither `C` nor `CxM` with whole numbers `C >= 1`, `M >= 1` in digits alone,
    /// without leading zeros.
    MalformedCounts {
        /// The position of the word in the list, from 0.
        index: usize,
        /// The word.
        word: String,
    },
    /// `labels[index] >= classes`.
    LabelOutOfRange {
        /// The position in the list of labels, from 0.
        index: usize,
        /// The label found there.
        label: i128,
        /// The number of classes: labels run from 0 to `classes - 1`.
        classes: usize,
        /// Whether the label is `classes` and no label is 0: then they may be counted from 1.
        from_one: bool,
    },
    /// The number of entries of features given as rows is not the number of samples times the width.
    RowsLength {
        /// The numbers given.
        numbers: usize,
        /// The labels given: the number of samples.
        samples: usize,
        /// The width of features.
        width: usize,
    },
    /// A target matrix has no rows or no columns.
    EmptyTargets {
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// A question needs class counts, but the targets of the model are a matrix, or labels that are smoothed without a
    /// bias.
    NoClassCounts,
    /// Parameters, a point or the samples of a network have other class counts than the model, or the same in another
    /// order.
    ClassCounts {
        /// The first class that differs, from 0. A class that only one of the two has counts as 0 samples in the other.
        class: usize,
        /// Its samples in the model.
        expected: u64,
        /// Its samples in the argument.
        found: u64,
    },
    /// The objective of a run is not that of its point under the given model: the run was on a model with other decays
    /// or other targets.
    OtherObjective {
        /// The objective of the point under the model.
        expected: f64,
        /// The objective of the run.
        found: f64,
    },
    /// An objective is below the global minimum of its model by more than rounding. The theory rules this out: squares
    /// have left the range of `f64`, or this crate has an error.
    BelowMinimum {
        /// The objective.
        objective: f64,
        /// The global minimum.
        minimum: f64,
    },
    /// The list of layers is empty; the plain unconstrained features model has one.
    NoLayers,
    /// `layers[layer].width == 0`.
    ZeroWidth {
        /// The layer, from 0.
        layer: usize,
    },
    /// A decay is not a positive finite number.
    Decay {
        /// What the decay regularizes.
        block: Block,
        /// The value given.
        value: f64,
    },
    /// An argument is outside the domain of the function.
    Domain {
        /// The name of the argument.
        argument: &'static str,
        /// The value given.
        value: f64,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A list with one number a class has another length.
    PerClass {
        /// The name of the argument.
        argument: &'static str,
        /// The number of classes.
        expected: usize,
        /// The length of the list.
        found: usize,
    },
    /// The number of a class is outside its domain.
    OfClass {
        /// The name of the argument.
        argument: &'static str,
        /// The class, from 0.
        class: usize,
        /// The value given.
        value: f64,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A word of a list of class weights is neither `W` nor `WxM` with a number W and a whole number `M >= 1`.
    MalformedWeights {
        /// The position of the word in the list, from 0.
        index: usize,
        /// The word.
        word: String,
    },
    /// A target of cross-entropy is not a probability vector.
    NotProbabilities {
        /// The sample, from 0.
        sample: usize,
        /// The sum of its target, or its entry that is negative.
        value: f64,
    },
    /// The model has no closed form.
    NoClosedForm {
        /// What there is no closed form for.
        because: &'static str,
    },
    /// The model has no certified minimizer.
    NoCertificate {
        /// What there is no certificate for.
        because: &'static str,
    },
    /// The search for a certified minimizer has ended far from it, since numbers have left the range or the precision of
    /// `f64`.
    GapNotReached {
        /// The objective of the best point found, or NaN.
        objective: f64,
        /// Its lower bound, or NaN.
        lower_bound: f64,
    },
    /// The layer is narrower than the rank that the minimizer needs: the minimum of the model is above the lower bound.
    WidthBelowRank {
        /// The width d_1.
        width: usize,
        /// The rank.
        rank: usize,
        /// The least objective of wider layers.
        lower_bound: f64,
    },
    /// A method of descent cannot keep features nonnegative.
    NoProjection {
        /// The name of the method.
        method: &'static str,
    },
    /// Features are given by their class means and scatter, and the loss needs those of all samples.
    NeedsSamples,
    /// No model is given.
    NoModels,
    /// The model has another loss than the one that the gradient was gathered under: another kind, other class weights,
    /// label smoothing or adjustments of logits.
    OtherLoss,
    /// No class weights with a mean of 1 over samples keep all groups of classes apart as far as asked for: the decays
    /// are too large.
    NoSeparatingWeights {
        /// Up to which factor on all decays together there are such weights.
        scale: f64,
    },
    /// A block of the variables does not have the shape that the model, or another argument, requires.
    Shape {
        /// The block.
        block: Block,
        /// Rows and columns that are needed.
        expected: (usize, usize),
        /// Rows and columns given.
        found: (usize, usize),
    },
    /// The number of weight matrices differs from the number of layers of the model.
    LayerCount {
        /// Layers of the model.
        expected: usize,
        /// Weight matrices given.
        found: usize,
    },
    /// A bias is given for a model without one, or is missing for a model with one.
    BiasPresence {
        /// Whether the model has a bias.
        expected: bool,
    },
    /// An entry of a block is NaN or infinite.
    NotFinite {
        /// The block.
        block: Block,
        /// Row of the first such entry, from 0, in column-major order.
        row: usize,
        /// Column of that entry, from 0.
        col: usize,
        /// The entry.
        value: f64,
    },
    /// An entry of a matrix given to a decomposition is NaN or infinite.
    MatrixNotFinite {
        /// Row of the first such entry, from 0, in column-major order.
        row: usize,
        /// Column of that entry, from 0.
        col: usize,
        /// The entry.
        value: f64,
    },
    /// An entry of features is so large, 2^480 (about 3e144) or more, that sums of squares could leave the range of
    /// `f64`.
    OutOfRange {
        /// The block.
        block: Block,
        /// Row of the first such entry, from 0, in column-major order.
        row: usize,
        /// Column of that entry, from 0.
        col: usize,
        /// The entry.
        value: f64,
    },
    /// The scatter within classes is needed and has not been gathered, or not along the rows of the product of the
    /// layers.
    NoScatter,
    /// Two passes over the samples have not seen the same number of samples of a class.
    Passes {
        /// The class.
        class: usize,
        /// Its samples in the first pass.
        first: u64,
        /// Its samples in the second.
        second: u64,
    },
    /// The number of a batch is 2^53 or more, or a batch of this number has been taken in before.
    BatchNumber {
        /// The number.
        batch: u64,
    },
    /// Accumulators that are merged do not belong together.
    Unmergeable {
        /// What differs.
        what: &'static str,
    },
    /// A state that a descent is to go on from is that of a run on another model, by another method or with other options.
    OtherState {
        /// What differs.
        what: &'static str,
        /// What the descent has.
        expected: String,
        /// What the run had.
        found: String,
    },
    /// A word is not one of the accepted names.
    UnknownName {
        /// What is chosen.
        what: &'static str,
        /// The word.
        word: String,
        /// The names that are accepted.
        accepted: &'static [&'static str],
    },
    /// An array would need more memory than the machine can address or than the allocator gives.
    TooLarge {
        /// What the array is.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: u64,
    },
    /// The iteration of a dense singular value decomposition did not converge.
    SvdDidNotConverge,
}

impl std::error::Error for Error {}
