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
//! second form of the logits follows from the first by T = U diag(σ) V'. The form with the smaller terms is the
//! accurate one.

use std::sync::{Arc, OnceLock};

use qd::Quad;

use super::{Direction, Minimizer};
use crate::{error::Error, linalg::wide::power_of_two, theory::spectrum::Side};

mod clusters;
mod frame;
mod neighbors;
mod tables;

pub use clusters::ClassFate;
pub(super) use frame::{Frame, Open, Values};
pub use neighbors::Nearest;
use neighbors::Neighbors;

/// The geometry of the minimizer: norms, angles and logits of any two classes, for any number of classes.
///
/// Classes of one group have the same numbers. For groups r and t ask for one class of each, for example
/// [`Group::classes`](crate::Group)`[0]`.
///
/// Cost: O(R) operations and O(R) + K numbers, for R distinct counts, and O(R) operations for every question about one
/// or two classes. The first question for a nearest class takes O(R²). A norm has a relative error of a few epsilons.
/// An inner product, a cosine or a logit has that error relative to the largest term of its sum above; if vectors are
/// nearly orthogonal, the sum is much smaller than that term. An angle, however small, has a relative error of a few
/// epsilons.
///
/// # Example
///
/// Balanced classes are a simplex equiangular tight frame:
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm};
///
/// let ufm = Ufm::new(ClassCounts::balanced(10, 500)?, [Layer::new(64, 5e-3)], 1e-4)?;
/// let geometry = ufm.minimizer()?.geometry()?;
/// let cosine = geometry.classifiers().cosine(0, 1).unwrap();
/// assert!((cosine + 1.0 / 9.0).abs() < 1e-15);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Geometry {
    frame: Arc<Frame>,
    open: Arc<Open>,
    classifiers: Gram,
    class_means: Gram,
    /// z_j and σ_j e_j of the directions between groups, 1 - e_r and e_r of those within, for one-hot labels.
    prediction: Values,
    residual: Values,
    /// One minus the smoothing of the labels: the scale of the target.
    scale: f64,
}

/// Inner products between classes.
///
/// A number that is not the same for all minimizers is `None`. A tie at a threshold makes it ambiguous whether a
/// direction is present. A width that cuts through equal targets makes it ambiguous which classes of the group it
/// separates.
#[derive(Clone, Debug)]
pub struct Gram {
    frame: Arc<Frame>,
    open: Arc<Open>,
    side: Side,
    /// The squares of singular values, in units of the square of a power of two near the largest: they can leave the
    /// range of `f64` even if the singular values do not.
    values: Values,
    unit: f64,
    /// What the angles between all groups follow from, computed on first use.
    neighbors: OnceLock<Neighbors>,
}

impl Gram {
    fn new(
        minimizer: &Minimizer,
        (frame, open): (&Arc<Frame>, &Arc<Open>),
        side: Side,
        singular_value: impl Fn(&Direction) -> f64,
        share: impl Fn(f64) -> f64,
    ) -> Self {
        let unit = power_of_two(minimizer.directions().iter().map(&singular_value).fold(0.0, f64::max));
        let square = |direction: &Direction, count: f64| (singular_value(direction) / unit).powi(2) * share(count);
        let values = Values::new(minimizer.directions(), &frame.classes, square);
        Self { frame: frame.clone(), open: open.clone(), side, values, unit, neighbors: OnceLock::new() }
    }

