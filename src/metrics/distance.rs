//! The distance of a point from the minimizers of its model: convergence in parameters, not only in value.

use faer::{Col, ColRef, Mat, Scale};

use super::features::FeatureStatistics;
use crate::{
    error::Error,
    linalg::{dense_svd, memory::try_zeros},
    loss::Loss,
    model::Ufm,
    parameters::{check_layers, weighted},
    point::PointRef,
    theory::{Minimizer, Optimum},
};

/// The distance of a point from the set of minimizers, block by block, each relative to the norm of that block at the
/// minimizers: no block can hide another.
///
/// All blocks are those of one minimizer, the closest over all gauges Q_l, d_l × rank of orthonormal columns, in balanced
/// variables. With ρ = diag(√τ), the balanced level of every direction kept, it minimizes
///
/// ```text
/// ‖√λ_L W_L - U ρ Q_Lᵀ‖² + Σ_{l<L} ‖√λ_l W_l - Q_{l+1} ρ Q_lᵀ‖² + ‖√λ_H H D - Q_1 ρ Vᵀ‖² + λ_H ‖H - H̄ Y‖²
/// ```
///
/// where H D stands for the weighted class means H̄ D. The terms are the squares of the distances of the layers and, the
/// last two together, of the features; each is divided by ‖ρ‖². If that is zero, since all directions have collapsed, by
/// the level τ of a direction that does not shrink.
///
/// For L = 1 this is an orthogonal Procrustes problem, which one singular value decomposition solves. For L ≥ 2 each
/// gauge in turn is set to the best one for its neighbors, until nothing changes. The result is the distance to some
/// minimizer, and so an upper bound, which is zero only at minimizers.
///
/// # References
///
/// Schönemann 1966, Psychometrika, for the orthogonal Procrustes problem.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Distance {
    /// W_1 .. W_L.
    pub layers: Vec<f64>,
    /// H: class means and deviations from them.
    pub features: f64,
    /// ‖b - b*‖/‖b*‖, or ‖b - b*‖ if b* is zero; `None` without a bias. For cross-entropy it is divided by 1, the size of a
    /// logit, if ‖b*‖ is smaller; its free bias is only known up to a shift of all logits, which is left out.
    pub bias: Option<f64>,
}

impl Distance {
    /// The largest of all blocks.
    #[must_use]
    pub fn largest(&self) -> f64 {
        self.layers.iter().copied().chain([self.features]).chain(self.bias).fold(0.0, f64::max)
    }
}

/// The distance of a point from the minimizers; `None` if the minimizer is not unique up to the gauge, see
/// [`Minimizer::ties`].
///
/// Cost: L decompositions of d_l × rank a sweep, and the products of the blocks with the gauges.
///
/// # Errors
///
/// As [`Ufm::objective`](crate::Ufm::objective) if the point belongs to another model; [`Error::TooLarge`],
/// [`Error::MatrixNotFinite`], [`Error::SvdDidNotConverge`].
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm, metrics::distance};
/// use neural_collapse::rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
///
/// let ufm = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(16, 5e-3); 2], 1e-4)?;
/// let minimizer = ufm.minimizer()?;
/// let any = minimizer.random_parameters(&mut Xoshiro256PlusPlus::seed_from_u64(0))?;
/// assert!(distance(&minimizer, &any)?.unwrap().largest() < 1e-13);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
pub fn distance<'a>(minimizer: &Minimizer, point: impl Into<PointRef<'a>>) -> Result<Option<Distance>, Error> {
    let (point, ufm) = (point.into(), minimizer.ufm());
    let features = point.weighted_features(ufm)?;
    if !minimizer.is_unique() {
        return Ok(None);
    }
    let mut deviations = 0.0;
    if let Some(classes) = ufm.class_counts() {
        point.visit_deviations(classes, |of_class| deviations += of_class.squared_norm_l2())?;
    }
    let squares = Balanced::new(minimizer, point.framed_weights(), &features)?.squares_to_closest()?;
    Ok(Some(by_block(ufm, &squares, deviations, bias_distance(ufm, point.bias(), minimizer.bias()))))
}

