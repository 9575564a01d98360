//! Ways down from critical points that are not local minimizers.
//!
//! At a critical point no feature deviates from its class mean, all blocks are balanced, and the prediction has
//! singular vectors of the target: Z = W_{L:1} H̄ D = Σ z_j u_j v_jᵀ, where T v_j = σ_j u_j. In balanced variables √λ
//! W, √λ_H H, where the regularizers curve by 1 in every direction, with C = √(λ_H λ_1 ··· λ_L), there are three ways
//! down:
//!
//! ```text
//! growth,    L = 1:  a missing direction in the features that are used least     1 - s/(NC) + z/(NC)
//! rotation,  L ≥ 2:  a direction that is there towards a larger one, missing     -z_j (σ_i - σ_j)/(N τ_j)
//! scaling,   L ≥ 2:  a direction at the smaller root of its scalar problem        1 + ((L+1) z_j² - L (σ_j-z_j) z_j)/(N τ_j)
//! ```
//!
//! s = σ_i is the largest singular value of T - Z outside the directions of Z. z is the singular value that the least
//! used feature carries, zero if the width leaves room, and τ_j = (C z_j)^{2/(L+1)}. For L ≥ 2 a missing direction
//! cannot grow out of zero: its decay curves up by 1, and its gain is only of order L + 1 ≥ 3.

use faer::{Col, ColRef, Mat, MatRef};

use crate::{
    classes::root,
    error::Error,
    linalg::{Svd, dense_svd, memory::try_zeros, orthonormal::orthonormal, wide::Wide},
    model::Ufm,
    point::{Point, PointRef},
};

/// A way down from a strict saddle.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Escape {
    /// The direction, of norm 1 in balanced variables: Σ λ_l ‖ΔW_l‖² + λ_H ‖ΔH‖² = 1, Δb = 0.
    pub direction: Point,
    /// d²f/dt² at the point in this direction: negative. The regularizers' part of it is 1.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub curvature: f64,
    /// A point in this direction, or its opposite, where f is lower: where to descend from.
    pub start: Point,
}

/// A curvature that is called negative: the regularizers' own is 1, and points that a descent ends at are critical up
/// to 1e-9 of it or so.
const NEGATIVE: f64 = -1e-6;

/// A direction of negative curvature at a critical point; `None` if it is a local minimizer.
///
/// For L = 1 every critical point except the global minimizers has one (Zhu et al. 2021). For L ≥ 2 zero is a local
/// minimizer, and so is any point that has the largest directions up to some index, each at the larger root of its
/// scalar problem. Away from critical points `None` has no meaning.
///
/// Cost: the dense decomposition of two K × K matrices, K × N for targets that are a matrix, and one of 2 K × d_1 for
/// L = 1.
///
/// # Errors
///
/// [`Error::NoClosedForm`] for models without one, whose critical points have no formulas; as
/// [`Ufm::objective`](crate::Ufm::objective) if the point belongs to another model; [`Error::TooLarge`],
/// [`Error::MatrixNotFinite`] if products of the blocks leave the range of `f64`; [`Error::SvdDidNotConverge`].
///
/// # Example
///
/// Zero is a critical point of every model without a bias. With one layer a descent can go on from there:
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Parameters, Ufm, descent::Descent, critical::escape};
///
/// let ufm = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(16, 5e-3)], 1e-4)?.without_bias();
/// let mut point = Parameters::zeros(&ufm)?.into();
/// while let Some(escape) = escape(&ufm, &point)? {
///     point = Descent::default().minimize(&ufm, escape.start)?.point;
/// }
/// let (reached, optimum) = (ufm.objective(&point.into_parameters()?)?, ufm.minimizer()?.objective());
/// assert!((reached / optimum - 1.0).abs() < 1e-12);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
pub fn escape<'a>(ufm: &Ufm, point: impl Into<PointRef<'a>>) -> Result<Option<Escape>, Error> {
    ufm.check_closed_form()?;
    let point = point.into();
    let core = Core::new(ufm, point)?;
    let Some(direction) = core.direction()? else { return Ok(None) };
    let curvature = core.curvature(&direction);
    if !(curvature < NEGATIVE) {
        return Ok(None);
    }
    let Some(step) = core.step(&direction, curvature) else { return Ok(None) };
    let moved = |from: Point, step| from.moved(ufm, &direction.weights, &direction.features, step);
    let direction = moved(point.to_point().at_zero(), 1.0);
    Ok(Some(Escape { direction, curvature, start: moved(point.to_point(), step) }))
}

/// A direction in class space.
struct Direction {
    weights: Vec<Mat<f64>>,
    features: Mat<f64>,
    /// The length of a step that changes the point by a significant amount.
    length: f64,
}

/// A point in class space: its features M are the weighted class means H̄ D, or H if the targets are a matrix.
struct Core<'a> {
    ufm: &'a Ufm,
    weights: &'a [Mat<f64>],
    features: Mat<f64>,
    /// Z = W_{L:1} M.
    prediction: Mat<f64>,
    /// The residual of the target, bias included: T - Z at a critical point.
    rest: Mat<f64>,
}

