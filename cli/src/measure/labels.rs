//! The class of every sample: from class numbers of any type, or from one-hot rows.

use neural_collapse::ClassCounts;

use super::{
    Flags,
    arrays::{Array, Entry, Features, name},
};

/// Classes without samples that an error lists.
const MOST_LISTED: usize = 10;

/// What PyTorch's cross-entropy passes over.
const IGNORE_INDEX: i64 = -100;

/// The integers that every f64 near them can tell apart.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// The classes of all samples, from 0, and how many samples each one has.
pub(crate) struct Labels {
    pub(crate) classes: Vec<usize>,
    pub(crate) counts: ClassCounts,
}

/// What an array of labels is.
enum Kind {
    /// A class number a sample.
    Numbers(usize),
    /// A row of zeros and a one a sample.
    OneHot(usize),
}

impl Labels {
    pub(crate) fn open(flags: &Flags, classes: usize, features: &Features) -> Result<Self, String> {
        let arrays = Array::open_all("--labels", &flags.labels)?;
        let samples = features.samples();
        let kinds = arrays.iter().map(|array| kind(array, samples, classes)).collect::<Result<Vec<_>, _>>()?;
        let given: usize = kinds.iter().map(|(Kind::Numbers(length) | Kind::OneHot(length))| length).sum();
        if given != samples {
            let (labels, features) = (name("--labels", &arrays), features.name());
            return Err(format!("{labels}: {given} labels given, but {features} has {samples} rows"));
        }
        let mut all = Vec::with_capacity(samples);
        for (array, kind) in arrays.iter().zip(kinds) {
            match kind {
                Kind::Numbers(length) => class_numbers(array, length, classes, flags, &mut all)?,
                Kind::OneHot(length) => one_hot(array, length, classes, flags, &mut all)?,
            }
        }
        let counts =
            counts(&all, classes, flags).map_err(|message| format!("{}: {message}", name("--labels", &arrays)))?;
        Ok(Self { classes: all, counts })
    }
}

/// N, N x 1 and 1 x N are class numbers, N x K is one-hot.
fn kind(array: &Array, samples: usize, classes: usize) -> Result<Kind, String> {
    let (long, sides) = (array.long_sides(), array.sides());
    match long[..] {
        // One sample has a row of its own.
        [cols] if samples == 1 && cols == classes && sides == Ok((1, cols)) => Ok(Kind::OneHot(1)),
        [length] => Ok(Kind::Numbers(length)),
        [] if array.shape() != "()" => Ok(Kind::Numbers(1)),
        [rows, cols] if sides == Ok((rows, cols)) && cols == classes => Ok(Kind::OneHot(rows)),
        _ => {
            let hint = if long == [classes, samples] {
                ": it seems to be the transpose, save y.T"
            } else if long == [samples, 2] && classes == 1 {
                ", but the last layer has one output; two outputs are needed (see docs/measure.md)"
            } else {
                ""
            };
            Err(array.says(&format_args!(
                "it has the shape {}, one label a sample is needed, or a one-hot row of {classes}{hint}",
                array.shape()
            )))
        }
    }
}

fn class_numbers(
    array: &Array,
    length: usize,
    classes: usize,
    flags: &Flags,
    all: &mut Vec<usize>,
) -> Result<(), String> {
    let first = i128::from(flags.labels_from);
    let last = first + classes as i128 - 1;
    let refused = |i: usize, label: &dyn std::fmt::Display, hint: &str| {
        array.says(&format_args!(
            "entry {i} (counted from 0) is {label}, accepted are {first} to {last} for {classes} classes{hint}"
        ))
    };
    let mut labels = Vec::with_capacity(length);
    array.entries((length, 1), |i, _, entry| {
        labels.push(match entry {
            Entry::Integer(label) => i64::try_from(label).map_err(|_| refused(i, &label, ""))?,
            Entry::Float(label) if label.fract() != 0.0 || !label.is_finite() => {
                let message = format_args!("entry {i} (counted from 0) is {label}, labels are whole numbers");
                return Err(array.says(&message));
            }
            Entry::Float(label) if label.abs() > WHOLE => return Err(refused(i, &label, "")),
            #[allow(clippy::cast_possible_truncation)]
            Entry::Float(label) => label as i64,
        });
        Ok(())
    })?;
    check_range(array, &labels, classes, flags, all.contains(&0))?;
    for (i, &label) in labels.iter().enumerate() {
        let class = usize::try_from(i128::from(label) - first).ok().filter(|&class| class < classes);
        let hint = match label {
            IGNORE_INDEX => ": -100 is PyTorch's ignore_index, drop these samples from the features and the labels",
            _ => "",
        };
        all.push(class.ok_or_else(|| refused(i, &label, hint))?);
    }
    Ok(())
}