/// The distance of a network's last layers, with W_1 .. W_L and a bias, from an optimum; `None` if that is not unique up
/// to the gauge. Without a closed form the gauges are all rotations of the feature space, also for nonnegative features:
/// there this is a lower bound. Where [`Optimum::is_proved`] is false it is the distance from the best point known. The
/// statistics need no scatter.
///
/// # Errors
///
/// [`Error::NoClassCounts`], [`Error::ClassCounts`] if the optimum is that of other class counts;
/// [`Error::LayerCount`], [`Error::BiasPresence`], [`Error::Shape`], [`Error::NotFinite`] for layers and bias;
/// [`Error::TooLarge`], [`Error::SvdDidNotConverge`].
pub fn network_distance(
    optimum: &Optimum,
    weights: &[Mat<f64>],
    bias: Option<ColRef<'_, f64>>,
    statistics: &FeatureStatistics,
) -> Result<Option<Distance>, Error> {
    let ufm = optimum.ufm();
    statistics.check_belongs_to(ufm)?;
    check_layers(ufm, weights, bias)?;
    if optimum.is_unique() == Some(false) {
        return Ok(None);
    }
    let features = statistics.weighted_means();
    let squares = match optimum {
        Optimum::Closed(minimizer) => Balanced::new(minimizer, weights, &features)?.squares_to_closest()?,
        _ => squares_of_rotations(optimum, &weights[0], &features)?,
    };
    Ok(Some(by_block(ufm, &squares, statistics.within(), bias_distance(ufm, bias, optimum.bias()))))
}

/// Squares of the distances of features and layers in balanced variables, and the square of what each block has.
struct Squares {
    blocks: Vec<f64>,
    size: f64,
}

fn by_block(ufm: &Ufm, squares: &Squares, deviations: f64, bias: Option<f64>) -> Distance {
    let size = if squares.size > 0.0 { squares.size.sqrt() } else { ufm.balanced_level_root() };
    let relative = |square: f64| square.sqrt() / size;
    Distance {
        features: relative(squares.blocks[0] + ufm.feature_decay() * deviations),
        layers: squares.blocks[1..].iter().copied().map(relative).collect(),
        bias,
    }
}

fn bias_distance(ufm: &Ufm, bias: Option<ColRef<'_, f64>>, optimum: Option<Col<f64>>) -> Option<f64> {
    let (bias, optimum) = bias.zip(optimum)?;
    let mut difference = bias - &optimum;
    if ufm.loss() == Loss::CrossEntropy && ufm.bias_decay() == 0.0 {
        // δ_k b_k may all be shifted alike.
        let along = Col::from_fn(difference.nrows(), |k| ufm.logit_scales().map_or(1.0, |scales| 1.0 / scales[k]));
        let part = along.transpose() * &difference / along.squared_norm_l2();
        difference -= Scale(part) * along;
    }
    // Balanced classes have logits without a bias, of size 1 and more.
    let least = if ufm.loss() == Loss::CrossEntropy || optimum.norm_l2() == 0.0 { 1.0 } else { 0.0 };
    Some(difference.norm_l2() / optimum.norm_l2().max(least))
}

/// The squares for the best rotation Q of an optimum of one layer: ‖√λ_H (H̄ D - Q M)‖² and ‖√λ_1 (W - C Qᵀ)‖² with its
/// weighted class means M, rank × K, and its classifiers C.
fn squares_of_rotations(optimum: &Optimum, weights: &Mat<f64>, features: &Mat<f64>) -> Result<Squares, Error> {
    let ufm = optimum.ufm();
    let counts = ufm.class_counts().ok_or(Error::NoClassCounts)?;
    let (root, layer) = (Scale(ufm.feature_decay().sqrt()), Scale(ufm.layers()[0].decay.sqrt()));
    let (means, classifiers) = (root * weighted(counts, optimum.class_means()?), layer * optimum.classifiers()?);
    let (features, weights) = (root * features, layer * weights);
    let size = means.squared_norm_l2();
    if means.nrows() == 0 {
        return Ok(Squares { blocks: vec![features.squared_norm_l2(), weights.squared_norm_l2()], size });
    }
    let gauge = polar(&(&features * means.transpose() + weights.transpose() * &classifiers))?;
    let square = |one: &Mat<f64>, other: Mat<f64>| (one - other).squared_norm_l2();
    let blocks = vec![square(&features, &gauge * means), square(&weights, classifiers * gauge.transpose())];
    Ok(Squares { blocks, size })
}

