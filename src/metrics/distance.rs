//! The distance of a point from the minimizers of its model: convergence in parameters, not only in value.

use faer::{Col, ColRef, Mat, Scale};

use crate::{
    error::Error,
    linalg::{dense_svd, memory::try_zeros},
    point::PointRef,
    theory::Minimizer,
};

/// The distance of a point from the set of minimizers, relative to their norm; `None` if the minimizer is not unique up
/// to the gauge, see [`Minimizer::ties`].
///
/// Distances are those of balanced variables, in which no block outweighs the others. Over all gauges Q_l, d_l × rank
/// of orthonormal columns, and with ρ = diag(√τ), the balanced level of every direction kept,
///
/// ```text
/// min  ‖√λ_L W_L - U ρ Q_Lᵀ‖² + Σ_{l<L} ‖√λ_l W_l - Q_{l+1} ρ Q_lᵀ‖² + ‖√λ_H H D - Q_1 ρ Vᵀ‖² + λ_H ‖H - H̄ Y‖² + ‖b - b*‖²
/// ```
///
/// where H D stands for the weighted class means H̄ D; the distance is the square root of this, divided by the same
/// number for a point of zeros. If that is zero, since all directions have collapsed, it is divided by the level √τ of
/// a direction that does not shrink.
///
/// For L = 1 this is an orthogonal Procrustes problem, which one singular value decomposition solves. For L ≥ 2 each
/// gauge in turn is set to the best one for its neighbors, until nothing changes. The result is the distance to some
/// minimizer, and so an upper bound, which is zero only at minimizers.
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
/// assert!(distance(&minimizer, &any)?.unwrap() < 1e-13);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Schönemann 1966, Psychometrika, for the orthogonal Procrustes problem.
pub fn distance<'a>(minimizer: &Minimizer, point: impl Into<PointRef<'a>>) -> Result<Option<f64>, Error> {
    let (point, ufm) = (point.into(), minimizer.ufm());
    let features = point.weighted_features(ufm)?;
    if !minimizer.is_unique() {
        return Ok(None);
    }
    let mut square = 0.0;
    if let Some(classes) = ufm.class_counts() {
        point.visit_deviations(classes, |deviations| square += ufm.feature_decay() * deviations.squared_norm_l2())?;
    }
    let mut promised = 0.0;
    if let (Some(bias), Some(optimum)) = (point.bias(), minimizer.bias()) {
        square += (bias - &optimum).squared_norm_l2();
        promised += optimum.squared_norm_l2();
    }
    let balanced = Balanced::new(minimizer, point.framed_weights(), &features)?;
    promised += (ufm.depth() + 1) as f64 * balanced.levels.squared_norm_l2();
    square += balanced.square_to_closest()?;
    let scale = if promised > 0.0 { promised.sqrt() } else { ufm.balanced_level_root() };
    Ok(Some(square.sqrt() / scale))
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

    /// The square of the distance to the closest minimizer found.
    fn square_to_closest(&self) -> Result<f64, Error> {
        let depth = self.blocks.len() - 1;
        let mut gauges: Vec<Mat<f64>> = Vec::with_capacity(depth);
        for l in 0..depth {
            gauges.push(polar(&self.pull_from_below(&gauges, l))?);
        }
        let mut square = self.square(&gauges)?;
        for _ in 0..MOST_SWEEPS {
            for l in (0..depth).rev() {
                gauges[l] = polar(&(self.pull_from_below(&gauges, l) + self.pull_from_above(&gauges, l)))?;
            }
            let before = square;
            square = self.square(&gauges)?;
            // One layer has one gauge, which does not change any more.
            if depth == 1 || !(square < before * (1.0 - SETTLED)) {
                break;
            }
        }
        Ok(square)
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

    /// The square of the distance to the minimizer of these gauges.
    fn square(&self, gauges: &[Mat<f64>]) -> Result<f64, Error> {
        let mut square = 0.0;
        for (l, block) in self.blocks.iter().enumerate() {
            let below = if l == 0 { &self.right } else { &gauges[l - 1] };
            let above = gauges.get(l).unwrap_or(&self.left);
            let mut rest = try_zeros("difference", block.nrows(), block.ncols() as u64)?;
            rest.copy_from(block);
            rest -= scaled(above.clone(), self.levels.as_ref()) * below.transpose();
            square += rest.squared_norm_l2();
        }
        Ok(square)
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