impl<'a> Core<'a> {
    fn new(ufm: &'a Ufm, point: PointRef<'a>) -> Result<Self, Error> {
        let features = point.weighted_features(ufm)?;
        let prediction = point.framed_product() * &features;
        let mut rest = ufm.targets().weighted()?;
        rest -= &prediction;
        if let Some(bias) = point.bias() {
            for (k, mut column) in rest.col_iter_mut().enumerate() {
                let weight = ufm.class_counts().map_or(1.0, |classes| root(classes.counts()[k]));
                column -= faer::Scale(weight) * bias;
            }
        }
        Ok(Self { ufm, weights: point.framed_weights(), features, prediction, rest })
    }

    /// The way down of the most negative curvature by the formulas; `None` if no formula is negative.
    fn direction(&self) -> Result<Option<Direction>, Error> {
        if self.ufm.depth() == 1 { self.growth() } else { self.rotation_or_scaling() }
    }

    fn growth(&self) -> Result<Option<Direction>, Error> {
        let Svd { left, right, values } = dense_svd(self.rest.as_ref())?;
        if values[0] == 0.0 {
            return Ok(None);
        }
        let unused = self.least_used()?;
        let (u, v) = (left.col(0), right.col(0));
        self.along(&[Some((unused.as_ref(), v)), Some((u, unused.as_ref()))], values[0]).map(Some)
    }

    fn rotation_or_scaling(&self) -> Result<Option<Direction>, Error> {
        let (depth, samples) = (self.ufm.depth() as f64, self.ufm.samples() as f64);
        let Svd { left, right, values } = dense_svd(self.prediction.as_ref())?;
        // σ_j - z_j, and N τ_j.
        let scalars =
            |j: usize| ((left.col(j).transpose() * &self.rest) * right.col(j), samples * self.level(values[j]));
        // z (σ - z) = N τ at every critical point, and z (σ - z)/τ goes to zero with z; at tiny decays so slowly that
        // singular values of rounding have to be kept out.
        let rounding = self.rounding();
        let is_there = |&j: &usize| values[j] > rounding && values[j] * scalars(j).0 > 0.5 * scalars(j).1;
        let there: Vec<usize> = (0..values.nrows()).filter(is_there).collect();
        let missing = self.missing(&there, left.as_ref(), right.as_ref())?;
        let (mut best, mut least) = (None, 0.0);
        for &j in &there {
            let (z, (gap, level)) = (values[j], scalars(j));
            let scaling = 1.0 + ((depth + 1.0) * z * z - depth * gap * z) / level;
            let rotation = -z * (missing.values[0] - (z + gap)) / level;
            for (curvature, rotates) in [(scaling, false), (rotation, true)] {
                if curvature < least {
                    (best, least) = (Some((j, rotates)), curvature);
                }
            }
        }
        let Some((j, rotates)) = best else { return Ok(None) };
        // What W_l .. W_1 M make of v_j, of norm one.
        let mut chain = vec![&self.features * right.col(j)];
        for weights in self.weights {
            let next = weights * &chain[chain.len() - 1];
            chain.push(next);
        }
        for vector in &mut chain {
            *vector /= faer::Scale(vector.norm_l2());
        }
        let inputs = [right.col(j)].into_iter().chain(chain.iter().map(Col::as_ref));
        let mut blocks: Vec<_> = chain.iter().map(Col::as_ref).zip(inputs).map(Some).collect();
        if rotates {
            let last = blocks.len() - 1;
            blocks[1..last].fill(None);
            blocks[0] = Some((chain[0].as_ref(), missing.right.col(0)));
            blocks[last] = Some((missing.left.col(0), chain[last - 1].as_ref()));
        }
        self.along(&blocks, values[j]).map(Some)
    }

    /// The absolute error that singular values of the prediction may have: an epsilon of ‖W_L‖ ··· ‖W_1‖ ‖M‖ for every
    /// term of a product, and for twice the side of the matrix that is decomposed.
    fn rounding(&self) -> f64 {
        let size = self.weights.iter().map(Mat::norm_l2).product::<f64>() * self.features.norm_l2();
        let terms = self.weights.iter().map(Mat::ncols).sum::<usize>();
        let side = self.prediction.nrows().max(self.prediction.ncols());
        f64::EPSILON * (terms + 2 * side) as f64 * size
    }

    /// τ = (z² λ_H λ_1 ··· λ_L)^{1/(L+1)}, the level of a direction of prediction z.
    fn level(&self, prediction: f64) -> f64 {
        self.ufm.decays().level(Wide::new(prediction).power(2)).to_f64()
    }