/// Labels that belong to another counting, or to another head. In an array before this one class 0 may have occurred.
fn check_range(array: &Array, labels: &[i64], classes: usize, flags: &Flags, has_first: bool) -> Result<(), String> {
    let (least, most) = labels.iter().fold((i64::MAX, i64::MIN), |(least, most), &at| (least.min(at), most.max(at)));
    let stack = match (classes, least, most) {
        (1, 0, 1) => "W = [-w; w] and b = [1 - b; b], for outputs that were compared with 0 and 1",
        (1, -1, 1) => {
            "W = [-w; w]/2 and b = [1 - b; 1 + b]/2, for outputs that were compared with -1 and 1; labels 0 and 1"
        }
        _ if flags.labels_from == 0 && !has_first && least >= 1 && usize::try_from(most) == Ok(classes) => {
            return Err(array.says(&format_args!(
                "labels run from {least} to {classes}: they seem to be counted from 1; give --labels-from 1"
            )));
        }
        _ => return Ok(()),
    };
    Err(array.says(&format_args!(
        "labels of two classes, but the last layer has one output; two outputs are needed: stack {stack} (see \
         docs/measure.md)"
    )))
}

fn one_hot(array: &Array, rows: usize, classes: usize, flags: &Flags, all: &mut Vec<usize>) -> Result<(), String> {
    if flags.labels_from != 0 {
        let from = flags.labels_from;
        return Err(format!("--labels-from {from}: {} is one-hot, whose columns are counted from 0", array.name));
    }
    let (mut ones, mut class) = (0, 0);
    array.entries((rows, classes), |row, col, entry| {
        match entry {
            Entry::Integer(0) | Entry::Float(0.0) => {}
            Entry::Integer(1) | Entry::Float(1.0) => (ones, class) = (ones + 1, col),
            Entry::Integer(other) => return Err(not_one_hot(array, row, col, &other)),
            Entry::Float(other) => return Err(not_one_hot(array, row, col, &other)),
        }
        if col + 1 == classes {
            if ones != 1 {
                let message = format_args!("row {row} (counted from 0) has {ones} ones, a one-hot row has exactly one");
                return Err(array.says(&message));
            }
            all.push(class);
            ones = 0;
        }
        Ok(())
    })
}

fn not_one_hot(array: &Array, row: usize, col: usize, entry: &dyn std::fmt::Display) -> String {
    array.says(&format_args!(
        "entry {col} of row {row} (counted from 0) is {entry}, a one-hot row has zeros and a one; of soft labels or \
         scores save the argmax"
    ))
}

/// Samples of every class, each of which needs one.
fn counts(labels: &[usize], classes: usize, flags: &Flags) -> Result<ClassCounts, String> {
    let mut is_there = vec![false; classes];
    for &class in labels {
        is_there[class] = true;
    }
    let missing: Vec<String> = (0..classes).filter(|&class| !is_there[class]).map(|class| class.to_string()).collect();
    let listed = match &missing[..] {
        [] => {
            return ClassCounts::from_labels(labels.iter().copied(), classes).map_err(|error| error.to_string());
        }
        [class] => format!("class {class} of {classes} has no sample"),
        all if all.len() <= MOST_LISTED => format!("classes {} of {classes} have no sample", all.join(", ")),
        all => {
            let listed = all[..MOST_LISTED].join(", ");
            format!("classes {listed} and {} more of {classes} have no sample", all.len() - MOST_LISTED)
        }
    };
    let shift = if flags.labels_from != 0 { " after the shift" } else { "" };
    let (its, row) = if missing.len() == 1 { ("its", "row") } else { ("their", "rows") };
    Err(format!(
        "{listed}{shift}; the theory needs one of every class: drop {its} {row} of W and b and renumber the labels, \
         kept, y = numpy.unique(y, return_inverse=True); W, b = W[kept], b[kept]"
    ))
}
