//! The one error type: what was given, where, and what would be accepted.

use std::fmt;

/// A block of the variables of a model: one weight matrix, the features or the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Block {
    /// The weights of a linear layer by its position from 0: `Weights(0)` is the paper's W₁.
    Weights(usize),
    /// The product W_{L:1} = W_L ··· W_1.
    Product,
    /// The features H.
    Features,
    /// The bias b.
    Bias,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights(layer) => write!(f, "W_{}", layer + 1),
            Self::Product => write!(f, "the product W_L...W_1"),
            Self::Features => write!(f, "the features H"),
            Self::Bias => write!(f, "the bias b"),
        }
    }
}

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

impl fmt::Display for Error {
    // A line or two for each variant: to be read as a table.
    #[allow(clippy::too_many_lines)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoClasses => write!(f, "class counts: the list is empty, at least one class is needed"),
            Self::ZeroCount { class } => {
                write!(f, "class counts: class {class} (counted from 0) has 0 samples, at least 1 is needed")
            }
            Self::TooManySamples { class } => {
                write!(
                    f,
                    "class counts: the sum passes 2^53 at class {class} (counted from 0), at most 2^53 is accepted"
                )
            }
            Self::MalformedCounts { index, word } => write!(
                f,
                "class counts: entry {index} (counted from 0) is {word:?}, accepted are C (a class of C samples) \
                 and CxM (M classes of C samples each) with whole numbers C, M >= 1{}",
                suspicion(word)
            ),
            Self::LabelOutOfRange { index, label, classes } => write!(
                f,
                "labels: entry {index} (counted from 0) is {label}, accepted are 0 to {} for {classes} classes{}",
                classes.saturating_sub(1),
                if usize::try_from(*label) == Ok(*classes) { ": are they counted from 1?" } else { "" }
            ),
            Self::RowsLength { numbers, samples, width } => write!(
                f,
                "features as rows: {numbers} numbers given, {samples} labels and a width of {width} need {samples} x {width}"
            ),
            Self::EmptyTargets { rows, cols } => {
                write!(f, "targets: {rows} x {cols} given, at least one output and one sample are needed")
            }
            Self::NoClassCounts => {
                write!(f, "targets: this needs class counts, and labels that are not smoothed unless there is a bias")
            }
            Self::ClassCounts { class, expected, found } => {
                write!(f, "class counts: class {class} (counted from 0) has {found} samples, the model has {expected}")
            }
            Self::OtherObjective { expected, found } => write!(
                f,
                "run: its objective is {found:?}, but {expected:?} at its point under the model of the minimizer; accepted \
                 are runs on this model, with the same decays and targets"
            ),
            Self::BelowMinimum { objective, minimum } => write!(
                f,
                "objective: {objective:?} is below the global minimum {minimum:?} by more than rounding, which cannot be \
                 unless squares leave the range of f64"
            ),
            Self::NoLayers => write!(f, "layers: the list is empty, at least one linear layer is needed"),
            Self::ZeroWidth { layer } => {
                write!(f, "layers: the width d_{} is 0, at least 1 is needed", layer + 1)
            }
            Self::Decay { block, value } => {
                let why = if *value == 0.0 { ": without a penalty there is no optimum" } else { "" };
                write!(f, "decay of {block}: {value:?} given, a positive finite number is needed{why}")
            }
            Self::Domain { argument, value, accepted } => {
                write!(f, "{argument}: {value:?} given, accepted: {accepted}")
            }
            Self::PerClass { argument, expected, found } => {
                write!(f, "{argument}: {found} given, one for each of {expected} classes is needed")
            }
            Self::OfClass { argument, class, value, accepted } => {
                write!(f, "{argument}: {value:?} given for class {class} (counted from 0), accepted: {accepted}")
            }
            Self::MalformedWeights { index, word } => write!(
                f,
                "class weights: entry {index} (counted from 0) is {word:?}, accepted are none, inverse, inverse-root, \
                 effective:BETA, or a list of W (the weight of a class) and WxM (M classes of weight W)"
            ),
            Self::NotProbabilities { sample, value } => write!(
                f,
                "targets: those of sample {sample} (counted from 0) have a negative entry or another sum than 1, {value:?}; \
                 cross-entropy needs probabilities"
            ),
            Self::NoClosedForm { because } => write!(
                f,
                "model: there is no closed form for {because}; accepted are the certified minimizer (one layer), or a descent"
            ),
            Self::NoCertificate { because } => {
                write!(f, "model: there is no certificate of a global minimum for {because}; accepted is a descent")
            }
            Self::GapNotReached { objective, lower_bound } => write!(
                f,
                "model: the search for its certified minimizer ended at an objective of {objective:e} with a lower bound of \
                 {lower_bound:e}: decays, class weights or adjustments of logits are too large, too small or too far apart \
                 for double precision"
            ),
            Self::WidthBelowRank { width, rank, lower_bound } => write!(
                f,
                "layers: the width d_1 is {width}, but the minimizer has rank {rank}; accepted are widths of at least \
                 {rank}, or a descent: no point of this model is below {lower_bound:e}"
            ),
            Self::NoProjection { method } => write!(
                f,
                "method: {method} given, accepted for nonnegative features are gd, heavy-ball and nesterov, whose steps can \
                 be projected"
            ),
            Self::NoModels => write!(f, "models: none given, at least one is needed"),
            Self::OtherLoss => write!(
                f,
                "the model's loss, class weights, targets or adjustments of logits are not those of the pass over the \
                 samples: gather the gradient under this model"
            ),
            Self::NeedsSamples => write!(
                f,
                "loss: class means and scatter are not enough for cross-entropy, class weights or nonnegative features; \
                 accepted are the features of all samples (Parameters), or collapsed ones"
            ),
            Self::NoSeparatingWeights { scale } => write!(
                f,
                "class weights: none keep every group of classes apart at these decays; accepted are decays of at most \
                 {scale:e} times these"
            ),
            Self::Shape { block, expected, found } => write!(
                f,
                "shape of {block}: {} x {} given, {} x {} is needed{}",
                found.0,
                found.1,
                expected.0,
                expected.1,
                if *expected == (found.1, found.0) { ": is it the transpose?" } else { "" }
            ),
            Self::LayerCount { expected, found } => {
                write!(f, "weights: {found} matrices given, the model has {expected} layers")
            }
            Self::BiasPresence { expected: true } => write!(f, "the bias b: none given, the model has one"),
            Self::BiasPresence { expected: false } => write!(f, "the bias b: one given, the model is bias-free"),
            Self::NotFinite { block, row, col, value } => {
                write!(f, "{block}: entry ({row}, {col}) (counted from 0) is {value:?}, finite numbers are needed")
            }
            Self::MatrixNotFinite { row, col, value } => {
                write!(f, "matrix: entry ({row}, {col}) (counted from 0) is {value:?}, finite numbers are needed")
            }
            Self::OutOfRange { block, row, col, value } => write!(
                f,
                "{block}: entry ({row}, {col}) (counted from 0) is {value:?}, sizes below 2^480 = 3.1e144 are accepted: \
                 squares of larger ones leave the range of f64"
            ),
            Self::NoScatter => write!(
                f,
                "the scatter within classes has not been gathered where it is needed: ask for it before the pass, or make a \
                 second pass along the rows of the product of the layers"
            ),
            Self::Passes { class, first, second } => write!(
                f,
                "class {class} (counted from 0) has {first} samples in the first pass and {second} in the second, \
                 accepted are the same samples twice"
            ),
            Self::Unmergeable { what } => {
                write!(f, "merge: {what} of the two differ, accepted are accumulators with the same")
            }
            Self::OtherState { what, expected, found } => write!(
                f,
                "state of a run: its {what} is {found}, expected {expected}; accepted are states of the same model, method, \
                 variables, reduction and rule of step sizes"
            ),
            Self::UnknownName { what, word, accepted } => {
                write!(f, "{what}: {word:?} given, accepted: {}", accepted.join(", "))
            }
            Self::TooLarge { what, rows, cols } => {
                write!(f, "{what}: {rows} x {cols} numbers do not fit in memory")
            }
            Self::SvdDidNotConverge => write!(f, "singular value decomposition: the iteration did not converge"),
        }
    }
}

