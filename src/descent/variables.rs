//! The variables that a descent moves in, and the linear algebra of points in them.

use std::ops::Range;

use faer::{ColRef, MatRef, unzip, zip};

use crate::{
    linalg::cores::{for_each, map_range},
    model::Ufm,
    names::named,
    parameters::Parameters,
};

/// Which variables the descent moves in. The objective is the same; its level sets are rounder in balanced variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Variables {
    /// √λ_l W_l, √λ_H H and b/√s: every regularizer is 1/2 ‖·‖², and a minimizer has the same singular values in every
    /// block. A step η moves W_l by η/λ_l times its gradient, and b by η s, where s = max(1, 1/q_0), q_0 = N (λ_H λ_1
    /// ··· λ_L / n_max^L)^(1/(L+1)), makes the bias about as stiff as the other blocks are. For other losses than the plain
    /// squared one s counts class weights and scales of logits, and it is divided by one more than the decay of the bias.
    #[default]
    Balanced,
    /// W_l, H and b themselves, as frameworks train them.
    Plain,
}

named!(Variables, "variables of a descent": Balanced = "balanced", Plain = "plain");

/// For every block of the parameters, how much longer than in plain variables a step is: 1/λ in balanced variables.
#[derive(Debug)]
pub(crate) struct Scales {
    weights: Vec<f64>,
    features: f64,
    bias: f64,
}

impl Scales {
    pub(crate) fn new(variables: Variables, ufm: &Ufm) -> Self {
        match variables {
            Variables::Balanced => Self {
                weights: ufm.layers().iter().map(|layer| 1.0 / layer.decay).collect(),
                features: 1.0 / ufm.feature_decay(),
                bias: ufm.bias_scale(),
            },
            Variables::Plain => Self { weights: vec![1.0; ufm.depth()], features: 1.0, bias: 1.0 },
        }
    }

    /// The scale of the features.
    pub(crate) fn features(&self) -> f64 {
        self.features
    }

    /// The scales of all blocks except the features.
    pub(crate) fn small(&self) -> impl Iterator<Item = f64> {
        self.weights.iter().copied().chain([self.bias])
    }

    /// The scales of all blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = f64> {
        self.weights.iter().copied().chain([self.features, self.bias])
    }

    /// ‖g‖² of a gradient in these variables.
    pub(crate) fn gradient_square(&self, gradient: &Parameters) -> f64 {
        gradient.blocks().zip(self.blocks()).map(|(block, scale)| scale * block_product(block, block)).sum()
    }

    /// ‖s‖² of a displacement in these variables.
    pub(crate) fn displacement_square(&self, displacement: &Parameters) -> f64 {
        displacement.blocks().zip(self.blocks()).map(|(block, scale)| block_product(block, block) / scale).sum()
    }
}

/// The step to try first: one over the curvature of the regularizers, the least curvature there is.
pub(crate) fn longest_step(variables: Variables, ufm: &Ufm) -> f64 {
    let decays = ufm.layers().iter().map(|layer| layer.decay);
    match variables {
        Variables::Balanced => 1.0,
        Variables::Plain => 1.0 / decays.fold(ufm.feature_decay(), f64::max),
    }
}

/// <g, d> of a gradient and a displacement: the same in all variables.
pub(crate) fn inner_product(gradient: &Parameters, displacement: &Parameters) -> f64 {
    gradient.blocks().zip(displacement.blocks()).map(|(g, d)| block_product(g, d)).sum()
}

/// `to` += `factor` times `other`.
pub(crate) fn add_scaled(to: &mut Parameters, factor: f64, other: &Parameters) {
    for (to, other) in to.blocks_mut().zip(other.blocks()) {
        let mut rest = to;
        let mut work = Vec::with_capacity(CHUNKS);
        for columns in chunks(other) {
            let (own, others) = rest.split_at_col_mut(columns.len());
            work.push((own, other.subcols(columns.start, columns.len())));
            rest = others;
        }
        for_each(work, |(to, other)| zip!(to, other).for_each(|unzip!(to, other)| *to += factor * other));
    }
}

fn block_product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
    let product = |(a, b): (ColRef<'_, f64>, ColRef<'_, f64>)| a.transpose() * b;
    let columns: Vec<_> = chunks(a).collect();
    let sums = map_range(columns.len(), 1, |i| -> f64 {
        let (start, count) = (columns[i].start, columns[i].len());
        a.subcols(start, count).col_iter().zip(b.subcols(start, count).col_iter()).map(product).sum()
    });
    sums.iter().sum()
}

/// Entries of a block that are worth a second thread.
const PARALLEL_BLOCK: usize = 1 << 16;
/// The chunks of such a block: the same number on every machine, so that sums are the same.
const CHUNKS: usize = 8;

/// The columns of a block in chunks, one for each core.
pub(crate) fn chunks(block: MatRef<'_, f64>) -> impl Iterator<Item = Range<usize>> {
    let columns = block.ncols();
    let size = if block.nrows() * columns < PARALLEL_BLOCK { columns } else { columns.div_ceil(CHUNKS) }.max(1);
    (0..columns).step_by(size).map(move |start| start..columns.min(start + size))
}
