//! The global minimizers of the model (Liu 2024, Theorems 4.1 to 4.3; Dang et al. 2023 without bias and L > 1).
//!
//! ```text
//! T = U diag(σ_1 ≥ ... ≥ σ_K) Vᵀ                     the target, see `spectrum`
//! q = N (λ_H λ_1 ··· λ_L)^(1/(L+1)) σ^(-2L/(L+1))     one scalar problem a direction, see `shrinkage`
//! z = σ (1-e)                                        prediction W_{L:1} H̄ D
//! τ = λ_l w_l² = λ_H h² = (z² λ_H λ_1 ··· λ_L)^(1/(L+1))   the balanced level: w_l of W_l, h of H̄ D
//! w = w_1 ··· w_L = z/h                              product W_{L:1}
//! f* = Σ σ²/(2N) e ((L+1) - L e)
//! ```

use faer::{Col, ColRef, Mat, MatRef, Scale};
use qd::Quad;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{
    label_spectrum::LabelSpectrum,
    shrinkage::{Shrinkage, critical_q, smaller_root},
    spectrum::{Level, Spectrum},
};
use crate::{
    classes::Group,
    error::Error,
    matrices::{orthonormal, try_zeros},
    model::Ufm,
    parameters::Parameters,
    wide::{Wide, power_of_two},
};

/// What becomes of a direction, a singular value of the target, at the minimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// Kept, shrunken by e < 1.
    Kept,
    /// Collapsed to zero: its q is beyond the threshold, or its target is zero.
    Collapsed,
    /// Cut off by a layer narrower than the number of directions worth keeping.
    Cut,
}

/// A singular value of the target, as often as it occurs, and what the minimizer makes of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Direction {
    /// How many equal directions this entry stands for.
    pub multiplicity: usize,
    /// The group of classes of equal counts that these directions tell apart, from 0 by falling count; none for the
    /// directions between groups and for the zero of the centered label matrix.
    pub group: Option<usize>,
    /// The singular value σ of the target.
    pub target: f64,
    /// The relative shrinkage e: in [0, 1/L] where the direction is kept, 1 where it is not.
    pub shrinkage: f64,
    /// The singular value z = σ (1-e) of the prediction W_{L:1} H̄ D.
    pub prediction: f64,
    /// The singular value w of the product W_{L:1}.
    pub product: f64,
    /// The singular value h of H̄ D, the class means weighted by √n_k; those of H are the same.
    pub feature: f64,
    /// The singular values w_1 .. w_L of W_1 .. W_L.
    pub layers: Vec<f64>,
    /// Why e is what it is.
    pub fate: Fate,
    /// The factor by which all L + 1 decays together would have to grow to reach the threshold where this direction
    /// collapses, q_L/q: above 1 for a kept direction (the margin that is left), below 1 for a collapsed one, 0 for a
    /// zero target and for one that a width cuts off, which is gone at any decay.
    pub critical_scale: f64,
}

/// A reason why the minimizer is not unique up to the gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tie {
    /// The direction at this index of [`Minimizer::directions`] is at the threshold q = q_L (L ≥ 2): keeping it, as the
    /// numbers here do, and giving it up cost the same.
    Threshold {
        /// The index of the direction.
        direction: usize,
    },
    /// A width cuts through equal singular values: the direction at this index is kept and the next one, of the same
    /// target, is cut, but any choice among them costs the same.
    Width {
        /// The index of the last direction kept.
        direction: usize,
    },
}

/// What becomes of the classifiers of a group of classes of equal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupFate {
    /// Every class has a classifier and a class mean of its own, told apart by the directions of the group.
    Distinct,
    /// With a bias, a class that is the only one of its count: its classifier is not zero, but only directions between
    /// groups reach it, and it can come as close as they leave it to those of other counts. [`Minimizer::geometry`] has
    /// the angles.
    Single,
    /// All classes of the group share one classifier row and one class mean, which are not zero: minority collapse.
    Coincident,
    /// The classifier rows of W_{L:1} and the class means are zero.
    Vanished,
    /// Not the same for all minimizers: a direction of the group is at its threshold, or a width cuts through its
    /// directions.
    Ambiguous,
}

