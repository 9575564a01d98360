//! The variables that a descent moves in, and the linear algebra of points in them.

use faer::{ColRef, unzip, zip};

use crate::{model::Ufm, parameters::Parameters, wide::Wide};

/// Which variables the descent moves in. The objective is the same; its level sets are rounder in balanced variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Variables {
    /// √λ_l W_l, √λ_H H and b/√s: every regularizer is 1/2 ‖·‖², and a minimizer has the same singular values in every
    /// block. A step η moves W_l by η/λ_l times its gradient, and b by η s, where s = max(1, 1/q_0), q_0 = N (λ_H λ_1
    /// ··· λ_L / n_max^L)^(1/(L+1)), makes the bias about as stiff as the other blocks are.
    #[default]
    Balanced,
    /// W_l, H and b themselves, as frameworks train them.
    Plain,
}

/// For every block of the parameters, how much longer than in plain variables a step is: 1/λ in balanced variables.
#[derive(Debug)]
pub(crate) struct Scales(Vec<f64>);

impl Scales {
    pub(crate) fn new(variables: Variables, ufm: &Ufm) -> Self {
        let decays = ufm.layers().iter().map(|layer| layer.decay).chain([ufm.feature_decay()]);
        let scale = |decay: f64| match variables {
            Variables::Balanced => 1.0 / decay,
            Variables::Plain => 1.0,
        };
        let bias = match variables {
            Variables::Balanced => bias_scale(ufm),
            Variables::Plain => 1.0,
        };
        Self(decays.map(scale).chain([bias]).collect())
    }

    /// ‖g‖² of a gradient in these variables.
    pub(crate) fn gradient_square(&self, gradient: &Parameters) -> f64 {
        let blocks = gradient.blocks().zip(&self.0);
        blocks.map(|(block, scale)| scale * inner_product(block, block)).sum()
    }

    /// ‖d‖² of a displacement in these variables.
    pub(crate) fn displacement_square(&self, displacement: &Parameters) -> f64 {
        let blocks = displacement.blocks().zip(&self.0);
        blocks.map(|(block, scale)| inner_product(block, block) / scale).sum()
    }

    /// `to` = `from` + β m - η g, the gradient step taken in these variables.
    pub(crate) fn advance(
        &self,
        to: &mut Parameters,
        from: &Parameters,
        (momentum, displacement): (f64, &Parameters),
        (step, gradient): (f64, &Parameters),
    ) {
        let blocks = to.blocks_mut().zip(from.blocks()).zip(displacement.blocks()).zip(gradient.blocks()).zip(&self.0);
        for ((((to, from), displacement), gradient), scale) in blocks {
            let step = step * scale;
            zip!(to, from, displacement, gradient).for_each(|unzip!(to, from, displacement, gradient)| {
                *to = *from + momentum * *displacement - step * *gradient;
            });
        }
    }
}

/// The scale of the bias in balanced variables, max(1, 1/q_0) with q_0 = N (λ_H λ_1 ··· λ_L / n_max^L)^(1/(L+1)).
///
/// The bias has curvature 1 and no regularizer, but it can trade places with a shift of all features: along that valley
/// the curvature is about e in variables where b is not scaled, and 1/2 where b is scaled by 1/√e; then the curvature
/// across it, 1/e, is that of the other blocks. q_0 is e of the largest class to first order.
fn bias_scale(ufm: &Ufm) -> f64 {
    let (samples, depth) = (Wide::new(ufm.samples() as f64), ufm.depth());
    let largest = Wide::new(ufm.targets().largest_square()).power(depth);
    let q = samples.times(ufm.decay_product().over(largest).root(depth + 1));
    Wide::ONE.over(q).to_f64().max(1.0)
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
pub(crate) fn slope(gradient: &Parameters, displacement: &Parameters) -> f64 {
    gradient.blocks().zip(displacement.blocks()).map(|(g, d)| inner_product(g, d)).sum()
}

/// `to` = `from` + β m.
pub(crate) fn extrapolate(to: &mut Parameters, from: &Parameters, momentum: f64, displacement: &Parameters) {
    for ((to, from), displacement) in to.blocks_mut().zip(from.blocks()).zip(displacement.blocks()) {
        zip!(to, from, displacement).for_each(|unzip!(to, from, displacement)| *to = *from + momentum * *displacement);
    }
}

/// `to` = `a` - `b`.
pub(crate) fn difference(to: &mut Parameters, a: &Parameters, b: &Parameters) {
    for ((to, a), b) in to.blocks_mut().zip(a.blocks()).zip(b.blocks()) {
        zip!(to, a, b).for_each(|unzip!(to, a, b)| *to = *a - *b);
    }
}

fn inner_product(a: faer::MatRef<'_, f64>, b: faer::MatRef<'_, f64>) -> f64 {
    let product = |(a, b): (ColRef<'_, f64>, ColRef<'_, f64>)| a.transpose() * b;
    a.col_iter().zip(b.col_iter()).map(product).sum()
}