/// Sweeps over the gauges at most: each brings the last errors of the one before down by a factor, which for few layers
/// is small.
const MOST_SWEEPS: usize = 200;

/// A sweep that brings the square of the distance down by less than this of itself is the last.
const SETTLED: f64 = 1e-10;

/// The blocks of a point in balanced variables: √λ_H M, √λ_1 W_1 .. √λ_L W_L, and what the minimizer has at both ends.
struct Balanced {
    blocks: Vec<Mat<f64>>,
    /// U and V of the directions kept.
    left: Mat<f64>,
    right: Mat<f64>,
    /// ρ = √τ of the directions kept.
    levels: Col<f64>,
}

impl Balanced {
    fn new(minimizer: &Minimizer, weights: &[Mat<f64>], features: &Mat<f64>) -> Result<Self, Error> {
        let ufm = minimizer.ufm();
        let root = ufm.feature_decay().sqrt();
        let layers = ufm.layers().iter().zip(weights).map(|(layer, weights)| Scale(layer.decay.sqrt()) * weights);
        Ok(Self {
            blocks: [Scale(root) * features].into_iter().chain(layers).collect(),
            left: minimizer.spectrum().left_vectors(minimizer.rank())?,
            right: minimizer.spectrum().right_vectors(minimizer.rank())?,
            levels: minimizer.kept(|direction| root * direction.feature),
        })
    }

    /// The squares of the distances to the closest minimizer found.
    fn squares_to_closest(&self) -> Result<Squares, Error> {
        let depth = self.blocks.len() - 1;
        let mut gauges: Vec<Mat<f64>> = Vec::with_capacity(depth);
        for l in 0..depth {
            gauges.push(polar(&self.pull_from_below(&gauges, l))?);
        }
        let mut blocks = self.squares(&gauges)?;
        for _ in 0..MOST_SWEEPS {
            for l in (0..depth).rev() {
                gauges[l] = polar(&(self.pull_from_below(&gauges, l) + self.pull_from_above(&gauges, l)))?;
            }
            let before: f64 = blocks.iter().sum();
            blocks = self.squares(&gauges)?;
            // One layer has one gauge, which does not change any more.
            if depth == 1 || !(blocks.iter().sum::<f64>() < before * (1.0 - SETTLED)) {
                break;
            }
        }
        Ok(Squares { blocks, size: self.levels.squared_norm_l2() })
    }

    /// What the block below gauge l, d_l × rank, would have it be: its product with the frame on the other side.
    fn pull_from_below(&self, gauges: &[Mat<f64>], l: usize) -> Mat<f64> {
        let frame = if l == 0 { &self.right } else { &gauges[l - 1] };
        scaled(&self.blocks[l] * frame, self.levels.as_ref())
    }

    /// The same for the block above.
    fn pull_from_above(&self, gauges: &[Mat<f64>], l: usize) -> Mat<f64> {
        let frame = gauges.get(l + 1).unwrap_or(&self.left);
        scaled(self.blocks[l + 1].transpose() * frame, self.levels.as_ref())
    }

    /// The squares of the distances of all blocks to the minimizer of these gauges.
    fn squares(&self, gauges: &[Mat<f64>]) -> Result<Vec<f64>, Error> {
        let mut squares = Vec::with_capacity(self.blocks.len());
        for (l, block) in self.blocks.iter().enumerate() {
            let below = if l == 0 { &self.right } else { &gauges[l - 1] };
            let above = gauges.get(l).unwrap_or(&self.left);
            let mut rest = try_zeros("difference", block.nrows(), block.ncols() as u64)?;
            rest.copy_from(block);
            rest -= scaled(above.clone(), self.levels.as_ref()) * below.transpose();
            squares.push(rest.squared_norm_l2());
        }
        Ok(squares)
    }
}

/// A diag(values).
fn scaled(matrix: Mat<f64>, values: ColRef<'_, f64>) -> Mat<f64> {
    matrix * values.as_diagonal()
}

/// The matrix of orthonormal columns that is closest: U Vᵀ of A = U diag(s) Vᵀ.
fn polar(matrix: &Mat<f64>) -> Result<Mat<f64>, Error> {
    let svd = dense_svd(matrix.as_ref())?;
    Ok(svd.left * svd.right.transpose())
}