/// The global minimizers of a [`Ufm`]: what all of them share, and any of them on demand.
///
/// The minimizer is unique up to the gauge (orthonormal Q_l with W_l → Q_{l+1} W_l Q_lᵀ, H → Q_1 H) unless
/// [`Minimizer::ties`] says otherwise. Cost: O(R²) operations for R distinct class counts, and O(R L) numbers; nothing
/// of size K × K is formed unless [`Minimizer::parameters`] are asked for.
///
/// # Example
///
/// Which minority classes collapse, and how far are the others from it?
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm, theory::minimizer::Fate};
///
/// // Bias-free and L = 1: a class collapses from n_k <= N² λ_1 λ_H on, here from 45 samples on.
/// let ufm = Ufm::bias_free("1000x2,45,10".parse::<ClassCounts>()?, [Layer::new(64, 1e-3)], 0.012)?;
/// let minimizer = ufm.minimizer()?;
/// let fates: Vec<_> = minimizer.directions().iter().map(|direction| direction.fate).collect();
/// assert_eq!(fates, [Fate::Kept, Fate::Collapsed, Fate::Collapsed]);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Minimizer {
    ufm: Ufm,
    spectrum: Spectrum,
    directions: Vec<Direction>,
    /// For each direction, the index of its level in the spectrum.
    levels: Vec<usize>,
    ties: Vec<Tie>,
    objective: f64,
    rank: usize,
}

/// q is computed with at most this many epsilons of relative error (see [`ScalarProblem::q`]): a tie within them is a
/// tie.
const Q_ERROR: f64 = 8.0 * f64::EPSILON;

/// The scalar problems of a model, up to the singular value.
struct ScalarProblem {
    /// N^(L+1) λ_H λ_1 ··· λ_L.
    scaled_decays: Wide,
    /// λ_H λ_1 ··· λ_L.
    decays: Wide,
    depth: usize,
    threshold: f64,
}

impl ScalarProblem {
    fn new(ufm: &Ufm) -> Self {
        let (decays, depth) = (ufm.decay_product(), ufm.depth());
        let samples = Wide::new(ufm.samples() as f64).power(depth + 1);
        Self { scaled_decays: samples.times(decays), decays, depth, threshold: critical_q(depth) }
    }

    /// q = (N^(L+1) λ_H λ_1 ··· λ_L / σ^(2L))^(1/(L+1)).
    ///
    /// At most 3 (L+1) rounding errors (half an epsilon each) under the root, which divides them by L+1, and 4 in it;
    /// an error of σ² of one epsilon counts less than twice.
    fn q(&self, square: Wide) -> f64 {
        self.scaled_decays.over(square.power(self.depth)).root(self.depth + 1).to_f64()
    }

    /// q is known to lie between `least` and `most`, up to its own rounding.
    fn shrinkage(&self, q: f64, (least, most): (f64, f64)) -> Shrinkage {
        let threshold = self.threshold;
        if self.depth > 1 && least <= threshold * (1.0 + Q_ERROR) && most >= threshold * (1.0 - Q_ERROR) {
            let is_below = q < threshold * (1.0 - Q_ERROR);
            Shrinkage::Both(if is_below { smaller_root(q, self.depth) } else { 1.0 / self.depth as f64 })
        } else if q < threshold {
            Shrinkage::Partial(smaller_root(q, self.depth))
        } else {
            Shrinkage::Complete
        }
    }

    /// √τ = (z² λ_H λ_1 ··· λ_L)^(1/(2(L+1))).
    fn root_of_level(&self, prediction: f64) -> Wide {
        let z = Wide::new(prediction);
        z.times(z).times(self.decays).root(2 * (self.depth + 1))
    }
}

/// z = σ (1-e). For L = 1 and close to the threshold 1-e loses what e has rounded away: there σ - N √(λ_1 λ_H) from the
/// difference of squares, to twice the precision, as accurate as `square`, which is exact for the targets of a group.
fn prediction(ufm: &Ufm, target: f64, square: f64, e: f64) -> f64 {
    let samples = Quad::from(ufm.samples() as f64);
    let taken = samples * Quad::from(ufm.layers()[0].decay) * (samples * Quad::from(ufm.feature_decay()));
    let is_near = ufm.depth() == 1 && e > 0.5 && ufm.class_counts().is_some() && taken.0.is_normal();
    let left = (Quad::from(square) - taken).0;
    if is_near && left > 0.0 { left / (target + taken.0.sqrt()) } else { target * (1.0 - e) }
}

