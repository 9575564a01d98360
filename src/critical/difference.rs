//! Which directions a critical point has, and which the minimizer has.

use std::{fmt, ops::Range};

use faer::Mat;

use crate::{
    descent::kernel::gradient_norm,
    error::Error,
    linalg::wide::Wide,
    model::Ufm,
    point::PointRef,
    theory::{Direction, Fate, Minimizer, Tie},
};

/// How the directions of a point differ from those of the minimizer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Difference {
    /// Directions that the minimizer keeps and the point does not have, by falling target: the index in
    /// [`Minimizer::directions`], and how many of its equal directions are missing.
    pub missing: Vec<(usize, usize)>,
    /// Directions that the minimizer gives up and the point has, by falling target: the index in
    /// [`Minimizer::directions`].
    pub excess: Vec<usize>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing: usize = self.missing.iter().map(|&(_, count)| count).sum();
        write!(f, "directions missing {missing}, in excess {}", self.excess.len())
    }
}

/// A direction counts as present if the prediction has this share of its singular value: at a critical point it has all
/// of it, or that of the smaller root of the scalar problem, or nothing.
const THERE: f64 = 0.999;

/// Targets no farther apart than this many roundings of a dense decomposition count as equal: its vectors then are
/// turned among each other by up to rounding/distance, and traces change by the square of it, a tenth of 1 - [`THERE`].
const EQUAL: f64 = 100.0;

/// How the directions of a point near a critical point differ from those of the minimizer.
///
/// The prediction Z = W_{L:1} H̄ D is measured along the singular vectors of the target: Σ u_kᵀ Z v_k over the vectors
/// of one singular value, which does not depend on the choice of vectors among them. It is compared with what critical
/// points can have there: z for each direction that the minimizer keeps; and for one that it gives up nothing, or a
/// singular value of at least about σ q^((L+1)/(L-1)), for L = 1 σ (1-q). A target of zero, or one whose q is beyond
/// the last for which e (1-e)^((L-1)/(L+1)) = q has a root, has no direction at any critical point, and is never in
/// excess. Rounding, or the remaining gradient of the point, can add or remove a small part of a direction. If a
/// direction could come from these alone, it is reported neither as missing nor as in excess. The same holds for a
/// direction at a tie, see [`Minimizer::ties`].
///
/// Cost: one evaluation of the gradient, and O((K + R²) d_1) operations for class labels; no K × K matrix is formed.
///
/// # Errors
///
/// As [`Ufm::objective`](crate::Ufm::objective) if the point belongs to another model; [`Error::TooLarge`].
pub fn difference<'a>(minimizer: &Minimizer, point: impl Into<PointRef<'a>>) -> Result<Difference, Error> {
    let point = point.into();
    let traces = Traces::new(minimizer, point)?;
    let limits = Limits::new(minimizer.ufm(), point, traces.gradient);
    let mut difference = Difference::default();
    let mut start = 0;
    for group in groups(minimizer) {
        let directions = &minimizer.directions()[group.clone()];
        let end = start + directions.iter().map(|direction| direction.multiplicity).sum::<usize>();
        let (trace, rounding) = traces.of(start..end);
        start = end;
        let first = &directions[0];
        if first.fate != Fate::Kept {
            if limits.least(first).is_some_and(|least| trace > (least / 2.0).max(limits.unkept() + rounding)) {
                difference.excess.push(group.start);
            }
        } else if !minimizer.ties().contains(&Tie::Threshold { direction: group.start }) {
            let kept = directions.iter().filter(|direction| direction.fate == Fate::Kept);
            let kept: usize = kept.map(|direction| direction.multiplicity).sum();
            let most = trace + rounding + limits.kept(first, kept);
            let is_there = |count: &usize| most >= first.prediction * (*count as f64 - 1.0 + THERE);
            let missing = kept - (1..=kept).take_while(is_there).count();
            if missing > 0 {
                difference.missing.push((group.start, missing));
            }
        }
    }
    Ok(difference)
}

/// The ranges of directions of equal targets: those of one level, which a width can cut in two directions that share
/// its vectors, and those that a dense decomposition tells apart by rounding alone.
fn groups(minimizer: &Minimizer) -> Vec<Range<usize>> {
    let (directions, levels) = (minimizer.directions(), minimizer.levels());
    let rounding = EQUAL * minimizer.spectrum().rounding();
    let is_equal = |i: usize, j: usize| {
        levels[i] == levels[j] || directions[i].target - directions[j].target <= rounding && rounding > 0.0
    };
    let mut groups = Vec::with_capacity(directions.len());
    let mut start = 0;
    for end in 1..=directions.len() {
        if end == directions.len() || !is_equal(end - 1, end) {
            groups.push(start..end);
            start = end;
        }
    }
    groups
}

/// The prediction along the singular vectors of the target.
struct Traces {
    /// u_kᵀ W_{L:1}, one row for each k.
    left: Mat<f64>,
    /// (M v_k)ᵀ, one row for each k.
    right: Mat<f64>,
    /// ‖W_L‖ ··· ‖W_1‖ and ‖M‖.
    sizes: (f64, f64),
    /// What a row loses to rounding, relative to these: the products of the layers, and the singular vectors, which
    /// have 30 K epsilons of error at most.
    rounding: f64,
    /// The norm of the gradient in balanced variables.
    gradient: f64,
}