    /// The inner product of classes `k` and `l`.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn inner_product(&self, k: usize, l: usize) -> Option<f64> {
        Some(self.in_units(k, l)? * self.unit * self.unit)
    }

    /// The norm of class `k`.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn norm(&self, k: usize) -> Option<f64> {
        Some(self.in_units(k, k)?.sqrt() * self.unit)
    }

    /// The cosine of the angle between classes `k` and `l`: `None` also if one of them is zero.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn cosine(&self, k: usize, l: usize) -> Option<f64> {
        cosine(self.in_units(k, l)?, self.in_units(k, k)?.sqrt(), self.in_units(l, l)?.sqrt())
    }

    /// The angle between classes `k` and `l` in radians, to a few epsilons however small it is: `None` also if one of
    /// them is zero.
    ///
    /// ```text
    /// 2 atan2(‖a - b‖, ‖a + b‖)      of the two unit vectors
    /// ```
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn angle(&self, k: usize, l: usize) -> Option<f64> {
        let (first, second) = (self.in_units(k, k)?.sqrt(), self.in_units(l, l)?.sqrt());
        let (r, t) = (self.frame.group_of[k], self.frame.group_of[l]);
        if self.open.between(r, t) || !(first > 0.0 && second > 0.0) {
            return None;
        }
        Some(if k == l { 0.0 } else { self.frame.angle((r, t), (first, second), self.side, &self.values) })
    }

    fn in_units(&self, k: usize, l: usize) -> Option<f64> {
        let groups = self.frame.groups(k, l);
        if self.open.between(groups.0, groups.1) {
            return None;
        }
        let (sum, _) = self.frame.entry(groups, k == l, (self.side, self.side), &self.values);
        Some(sum.0)
    }
}

/// The cosine of equal vectors may round beyond 1.
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
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn logit(&self, k: usize, l: usize) -> Option<f64> {
        let frame = &self.frame;
        let groups = frame.groups(k, l);
        if self.open.between(groups.0, groups.1) {
            return None;
        }
        let entry = |values| frame.entry(groups, k == l, (Side::Left, Side::Right), values);
        let ((prediction, size), (residual, residual_size)) = (entry(&self.prediction), entry(&self.residual));
        if size <= residual_size {
            return Some(prediction.0);
        }
        // δ_kl - n_k/N, if there is a bias.
        let samples = frame.classes.samples();
        let others = if frame.has_bias { frame.classes.counts()[k] } else { 0 };
        let share = if k == l { (samples - others) as f64 } else { -(others as f64) };
        let target = Quad::from(self.scale) * Quad::from(share) / Quad::from(samples as f64);
        Some((target - residual).0)
    }

    /// The margin of class `k` over class `l`: the score of a sample of class `k` for its own class minus that for
    /// class `l`, bias included.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn logit_gap(&self, k: usize, l: usize) -> Option<f64> {
        let own = self.logit(k, k)?;
        let (frame, r) = (&self.frame, self.frame.group_of[k]);
        if r == frame.group_of[l] {
            return Some(if k == l { 0.0 } else { self.prediction.within[r] });
        }
        let (own_count, other_count) = (frame.classes.counts()[k], frame.classes.counts()[l]);
        let difference = own_count.abs_diff(other_count) as f64 * if own_count < other_count { -1.0 } else { 1.0 };
        let bias = if frame.has_bias { self.scale * (difference / frame.classes.samples() as f64) } else { 0.0 };
        Some(own - self.logit(l, k)? + bias)
    }

    /// Self-duality: the cosine of the angle between the classifier and the class mean of class `k`, 1 if they are
    /// parallel. For balanced classes they always are.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
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
    /// [`Error::NoClassCounts`] if the targets have no groups: a matrix, or labels that are smoothed without a bias.
    pub fn geometry(&self) -> Result<Geometry, Error> {
        let spectrum = self.label_spectrum()?;
        let frame = Arc::new(Frame::new(spectrum, self.ufm().has_bias()));
        let open = Arc::new(Open::new(self.directions(), self.ties(), frame.counts.len()));
        let values = |of: &dyn Fn(&Direction, f64) -> f64| Values::new(self.directions(), &frame.classes, of);
        let shared = (&frame, &open);
        Ok(Geometry {
            classifiers: Gram::new(self, shared, Side::Left, |direction| direction.product, |_| 1.0),
            class_means: Gram::new(self, shared, Side::Right, |direction| direction.feature, |count| 1.0 / count),
            prediction: values(&|direction, count| direction.prediction / count.sqrt()),
            residual: values(&|direction, count| direction.target * direction.shrinkage / count.sqrt()),
            scale: 1.0 - self.ufm().targets().smoothing(),
            frame,
            open,
        })
    }
}