impl Ufm {
    /// The global minimizers, in closed form. Cost: for class labels, that of the structured spectrum, O(R²); for other
    /// targets, of a dense decomposition.
    ///
    /// # Errors
    ///
    /// None for one-hot labels, or labels that are smoothed where there is a bias; for other targets as
    /// [`Spectrum::new`].
    pub fn minimizer(&self) -> Result<Minimizer, Error> {
        Ok(Minimizer::new(self.clone(), Spectrum::new(self)?))
    }
}

impl Minimizer {
    /// Of a model and the spectrum of its target.
    pub(super) fn new(ufm: Ufm, spectrum: Spectrum) -> Self {
        let problem = ScalarProblem::new(&ufm);
        let all_levels = spectrum.levels();
        let mut directions: Vec<Direction> = Vec::with_capacity(all_levels.len() + 1);
        let mut levels = Vec::with_capacity(all_levels.len() + 1);
        let mut ties = Vec::new();
        // Σ σ² e ((L+1) - L e), to twice the precision: there can be many directions.
        let mut cost = Quad::ZERO;
        let mut room = ufm.rank_bound();
        let mut rank = 0;
        // In units of a power of two near the largest target no square leaves the range of f64; those of labels do not.
        let unit = match &spectrum {
            Spectrum::Labels(_) => 1.0,
            Spectrum::Dense(_) => all_levels.first().map_or(1.0, |level| power_of_two(level.value)),
        };
        let error = spectrum.rounding();
        for (index, (level, square)) in all_levels.into_iter().zip(spectrum.squares(unit)).enumerate() {
            let q_of = |value: f64| {
                if value > 0.0 { problem.q(Wide::new(value).power(2)) } else { f64::INFINITY }
            };
            let is_zero = level.value == 0.0;
            let q = match &spectrum {
                _ if is_zero => f64::INFINITY,
                Spectrum::Labels(_) => problem.q(Wide::new(square)),
                Spectrum::Dense(_) => q_of(level.value),
            };
            let bounds = if error > 0.0 { (q_of(level.value + error), q_of(level.value - error)) } else { (q, q) };
            let critical_scale = problem.threshold / q;
            let shrinkage = if is_zero { Shrinkage::Complete } else { problem.shrinkage(q, bounds) };
            let lost = |multiplicity, fate, critical_scale| Direction {
                multiplicity,
                group: level.group,
                target: level.value,
                shrinkage: 1.0,
                prediction: 0.0,
                product: 0.0,
                feature: 0.0,
                layers: vec![0.0; ufm.depth()],
                fate,
                critical_scale,
            };
            let (Shrinkage::Partial(e) | Shrinkage::Both(e)) = shrinkage else {
                // Smaller decays would bring back the directions before it first, and those need their room.
                let scale = if room > 0 { critical_scale } else { 0.0 };
                room = room.saturating_sub(level.multiplicity);
                directions.push(lost(level.multiplicity, Fate::Collapsed, scale));
                levels.push(index);
                cost += Quad::from(square) * Quad::from(level.multiplicity as f64);
                continue;
            };
            let kept = level.multiplicity.min(room);
            let cut = level.multiplicity - kept;
            room -= kept;
            rank += kept;
            if kept > 0 {
                if matches!(shrinkage, Shrinkage::Both(_)) {
                    ties.push(Tie::Threshold { direction: directions.len() });
                }
                let prediction = unit * prediction(&ufm, level.value / unit, square, e);
                let share = Level { multiplicity: kept, ..level };
                directions.push(Self::direction(&ufm, &problem, share, prediction, e, critical_scale));
                levels.push(index);
                let depth = ufm.depth() as f64;
                cost += Quad::from(square) * Quad::from(kept as f64 * e * ((depth + 1.0) - depth * e));
            }
            if cut > 0 {
                // The width cuts between equal targets: of one level, or, decomposed densely, of two that rounding
                // tells apart. Levels of labels are distinct, even where their values round to one number.
                let equal = |last: &Direction| last.fate == Fate::Kept && last.target - level.value <= error;
                let is_dense = matches!(spectrum, Spectrum::Dense(_));
                if kept > 0 || (is_dense && directions.last().is_some_and(equal)) {
                    ties.push(Tie::Width { direction: directions.len() - 1 });
                }
                directions.push(lost(cut, Fate::Cut, 0.0));
                levels.push(index);
                cost += Quad::from(square) * Quad::from(cut as f64);
            }
        }
        let objective = (cost / Quad::from(2.0 * ufm.samples() as f64)).0 * unit * unit;
        Self { ufm, spectrum, directions, levels, ties, objective, rank }
    }