    /// The singular vectors of the residual outside the directions that are present.
    fn missing(&self, there: &[usize], left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> Result<Svd, Error> {
        let mut rest = self.rest.clone();
        for &j in there {
            let (u, v) = (left.col(j), right.col(j));
            let row = u.transpose() * &rest;
            rest -= u * row;
            let column = &rest * v;
            rest -= column * v.transpose();
        }
        dense_svd(rest.as_ref())
    }

    /// The direction of feature space, of norm one, that W_1 and M use least in balanced variables: not at all if
    /// the width leaves room.
    fn least_used(&self) -> Result<Col<f64>, Error> {
        let (weights, features, width) = (&self.weights[0], &self.features, self.features.nrows());
        let used = weights.nrows() + features.ncols();
        let mut vectors = try_zeros("vectors in feature space", width, used as u64)?;
        let scale = |decay: f64| faer::Scale(decay.sqrt());
        vectors.subcols_mut(0, weights.nrows()).copy_from(scale(self.ufm.layers()[0].decay) * weights.transpose());
        vectors.subcols_mut(weights.nrows(), features.ncols()).copy_from(scale(self.ufm.feature_decay()) * features);
        if used >= width {
            return Ok(dense_svd(vectors.as_ref())?.left.col(width - 1).to_owned());
        }
        // The coordinate axis that is farthest from the span in use, minus its part in the span: 1/d_1 of it or more is
        // left, and projected twice it is orthogonal to rounding.
        let basis = orthonormal(vectors)?;
        let part = |&i: &usize| basis.row(i).squared_norm_l2();
        let axis = (0..width).min_by(|i, j| part(i).total_cmp(&part(j))).unwrap_or(0);
        let mut unused = Col::from_fn(width, |i| f64::from(u8::from(i == axis)));
        for _ in 0..2 {
            unused -= &basis * (basis.transpose() * &unused);
            unused /= faer::Scale(unused.norm_l2());
        }
        Ok(unused)
    }

    /// The direction of rank one in every block that is given, M first, then W_1 .. W_L, as an output and an input of
    /// norm one: as long in every balanced block. The step is that to the level of a prediction.
    fn along(
        &self,
        blocks: &[Option<(ColRef<'_, f64>, ColRef<'_, f64>)>],
        prediction: f64,
    ) -> Result<Direction, Error> {
        let count = blocks.iter().flatten().count() as f64;
        let block = |block: Option<_>, (rows, cols): (usize, usize), decay: f64| {
            let mut matrix = try_zeros("direction", rows, cols as u64)?;
            if let Some((output, input)) = block {
                let output: ColRef<'_, f64> = output;
                let input: ColRef<'_, f64> = input;
                matrix += faer::Scale(1.0 / (count * decay).sqrt()) * (output * input.transpose());
            }
            Ok(matrix)
        };
        let features = block(blocks[0], self.features.shape(), self.ufm.feature_decay())?;
        let layers = self.ufm.layers().iter().zip(self.weights).zip(&blocks[1..]);
        let weights = layers.map(|((layer, weights), &pair)| block(pair, weights.shape(), layer.decay));
        let length = (count * self.level(prediction)).sqrt();
        Ok(Direction { weights: weights.collect::<Result<_, Error>>()?, features, length })
    }

    /// d²f/dt², exactly: with W_{L:1} M = S_0 + t S_1 + t² S_2 + ... it is (‖S_1‖² - 2 ⟨rest, S_2⟩)/N, and 1 from the
    /// regularizers.
    fn curvature(&self, direction: &Direction) -> f64 {
        let (rows, cols) = self.features.shape();
        let (mut zeroth, mut first, mut second) =
            (self.features.clone(), direction.features.clone(), Mat::zeros(rows, cols));
        for (weights, change) in self.weights.iter().zip(&direction.weights) {
            second = weights * second + change * &first;
            first = weights * first + change * &zeroth;
            zeroth = weights * zeroth;
        }
        let along: f64 = (0..cols).map(|k| self.rest.col(k).transpose() * second.col(k)).sum();
        1.0 + (first.squared_norm_l2() - 2.0 * along) / self.ufm.samples() as f64
    }

    /// The longest of the steps ±length/2^i that lower the objective by a quarter of what the curvature promises: a
    /// start that is lower only by rounding is not a way down.
    fn step(&self, direction: &Direction, curvature: f64) -> Option<f64> {
        let before = self.objective(direction, 0.0);
        let lengths = (0..f64::MANTISSA_DIGITS).map(|i| direction.length * 0.5_f64.powi(i.cast_signed()));
        let steps = lengths.flat_map(|length| [length, -length]);
        steps.into_iter().find(|&step| self.objective(direction, step) < before + curvature * step * step / 8.0)
    }

    /// The objective at a step, without the terms that no step in class space changes.
    fn objective(&self, direction: &Direction, step: f64) -> f64 {
        let moved = |block: &Mat<f64>, change: &Mat<f64>| block + faer::Scale(step) * change;
        let features = moved(&self.features, &direction.features);
        let (mut before, mut after) = (self.features.clone(), features.clone());
        let mut regularizers = self.ufm.feature_decay() * features.squared_norm_l2();
        for ((layer, weights), change) in self.ufm.layers().iter().zip(self.weights).zip(&direction.weights) {
            let weights_after = moved(weights, change);
            regularizers += layer.decay * weights_after.squared_norm_l2();
            (before, after) = (weights * before, weights_after * after);
        }
        0.5 * ((&self.rest + before - after).squared_norm_l2() / self.ufm.samples() as f64 + regularizers)
    }
}
