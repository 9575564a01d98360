//! Norms and angles between classes at the minimizer, group by group.
//!
//! Classes of equal counts are interchangeable, so that the Gram matrices of the minimizer are constant on blocks: for
//! classes k of group r and l of group t
//!
//! ```text
//! (W W')_kl    =  Σ_j w_j² u_jr u_jt               +  w_r² (δ_kl - 1/m_r) δ_rt
//! (H̄'H̄)_kl     =  Σ_j h_j² v_jr v_jt / √(c_r c_t)  +  h_r²/c_r (δ_kl - 1/m_r) δ_rt
//! (W H̄)_kl     =  Σ_j z_j u_jr v_jt / √c_t         +  (1-e_r) (δ_kl - 1/m_r) δ_rt
//!              =  δ_kl - c_r/N  -  Σ_j σ_j e_j u_jr v_jt / √c_t  -  e_r (δ_kl - 1/m_r) δ_rt
//! ```
//!
//! W = W_{L:1}; j runs over the directions between groups, and the terms with δ_rt are those of the √c_r directions
//! within group r. Without a bias there are no directions between groups, δ_kl - 1/m_r is δ_kl and c_r/N is 0. The
//! second form of the logits is what T = U diag(σ) V' leaves of the first: the one with the smaller terms is the
//! accurate one.

use std::sync::Arc;

use faer::Mat;
use qd::Quad;

use super::{Direction, Minimizer, Tie};
use crate::{classes::ClassCounts, error::Error, linalg::wide::power_of_two, theory::spectrum::Side};

/// The geometry of the minimizer: norms, angles and logits of any two classes, whatever their number.
///
/// Classes of one group have the same numbers: for those of group r and t ask for one class of each, say
/// [`Group::classes`](crate::Group)`[0]`.
///
/// Cost: O(R²) operations and 2 R² + K numbers, for R distinct counts, and O(R) operations for every question. A norm
/// has a relative error of some epsilons; an inner product, a cosine or a logit has that error relative to the largest
/// term of its sum above, which is small beside it where vectors are nearly orthogonal.
///
/// # Example
///
/// Balanced classes are a simplex equiangular tight frame:
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm};
///
/// let ufm = Ufm::biased(ClassCounts::balanced(10, 500)?, [Layer::new(64, 5e-3)], 1e-4)?;
/// let geometry = ufm.minimizer()?.geometry()?;
/// let cosine = geometry.classifiers().cosine(0, 1).unwrap();
/// assert!((cosine + 1.0 / 9.0).abs() < 1e-15);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Geometry {
    frame: Arc<Frame>,
    classifiers: Gram,
    class_means: Gram,
    /// z_j and σ_j e_j of the directions between groups, 1 - e_r and e_r of those within, for one-hot labels.
    prediction: Values,
    residual: Values,
}

/// Inner products between classes.
///
/// A number that is not the same for all minimizers is `None`: a tie at a threshold leaves open whether a direction is
/// there at all, and a width that cuts through equal targets which classes of the group it separates.
#[derive(Clone, Debug)]
pub struct Gram {
    frame: Arc<Frame>,
    side: Side,
    /// The squares of singular values, in units of the square of a power of two near the largest: they leave the range
    /// of `f64` where the singular values do not.
    values: Values,
    unit: f64,
}

/// The vectors of the directions between groups, and what tells the classes of a group apart.
#[derive(Debug)]
struct Frame {
    classes: ClassCounts,
    /// The group of every class.
    group_of: Vec<usize>,
    /// A column for every group: u_j at one of its classes.
    left: Mat<f64>,
    /// A column for every group: v_j/√c at one of its classes.
    right: Mat<f64>,
    has_bias: bool,
    /// One less the smoothing of the labels: the scale of the target.
    scale: f64,
    /// Whether no entry at all is the same for all minimizers.
    ambiguous: bool,
    /// Whether what the directions within a group give is not the same for all minimizers.
    ambiguous_within: Vec<bool>,
}

/// What every direction between groups contributes, and those within each group.
#[derive(Clone, Debug)]
struct Values {
    between: Vec<f64>,
    within: Vec<f64>,
}