    fn direction(
        ufm: &Ufm,
        problem: &ScalarProblem,
        level: Level,
        prediction: f64,
        e: f64,
        critical_scale: f64,
    ) -> Direction {
        let Level { value: target, multiplicity, group } = level;
        let level = problem.root_of_level(prediction);
        // √τ over √λ: roots before the quotient, whose square could leave the range of f64.
        let over_root = |decay: f64| level.over(Wide::new(decay.sqrt())).to_f64();
        let feature = over_root(ufm.feature_decay());
        Direction {
            multiplicity,
            group,
            target,
            shrinkage: e,
            prediction,
            product: Wide::new(prediction).times(Wide::new(ufm.feature_decay().sqrt())).over(level).to_f64(),
            feature,
            layers: ufm.layers().iter().map(|layer| over_root(layer.decay)).collect(),
            fate: Fate::Kept,
            critical_scale,
        }
    }

    /// The model.
    #[must_use]
    pub fn ufm(&self) -> &Ufm {
        &self.ufm
    }

    /// The spectrum of the target.
    #[must_use]
    pub fn spectrum(&self) -> &Spectrum {
        &self.spectrum
    }

    /// The spectrum where it has the structure of class counts.
    pub(crate) fn label_spectrum(&self) -> Result<&LabelSpectrum, Error> {
        match &self.spectrum {
            Spectrum::Labels(spectrum) => Ok(spectrum),
            Spectrum::Dense(_) => Err(Error::NoClassCounts),
        }
    }

    /// The global minimum f*.
    #[must_use]
    pub fn objective(&self) -> f64 {
        self.objective
    }

    /// The number of directions kept: the rank of the prediction, of every layer and of the class means.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// What becomes of the singular values of the target, by falling target; multiplicities add up to K, or to N where
    /// that is smaller.
    #[must_use]
    pub fn directions(&self) -> &[Direction] {
        &self.directions
    }

