//! Where a descent starts: random points of any number of samples, and points with noise.

use rand::{Rng, RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{ChiSquared, Distribution, StandardNormal};

use super::{Point, narrow::needs_all_samples, reduction::Reduction};
use crate::{
    error::{Error, check_positive},
    linalg::orthonormal::random_orthonormal,
    model::Ufm,
    parameters::{Parameters, fill, gaussian_deviations},
};

impl Point {
    /// A Gaussian start like [`Parameters::gaussian`], drawn in reduced form if the targets are labels, for any number
    /// of samples: H̄ D has entries of variance v², and T is d_1 × (N - K) of them or, if N - K > d_1, the triangular
    /// factor of a Wishart matrix of N - K degrees of freedom (Bartlett 1933).
    ///
    /// The distribution is that of [`Parameters::gaussian`], but the numbers for one seed differ.
    ///
    /// For cross-entropy, class weights or nonnegative features it is [`Parameters::gaussian`] itself, with the features
    /// of all samples, since their deviations cannot be reduced. [`Point::collapsed`] has K columns for any loss.
    ///
    /// # Errors
    ///
    /// As [`Parameters::gaussian`].
    pub fn gaussian(ufm: &Ufm, scale: f64, rng: &mut (impl Rng + ?Sized)) -> Result<Self, Error> {
        let classes = match ufm.class_counts() {
            Some(classes) if ufm.can_rotate_samples() => classes,
            Some(_) => return Parameters::gaussian(ufm, scale, rng).map(Self::from).map_err(needs_all_samples),
            None => return Parameters::gaussian(ufm, scale, rng).map(Self::from),
        };
        check_positive("scale", scale)?;
        let (width, k) = (ufm.feature_width(), classes.classes());
        let freedom = classes.samples() - k as u64;
        let deviations = usize::try_from(freedom).unwrap_or(usize::MAX).min(width);
        let deviation = gaussian_deviations(ufm, scale);
        let mut start = Parameters::with_columns(ufm, (k + deviations) as u64)?;
        for (weights, deviation) in start.weights.iter_mut().zip(&deviation.weights) {
            fill(weights.as_mut(), || deviation * normal(rng));
        }
        let triangular = freedom > width as u64;
        for (j, column) in start.features.col_iter_mut().enumerate() {
            for (i, entry) in column.iter_mut().enumerate() {
                // Of T, below and above the diagonal.
                let (above, diagonal) = if j < k { (false, false) } else { (i < j - k, i == j - k) };
                *entry = deviation.features
                    * if triangular && above {
                        0.0
                    } else if triangular && diagonal {
                        chi(freedom - i as u64, rng)
                    } else {
                        normal(rng)
                    };
            }
        }
        let reduction = Reduction::contrasts(classes);
        Ok(Self { parameters: start, reduction: Some(reduction), frames: None })
    }

    /// A collapsed Gaussian start: every feature is its class mean, and all blocks live in random subspaces of min(2 K,
    /// d_l) dimensions, in which a descent stays. Scales as in [`Parameters::gaussian`], for these dimensions in the
    /// place of the widths. If features may not be negative there are no subspaces: the blocks have their full widths.
    ///
    /// A descent from here works on K columns, exactly, for every loss.
    ///
    /// # Errors
    ///
    /// As [`Parameters::gaussian`]; [`Error::NoClassCounts`] where the targets are a matrix.
    pub fn collapsed(ufm: &Ufm, scale: f64, rng: &mut (impl Rng + ?Sized)) -> Result<Self, Error> {
        let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?;
        check_positive("scale", scale)?;
        let k = classes.classes();
        let is_narrow = !ufm.has_nonnegative_features();
        let narrow = ufm.with_widths(|width| if is_narrow { width.min(k.saturating_mul(2)) } else { width });
        let mut frames = Vec::with_capacity(ufm.depth());
        if is_narrow {
            for (layer, narrow) in ufm.layers().iter().zip(narrow.layers()) {
                frames.push(random_orthonormal(layer.width, narrow.width, rng)?);
            }
        }
        let deviation = gaussian_deviations(&narrow, scale);
        let mut start = Parameters::with_columns(&narrow, k as u64)?;
        for (weights, deviation) in start.weights.iter_mut().zip(&deviation.weights) {
            fill(weights.as_mut(), || deviation * normal(rng));
        }
        fill(start.features.as_mut(), || deviation.features * normal(rng));
        let reduction = Reduction::contrasts(classes);
        Ok(Self { parameters: start, reduction: Some(reduction), frames: is_narrow.then_some(frames) })
    }

    /// [`Point::gaussian`] from a seed alone, for callers with another version of rand, or none: the same seed is the same
    /// start in every release that does not say otherwise under "Value-breaking".
    ///
    /// # Errors
    ///
    /// As [`Point::gaussian`].
    pub fn gaussian_seeded(ufm: &Ufm, scale: f64, seed: u64) -> Result<Self, Error> {
        Self::gaussian(ufm, scale, &mut Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// The point with Gaussian noise on every entry of weights and features, of the deviations that
    /// [`Parameters::gaussian`] has at this scale: a warm start, and a test of whether a point is stable. A collapsed
    /// start stays collapsed.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless `scale` is positive and finite; as [`Ufm::objective`], where the point belongs to
    /// another model.
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Point, Ufm, descent::Descent};
    /// use neural_collapse::rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
    ///
    /// let ufm = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(32, 5e-3); 2], 1e-4)?;
    /// let minimizer = ufm.minimizer()?;
    /// let noise = &mut Xoshiro256PlusPlus::seed_from_u64(0);
    /// let start = Point::from(minimizer.parameters()?).perturbed(&ufm, 0.1, noise)?;
    /// let run = Descent::default().with_optimum(minimizer.objective()).minimize(&ufm, start)?;
    /// assert!(run.gap.unwrap() <= 1e-10);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn perturbed(mut self, ufm: &Ufm, scale: f64, rng: &mut (impl Rng + ?Sized)) -> Result<Self, Error> {
        self.check(ufm)?;
        check_positive("scale", scale)?;
        let deviation = gaussian_deviations(&self.model(ufm), scale);
        let Parameters { weights, features, .. } = &mut self.parameters;
        for (weights, deviation) in weights.iter_mut().zip(&deviation.weights) {
            add_noise(weights.as_mut(), *deviation, rng);
        }
        add_noise(features.as_mut(), deviation.features, rng);
        Ok(self)
    }
}

fn add_noise(matrix: faer::MatMut<'_, f64>, deviation: f64, rng: &mut (impl Rng + ?Sized)) {
    for column in matrix.col_iter_mut() {
        column.iter_mut().for_each(|value| *value += deviation * normal(rng));
    }
}

fn normal(rng: &mut (impl Rng + ?Sized)) -> f64 {
    StandardNormal.sample(rng)
}

/// √χ² with so many degrees of freedom, at least one.
fn chi(freedom: u64, rng: &mut (impl Rng + ?Sized)) -> f64 {
    match ChiSquared::new(freedom as f64) {
        Ok(distribution) => rng.sample::<f64, _>(distribution).sqrt(),
        // Not reached: the degrees of freedom are positive.
        Err(_) => normal(rng).abs(),
    }
}