impl Frame {
    fn new(minimizer: &Minimizer) -> Result<Self, Error> {
        let spectrum = minimizer.label_spectrum()?;
        let classes = spectrum.class_counts().clone();
        let mut group_of = vec![0; classes.classes()];
        for (r, group) in classes.groups().enumerate() {
            group.classes.iter().for_each(|&class| group_of[class] = r);
        }
        let levels: Vec<usize> = between(minimizer).map(|(index, _)| minimizer.levels()[index]).collect();
        let left = spectrum.entries_by_group(&levels, Side::Left)?;
        let mut right = spectrum.entries_by_group(&levels, Side::Right)?;
        for (column, group) in right.col_iter_mut().zip(classes.groups()) {
            let root = (group.count as f64).sqrt();
            column.iter_mut().for_each(|entry| *entry /= root);
        }
        let mut ambiguous = false;
        let mut ambiguous_within = vec![false; classes.groups().len()];
        for &(Tie::Threshold { direction } | Tie::Width { direction }) in minimizer.ties() {
            match minimizer.directions()[direction].group {
                Some(r) => ambiguous_within[r] = true,
                None => ambiguous = true,
            }
        }
        let targets = minimizer.ufm().targets();
        let (has_bias, scale) = (minimizer.ufm().has_bias(), 1.0 - targets.smoothing());
        Ok(Self { classes, group_of, left, right, has_bias, scale, ambiguous, ambiguous_within })
    }

    fn vectors(&self, side: Side) -> &Mat<f64> {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    /// δ_kl - 1/m_r, the inner product of classes of group `r` along its own directions: δ_kl without a bias.
    fn contrast(&self, r: usize, same: bool) -> f64 {
        let m = self.classes.group(r).multiplicity() as f64;
        match (self.has_bias, same) {
            (true, true) => (m - 1.0) / m,
            (true, false) => -1.0 / m,
            (false, same) => f64::from(u8::from(same)),
        }
    }

    /// The entry of classes k and l with these values of the directions, and the sum of the sizes of its terms.
    fn entry(&self, (k, l): (usize, usize), sides: (Side, Side), values: &Values) -> Option<(Quad, f64)> {
        let classes = self.group_of.len();
        assert!(k.max(l) < classes, "there is no class {}: there are {classes}, counted from 0", k.max(l));
        let (r, t) = (self.group_of[k], self.group_of[l]);
        if self.ambiguous || (r == t && self.ambiguous_within[r]) {
            return None;
        }
        let (left, right) = (self.vectors(sides.0).col(r), self.vectors(sides.1).col(t));
        let (mut sum, mut size) = (Quad::ZERO, 0.0);
        let mut add = |term: Quad| {
            sum += term;
            size += term.0.abs();
        };
        for ((value, a), b) in values.between.iter().zip(left.iter()).zip(right.iter()) {
            add(Quad::from(value * a) * Quad::from(*b));
        }
        if r == t {
            add(Quad::from(values.within[r] * self.contrast(r, k == l)));
        }
        Some((sum, size))
    }
}

/// The directions between groups, with their indices.
fn between(minimizer: &Minimizer) -> impl Iterator<Item = (usize, &Direction)> {
    let nonzero = |(_, direction): &(usize, &Direction)| direction.group.is_none() && direction.target > 0.0;
    minimizer.directions().iter().enumerate().filter(nonzero)
}

impl Values {
    /// `of` every direction, and of the count of its group for those within one.
    fn new(minimizer: &Minimizer, classes: &ClassCounts, of: impl Fn(&Direction, f64) -> f64) -> Self {
        let mut within = vec![0.0; classes.groups().len()];
        for direction in minimizer.directions() {
            if let Some(r) = direction.group {
                // Where a width cuts through a group there are two directions, and the entries are ambiguous.
                within[r] = of(direction, classes.group(r).count as f64);
            }
        }
        Self { between: between(minimizer).map(|(_, direction)| of(direction, 1.0)).collect(), within }
    }
}

impl Gram {
    fn new(
        minimizer: &Minimizer,
        frame: &Arc<Frame>,
        side: Side,
        singular_value: impl Fn(&Direction) -> f64,
        share: impl Fn(f64) -> f64,
    ) -> Self {
        let unit = power_of_two(minimizer.directions().iter().map(&singular_value).fold(0.0, f64::max));
        let square = |direction: &Direction, count: f64| (singular_value(direction) / unit).powi(2) * share(count);
        Self { frame: frame.clone(), side, values: Values::new(minimizer, &frame.classes, square), unit }
    }

