//! What each error says to a person.

use std::fmt;

use super::Error;

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
            Self::LabelOutOfRange { index, label, classes, from_one } => write!(
                f,
                "labels: entry {index} (counted from 0) is {label}, accepted are 0 to {} for {classes} classes{}",
                classes.saturating_sub(1),
                match (label, from_one) {
                    (..0, _) => {
                        ": samples with such a label, as ignore_index of PyTorch, are not skipped: leave them out first"
                    }
                    (_, true) => ": are they counted from 1?",
                    _ => "",
                }
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
            Self::GapNotReached { objective, .. } if objective.is_nan() => write!(
                f,
                "model: the search for its certified minimizer left the range of double precision: decays, class weights \
                 or adjustments of logits are too large, too small or too far apart"
            ),
            Self::GapNotReached { objective, lower_bound } => write!(
                f,
                "model: the search for its certified minimizer ended at an objective of {objective:e} with a lower bound of \
                 {lower_bound:e}: decays, class weights or adjustments of logits are too large, too small or too far apart \
                 for it"
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
            Self::BatchNumber { batch } if *batch >= 1 << 53 => {
                write!(f, "batch: {batch} given, numbers below 2^53 are accepted")
            }
            Self::BatchNumber { batch } => {
                write!(f, "batch {batch}: it has been taken in before, each number is accepted once")
            }
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