impl std::error::Error for Error {}

/// What a word that is not a count may mean.
fn suspicion(word: &str) -> &'static str {
    let mut groups = word.split(|c: char| !c.is_ascii_digit());
    let is_first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()));
    let rest: Vec<_> = groups.map(str::len).collect();
    if word.split(['x', 'X']).any(|digits| digits.len() > 1 && digits.starts_with('0')) && !word.contains('.') {
        ": a leading zero, is it the end of a number with a separator between thousands?"
    } else if is_first && !rest.is_empty() && rest.iter().all(|&length| length == 3) {
        ": is it one number with a separator between thousands? Write it without"
    } else if word.parse::<f64>().is_ok_and(|number| number.is_finite() && number.fract() == 0.0 && number >= 1.0) {
        ": write it in digits alone"
    } else {
        ""
    }
}

/// Accepts positive finite numbers, not NaN.
pub(crate) fn check_positive(argument: &'static str, value: f64) -> Result<(), Error> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Error::Domain { argument, value, accepted: "positive finite numbers" })
    }
}

/// Accepts finite numbers that are not negative, not NaN.
pub(crate) fn check_not_negative(argument: &'static str, value: f64) -> Result<(), Error> {
    if value >= 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Error::Domain { argument, value, accepted: "finite numbers >= 0" })
    }
}