    /// The inner product of classes `k` and `l`.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn inner_product(&self, k: usize, l: usize) -> Option<f64> {
        Some(self.in_units(k, l)? * self.unit * self.unit)
    }

    /// The norm of class `k`.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn norm(&self, k: usize) -> Option<f64> {
        Some(self.in_units(k, k)?.sqrt() * self.unit)
    }

    /// The cosine of the angle between classes `k` and `l`: `None` also where one of them is zero.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn cosine(&self, k: usize, l: usize) -> Option<f64> {
        cosine(self.in_units(k, l)?, self.in_units(k, k)?.sqrt(), self.in_units(l, l)?.sqrt())
    }

    fn in_units(&self, k: usize, l: usize) -> Option<f64> {
        self.frame.entry((k, l), (self.side, self.side), &self.values).map(|(sum, _)| sum.0)
    }
}

/// Vectors on top of each other may have a cosine that rounds beyond 1.
fn cosine(product: f64, first: f64, second: f64) -> Option<f64> {
    (first > 0.0 && second > 0.0).then(|| (product / first / second).clamp(-1.0, 1.0))
}

impl Geometry {
    /// Inner products of the rows of W_{L:1}, the classifiers.
    #[must_use]
    pub fn classifiers(&self) -> &Gram {
        &self.classifiers
    }

    /// Inner products of class means.
    #[must_use]
    pub fn class_means(&self) -> &Gram {
        &self.class_means
    }

    /// The logit of class `k`, without the bias, for a sample of class `l`: the inner product of classifier k and class
    /// mean l.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn logit(&self, k: usize, l: usize) -> Option<f64> {
        let frame = &self.frame;
        let entry = |values| frame.entry((k, l), (Side::Left, Side::Right), values);
        let ((prediction, size), (residual, residual_size)) = (entry(&self.prediction)?, entry(&self.residual)?);
        if size <= residual_size {
            return Some(prediction.0);
        }
        // δ_kl - n_k/N, where there is a bias.
        let samples = frame.classes.samples();
        let others = if frame.has_bias { frame.classes.counts()[k] } else { 0 };
        let share = if k == l { (samples - others) as f64 } else { -(others as f64) };
        let target = Quad::from(frame.scale) * Quad::from(share) / Quad::from(samples as f64);
        Some((target - residual).0)
    }

    /// By how much a sample of class `k` scores higher for its own class than for class `l`, bias included.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn logit_gap(&self, k: usize, l: usize) -> Option<f64> {
        let own = self.logit(k, k)?;
        let (frame, r) = (&self.frame, self.frame.group_of[k]);
        if r == frame.group_of[l] {
            return Some(if k == l { 0.0 } else { self.prediction.within[r] });
        }
        let (own_count, other_count) = (frame.classes.counts()[k], frame.classes.counts()[l]);
        let difference = own_count.abs_diff(other_count) as f64 * if own_count < other_count { -1.0 } else { 1.0 };
        let bias = if frame.has_bias { frame.scale * (difference / frame.classes.samples() as f64) } else { 0.0 };
        Some(own - self.logit(l, k)? + bias)
    }

    /// Self-duality: the cosine of the angle between the classifier and the class mean of class `k`, 1 where they are
    /// parallel, as they always are for balanced classes.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn self_duality_cosine(&self, k: usize) -> Option<f64> {
        cosine(self.logit(k, k)?, self.classifiers.norm(k)?, self.class_means.norm(k)?)
    }
}

impl Minimizer {
    /// Norms and angles between classes.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] where the targets have no groups: a matrix, or labels that are smoothed without a bias;
    /// [`Error::TooLarge`] where R × R numbers do not fit in memory.
    pub fn geometry(&self) -> Result<Geometry, Error> {
        let frame = Arc::new(Frame::new(self)?);
        let values = |of: &dyn Fn(&Direction, f64) -> f64| Values::new(self, &frame.classes, of);
        Ok(Geometry {
            classifiers: Gram::new(self, &frame, Side::Left, |direction| direction.product, |_| 1.0),
            class_means: Gram::new(self, &frame, Side::Right, |direction| direction.feature, |count| 1.0 / count),
            prediction: values(&|direction, count| direction.prediction / count.sqrt()),
            residual: values(&|direction, count| direction.target * direction.shrinkage / count.sqrt()),
            frame,
        })
    }
}