impl Traces {
    fn new(minimizer: &Minimizer, point: PointRef<'_>) -> Result<Self, Error> {
        let ufm = minimizer.ufm();
        let features = point.weighted_features(ufm)?;
        let gradient = gradient_norm(ufm, point)?;
        let side = ufm.outputs().max(features.ncols());
        let terms: usize = ufm.layers().iter().map(|layer| layer.width).sum();
        Ok(Self {
            left: minimizer.spectrum().left_transposed_times(point.framed_product().as_ref()),
            right: minimizer.spectrum().right_transposed_times(features.transpose()),
            sizes: (point.framed_weights().iter().map(Mat::norm_l2).product(), features.norm_l2()),
            rounding: f64::EPSILON * (30.0 * side as f64 + terms as f64),
            gradient,
        })
    }

    /// Σ u_kᵀ Z v_k over these vectors, and how far rounding may have moved it.
    fn of(&self, vectors: Range<usize>) -> (f64, f64) {
        let (product, features) = (self.rounding * self.sizes.0, self.rounding * self.sizes.1);
        let mut sums = (0.0, 0.0);
        for k in vectors {
            let (left, right) = (self.left.row(k), self.right.row(k));
            sums.0 += left * right.transpose();
            sums.1 += left.norm_l2() * features + product * right.norm_l2() + product * features;
        }
        sums
    }
}

/// The part of a direction that a critical point can have, and the part that a point with a small gradient can have.
struct Limits<'a> {
    ufm: &'a Ufm,
    /// ‖∇f‖ in balanced variables.
    gradient: f64,
    /// ‖W_{L-1}‖ ··· ‖W_1‖.
    inner: f64,
}

impl<'a> Limits<'a> {
    fn new(ufm: &'a Ufm, point: PointRef<'_>, gradient: f64) -> Self {
        let inner = point.framed_weights()[..ufm.depth() - 1].iter().map(Mat::norm_l2).product();
        Self { ufm, gradient, inner }
    }

    /// The least singular value of the prediction that a critical point can have along a direction, up to a factor of
    /// 2.4 for L ≥ 2; `None` if it cannot have any.
    ///
    /// With y = z/σ, z (σ - z) = N τ is (1-y) y^p = q, p = (L-1)/(L+1), whose left side is largest at y = (L-1)/(2L).
    /// Its smaller root is between q^(1/p) and q^(1/p) (2L/(L+1))^(1/p), and L = 1 has the one root 1-q.
    fn least(&self, direction: &Direction) -> Option<f64> {
        let (sigma, depth) = (direction.target, self.ufm.depth() as f64);
        if sigma == 0.0 {
            return None;
        }
        let q = self.q(sigma);
        if self.ufm.depth() == 1 {
            return Some(sigma * (1.0 - q)).filter(|least| *least > 0.0);
        }
        let (power, top) = ((depth - 1.0) / (depth + 1.0), (depth - 1.0) / (2.0 * depth));
        // Just beyond the largest q the gradient is as small as that of the point at y = top: √(L+1) √τ (1 - q_max/q).
        let slack = 8.0 * f64::EPSILON + self.gradient / ((depth + 1.0).sqrt() * self.level_root(sigma * top));
        (q <= (1.0 - top) * top.powf(power) * (1.0 + slack)).then(|| sigma * q.powf(1.0 / power))
    }

    /// What a point with this gradient can have in directions that it does not have. In balanced variables the
    /// regularizers alone move a block off such a direction, so that no more than the gradient is left in the first and
    /// in the last block, g/√λ_H and g/√λ_L, and the layers between carry one to the other.
    fn unkept(&self) -> f64 {
        let root = |decay: f64| self.gradient / decay.sqrt();
        root(self.ufm.feature_decay()) * root(self.ufm.layers()[self.ufm.depth() - 1].decay) * self.inner
    }

    /// How far a point with this gradient can be below the prediction z of some directions that it has, in all.
    ///
    /// Along the balanced direction, √τ in L + 1 blocks, the second derivative of f is (L+1) s with
    ///
    /// ```text
    /// s = (1-e)/e - (L-1)/(L+1),
    /// ```
    ///
    /// and z moves by √(L+1) z/√τ: δz = z g/(√(L+1) √τ s).
    fn kept(&self, direction: &Direction, count: usize) -> f64 {
        let (depth, e) = (self.ufm.depth() as f64, direction.shrinkage);
        let slope = ((depth + 1.0) - 2.0 * depth * e) / ((depth + 1.0) * e);
        let level_root = self.ufm.feature_decay().sqrt() * direction.feature;
        direction.prediction * (count as f64).sqrt() * self.gradient / ((depth + 1.0).sqrt() * level_root * slope)
    }

    /// q, as the theory has it for directions with a threshold.
    fn q(&self, sigma: f64) -> f64 {
        self.ufm.decays().q(Wide::new(sigma).power(2)).to_f64()
    }

    /// √τ, zero if z is.
    fn level_root(&self, z: f64) -> f64 {
        if z == 0.0 {
            return 0.0;
        }
        self.ufm.decays().level_root(Wide::new(z).power(2)).to_f64()
    }
}