    /// One number for every singular value of the target, by falling target, each direction as often as its
    /// multiplicity says: the first [`Minimizer::rank`] are those of the directions kept, beside the first singular
    /// vectors.
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Ufm};
    ///
    /// let ufm = Ufm::biased(ClassCounts::balanced(4, 25)?, [Layer::new(64, 5e-3)], 1e-4)?;
    /// let features = ufm.minimizer()?.singular_values(|direction| direction.feature);
    /// assert_eq!(features.len(), 4);
    /// assert!(features[0] == features[2] && features[3] == 0.0);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    #[must_use]
    pub fn singular_values(&self, value: impl Fn(&Direction) -> f64) -> Vec<f64> {
        let directions = self.directions.iter();
        directions.flat_map(|direction| std::iter::repeat_n(value(direction), direction.multiplicity)).collect()
    }

    /// For every direction, the index of its level in the spectrum: a level that a width cuts has two directions.
    pub(crate) fn levels(&self) -> &[usize] {
        &self.levels
    }

    /// The optimal bias, where the model has one: the mean of the targets, class frequencies n/N for one-hot labels.
    #[must_use]
    pub fn bias(&self) -> Option<Col<f64>> {
        self.ufm.has_bias().then(|| self.ufm.targets().mean())
    }

    /// Whether the minimizer is unique up to the gauge.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.ties.is_empty()
    }

    /// Why the minimizer is not unique up to the gauge; empty where it is. Thresholds are compared to within the
    /// rounding of q, 8 epsilons.
    #[must_use]
    pub fn ties(&self) -> &[Tie] {
        &self.ties
    }

    /// The feature decay from which on the direction at this index collapses, the decays of the layers being as they
    /// are:
    ///
    /// ```text
    /// λ_H = (q_L/N)^(L+1) σ^(2L) / (λ_1 ··· λ_L)
    /// ```
    ///
    /// Zero for a target that is zero or cut off by a width, and where it is below the range of `f64`.
    ///
    /// # Panics
    ///
    /// Where there is no such direction.
    #[must_use]
    pub fn critical_feature_decay(&self, direction: usize) -> f64 {
        self.critical_decay(direction, self.ufm.feature_decay())
    }

    /// The decay of layer `layer` (from 0) from which on the direction at this index collapses, all other decays being
    /// as they are. Zero for a target that is zero or cut off by a width.
    ///
    /// # Panics
    ///
    /// Where there is no such direction or layer.
    #[must_use]
    pub fn critical_layer_decay(&self, direction: usize, layer: usize) -> f64 {
        self.critical_decay(direction, self.ufm.layers()[layer].decay)
    }

    fn critical_decay(&self, direction: usize, decay: f64) -> f64 {
        let count = self.directions.len();
        assert!(direction < count, "there is no direction {direction}: there are {count}, counted from 0");
        let Direction { critical_scale, target, .. } = self.directions[direction];
        if critical_scale == 0.0 {
            return 0.0;
        }
        // By its definition, since the scale can be beyond the range of f64 where the decay is not.
        let problem = ScalarProblem::new(&self.ufm);
        let threshold = Wide::new(problem.threshold).power(problem.depth + 1);
        let over = Wide::new(target).power(2 * problem.depth).over(problem.scaled_decays);
        threshold.times(over).times(Wide::new(decay)).to_f64()
    }

    /// λ s^(L+1), which does to q what a factor s on all decays does: q^(L+1) is proportional to every single decay.
    pub(super) fn single_decay(&self, scale: f64, decay: f64) -> f64 {
        Wide::new(scale).power(self.ufm.depth() + 1).times(Wide::new(decay)).to_f64()
    }

    /// What becomes of the classes of every group of [`ClassCounts::groups`](crate::ClassCounts::groups), in that
    /// order: by falling count.
    ///
    /// Bias-free, a class lives or dies with its own direction. With a bias, the √c_r directions tell the classes of a
    /// group apart, and every one of the directions between the groups reaches all classes.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] where the targets have no groups: a matrix, or labels that are smoothed without a bias.
    pub fn group_fates(&self) -> Result<Vec<GroupFate>, Error> {
        let classes = self.label_spectrum()?.class_counts();
        let mut open = vec![false; self.directions.len()];
        for &(Tie::Threshold { direction } | Tie::Width { direction }) in &self.ties {
            open[direction] = true;
        }
        // Of the directions kept, those between groups reach every class; one at its threshold may or may not be there.
        let (mut reaches_all, mut maybe_reaches_all) = (false, false);
        let mut own = vec![(0, false); classes.groups().len()];
        for (direction, &open) in
            self.directions.iter().zip(&open).filter(|(direction, _)| direction.fate == Fate::Kept)
        {
            if let Some(r) = direction.group {
                own[r] = (direction.multiplicity, open);
            } else {
                reaches_all |= !open;
                maybe_reaches_all = true;
            }
        }
        let fate = |(group, &(kept, tied)): (Group<'_>, &(usize, bool))| {
            let contrasts = group.multiplicity() - usize::from(self.ufm.has_bias());
            if tied {
                GroupFate::Ambiguous
            } else if contrasts > 0 && kept == contrasts {
                GroupFate::Distinct
            } else if reaches_all {
                if contrasts == 0 { GroupFate::Single } else { GroupFate::Coincident }
            } else if maybe_reaches_all {
                GroupFate::Ambiguous
            } else {
                GroupFate::Vanished
            }
        };
        Ok(classes.groups().zip(&own).map(fate).collect())
    }

    /// The classifiers in the space of rank dimensions that they share with the class means, W_{L:1} = A Q_1ᵀ with A =
    /// U diag(w), K × rank: Gram matrices, norms and angles are those of any minimizer.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where the matrix does not fit in memory.
    pub fn classifiers(&self) -> Result<Mat<f64>, Error> {
        let values = self.kept(|direction| direction.product);
        Ok(self.spectrum.left_vectors(self.rank)? * values.as_diagonal())
    }

    /// The class means in the same space, H̄ = Q_1 M with M = diag(h) Vᵀ D⁻¹, rank × K.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] where the targets are no labels; [`Error::TooLarge`] where the matrix does not fit in
    /// memory.
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Ufm};
    ///
    /// let ufm = Ufm::biased(ClassCounts::paper_cifar10(), [Layer::new(64, 5e-3)], 1e-4)?;
    /// let minimizer = ufm.minimizer()?;
    /// let logits = minimizer.classifiers()? * minimizer.class_means()?;
    /// let logit = minimizer.geometry()?.logit(0, 9).unwrap();
    /// assert!((logits[(0, 9)] - logit).abs() < 1e-15);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn class_means(&self) -> Result<Mat<f64>, Error> {
        let classes = self.ufm.class_counts().ok_or(Error::NoClassCounts)?;
        let values = self.kept(|direction| direction.feature);
        let mut means = values.as_diagonal() * self.spectrum.right_vectors(self.rank)?.transpose();
        for (mut mean, &count) in means.col_iter_mut().zip(classes.counts()) {
            mean /= Scale((count as f64).sqrt());
        }
        Ok(means)
    }

    /// One number for every direction kept.
    pub(crate) fn kept(&self, value: impl Fn(&Direction) -> f64) -> Col<f64> {
        self.singular_values(value).into_iter().take(self.rank).collect()
    }

    /// A minimizer in the canonical gauge, every Q_l the first columns of the identity:
    ///
    /// ```text
    /// W_L = U diag(w_L) Q_Lᵀ,   W_l = Q_{l+1} diag(w_l) Q_lᵀ,   H̄ = Q_1 diag(h) Vᵀ D⁻¹,   b = mean of the targets, n/N for one-hot labels
    /// ```
    ///
    /// Cost: O(K rank + d_1 N) numbers.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where the matrices do not fit in memory.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        self.assemble(|width, rank| {
            let mut frame = try_zeros("gauge", width, rank as u64)?;
            frame.diagonal_mut().column_vector_mut().fill(1.0);
            Ok(frame)
        })
    }

    /// A minimizer in a random gauge: every Q_l uniform (Haar) among the matrices of orthonormal columns.
    ///
    /// # Errors
    ///
    /// As [`Minimizer::parameters`].
    pub fn random_parameters(&self, rng: &mut (impl Rng + ?Sized)) -> Result<Parameters, Error> {
        self.assemble(|width, rank| {
            let mut gaussian = try_zeros("gauge", width, rank as u64)?;
            for column in gaussian.col_iter_mut() {
                column.iter_mut().for_each(|entry| *entry = StandardNormal.sample(rng));
            }
            // Uniform because the diagonal of R is positive (Mezzadri 2007).
            orthonormal(gaussian)
        })
    }

    fn assemble(&self, mut gauge: impl FnMut(usize, usize) -> Result<Mat<f64>, Error>) -> Result<Parameters, Error> {
        let layers = self.ufm.layers();
        // U first, then Q_L .. Q_1: each layer needs the two frames at its sides.
        let mut above = self.spectrum.left_vectors(self.rank)?;
        let mut weights = Vec::with_capacity(layers.len());
        for (l, layer) in layers.iter().enumerate().rev() {
            let below = gauge(layer.width, self.rank)?;
            weights.push(scaled_product(
                above.as_ref(),
                self.kept(|direction| direction.layers[l]).as_ref(),
                below.transpose(),
            ));
            above = below;
        }
        weights.reverse();
        let right = self.spectrum.right_vectors(self.rank)?;
        let weighted_means =
            scaled_product(above.as_ref(), self.kept(|direction| direction.feature).as_ref(), right.transpose());
        let features = match self.ufm.class_counts() {
            None => weighted_means,
            Some(classes) => {
                let mut features = try_zeros("features H", self.ufm.feature_width(), classes.samples())?;
                for (class, samples) in classes.ranges().enumerate() {
                    let mean = weighted_means.col(class) / (samples.len() as f64).sqrt();
                    for sample in samples {
                        features.col_mut(sample).copy_from(&mean);
                    }
                }
                features
            }
        };
        Parameters::new(&self.ufm, weights, features, self.bias())
    }
}

/// A diag(values) B.
fn scaled_product(left: MatRef<'_, f64>, values: ColRef<'_, f64>, right: MatRef<'_, f64>) -> Mat<f64> {
    left * values.as_diagonal() * right
}
