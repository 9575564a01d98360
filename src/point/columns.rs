//! What every column of features is compared with: a sample, a class mean that stands for many, or a deviation.

use crate::{
    classes::{ClassCounts, root},
    linalg::memory::slice,
    loss::Label,
    model::Ufm,
    targets::Targets,
};

/// What one column of features is compared with: `weight` times the label of `class`, and `weight` is also its entry of
/// 1ᵀ.
///
/// The weight is 1 for a sample, √n_k for a class mean that stands for n_k samples, and 0 for a deviation within
/// classes. A matrix of targets has no classes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) class: Option<usize>,
    pub(crate) weight: f64,
}

impl Column {
    /// The label of this column, which is that of index `column` of a matrix of targets.
    pub(crate) fn label(self, targets: &Targets, column: usize) -> Label<'_> {
        match (targets.as_matrix(), self.class) {
            (Some(matrix), _) => Label::Target(slice(matrix.col(column))),
            (None, Some(class)) => Label::Class(class, targets.smoothing()),
            (None, None) => Label::Zero,
        }
    }
}

/// The columns of all samples.
pub(crate) fn sample_columns(ufm: &Ufm) -> Vec<Column> {
    let sample = |class| Column { class, weight: 1.0 };
    match ufm.class_counts() {
        Some(classes) => {
            let classes = classes.ranges().enumerate();
            classes.flat_map(|(class, samples)| samples.map(move |_| sample(Some(class)))).collect()
        }
        None => (0..ufm.samples()).map(|_| sample(None)).collect(),
    }
}

/// The label columns of reduced features.
pub(crate) fn reduced_columns(classes: &ClassCounts, columns: usize) -> Vec<Column> {
    let means = classes.counts().iter().enumerate();
    let means = means.map(|(class, &count)| Column { class: Some(class), weight: root(count) });
    let deviations = std::iter::repeat(Column { class: None, weight: 0.0 });
    means.chain(deviations).take(columns).collect()
}
