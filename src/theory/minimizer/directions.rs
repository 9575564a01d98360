//! The directions of a minimizer: one scalar problem for each singular value of the target, and the limit that the
//! widths set.

use std::fmt;

use qd::Quad;

use crate::{
    linalg::wide::{Wide, power_of_two},
    model::{Decays, Ufm},
    names::named,
    theory::{
        Level, Spectrum,
        scalar::{Shrinkage, critical_q, smaller_root},
    },
};

/// The fate of a direction (a singular value of the target) at the minimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Fate {
    /// Kept, shrunken by e < 1.
    Kept,
    /// Collapsed to zero: its q is beyond the threshold, or its target is zero.
    Collapsed,
    /// Cut off, because a layer is narrower than the number of directions worth keeping.
    Cut,
}

named!(Fate, "fate of a direction": Kept = "kept", Collapsed = "collapsed", Cut = "cut");

/// A distinct singular value of the target, and its shrunken counterparts at the minimizer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Direction {
    /// The number of equal directions that this entry stands for.
    pub multiplicity: usize,
    /// The group of classes of equal counts that these directions distinguish, from 0 by falling count; `None` for the
    /// directions between groups and for the zero of the centered label matrix.
    pub group: Option<usize>,
    /// The singular value σ of the target.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub target: f64,
    /// The relative shrinkage e: in [0, 1/L] if the direction is kept, 1 if it is not.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub shrinkage: f64,
    /// The singular value z = σ (1-e) of the prediction W_{L:1} H̄ D.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub prediction: f64,
    /// The singular value w of the product W_{L:1}.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub product: f64,
    /// The singular value h of H̄ D, the class means weighted by √n_k; those of H are the same.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub feature: f64,
    /// The singular values w_1 .. w_L of W_1 .. W_L.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub layers: Vec<f64>,
    /// Why e is what it is.
    pub fate: Fate,
    /// The factor on all L + 1 decays together at which this direction collapses, q_L/q: above 1 for a kept direction
    /// (its margin), below 1 for a collapsed one, and 0 for a zero target or a direction that a width cuts off at any
    /// decay.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub critical_scale: f64,
}

/// A reason why the minimizer is not unique up to the gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Tie {
    /// The direction at this index of [`directions`](super::Minimizer::directions) is at the threshold q = q_L (L ≥ 2):
    /// keeping it, as the numbers here do, costs the same as giving it up.
    Threshold {
        /// The index of the direction.
        direction: usize,
    },
    /// A width cuts through equal singular values: the direction at this index is kept and the next one, of the same
    /// target, is cut. Any other choice among them costs the same.
    Width {
        /// The index of the last direction kept.
        direction: usize,
    },
}

impl fmt::Display for Tie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threshold { direction } => write!(f, "direction {direction} is at its threshold"),
            Self::Width { direction } => write!(f, "a width cuts between direction {direction} and its equals"),
        }
    }
}

/// All directions of a model, by falling target, and what they add up to.
pub(super) struct Directions {
    pub(super) all: Vec<Direction>,
    /// For each direction, the index of its level in the spectrum.
    pub(super) levels: Vec<usize>,
    pub(super) ties: Vec<Tie>,
    pub(super) objective: f64,
    pub(super) rank: usize,
}

/// q is computed with at most this many epsilons of relative error (see [`Decays::q`]): a tie within them is a
/// tie.
const Q_ERROR: f64 = 8.0 * f64::EPSILON;

/// The scalar problems of a model, up to the singular value.
pub(super) struct ScalarProblem {
    decays: Decays,
    depth: usize,
    threshold: f64,
}

impl ScalarProblem {
    pub(super) fn new(ufm: &Ufm) -> Self {
        Self { decays: ufm.decays(), depth: ufm.depth(), threshold: critical_q(ufm.depth()) }
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

    /// q_L/q and the shrinkage of a level of the spectrum, whose square is given in units in which it is in range.
    fn level(&self, spectrum: &Spectrum, level: Level, square: f64) -> (f64, Shrinkage) {
        if level.value == 0.0 {
            return (0.0, Shrinkage::Complete);
        }
        let of =
            |value: f64| if value > 0.0 { self.decays.q(Wide::new(value).power(2)).to_f64() } else { f64::INFINITY };
        let q = match spectrum {
            Spectrum::Labels(_) => self.decays.q(Wide::new(square)).to_f64(),
            Spectrum::Dense(_) => of(level.value),
        };
        let error = spectrum.rounding();
        let bounds = if error > 0.0 { (of(level.value + error), of(level.value - error)) } else { (q, q) };
        (self.threshold / q, self.shrinkage(q, bounds))
    }

    /// A direction that is kept.
    fn kept(&self, ufm: &Ufm, level: Level, prediction: f64, e: f64, critical_scale: f64) -> Direction {
        let Level { value: target, multiplicity, group } = level;
        let root = self.decays.level_root(Wide::new(prediction).power(2));
        // √τ over √λ: roots before the quotient, whose square could leave the range of f64.
        let over_root = |decay: f64| root.over(Wide::new(decay.sqrt())).to_f64();
        let feature = over_root(ufm.feature_decay());
        Direction {
            multiplicity,
            group,
            target,
            shrinkage: e,
            prediction,
            product: Wide::new(prediction).times(Wide::new(ufm.feature_decay().sqrt())).over(root).to_f64(),
            feature,
            layers: ufm.layers().iter().map(|layer| over_root(layer.decay)).collect(),
            fate: Fate::Kept,
            critical_scale,
        }
    }

    /// The value of a single decay for which q = q_L.
    pub(super) fn critical_decay(&self, target: f64, decay: f64) -> f64 {
        self.decays.decay_for(self.threshold, target, decay)
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

impl Directions {
    pub(super) fn new(ufm: &Ufm, spectrum: &Spectrum) -> Self {
        let problem = ScalarProblem::new(ufm);
        let levels = spectrum.levels();
        // In units of a power of two near the largest target no square leaves the range of f64; those of labels do not.
        let unit = match spectrum {
            Spectrum::Labels(_) => 1.0,
            Spectrum::Dense(_) => levels.first().map_or(1.0, |level| power_of_two(level.value)),
        };
        let mut directions = Self {
            all: Vec::with_capacity(levels.len() + 1),
            levels: Vec::new(),
            ties: Vec::new(),
            objective: 0.0,
            rank: 0,
        };
        let (squares, mut room) = (spectrum.squares(unit), ufm.rank_bound());
        // Σ σ² e ((L+1) - L e), to twice the precision: there can be many directions.
        let mut cost = Quad::ZERO;
        for (index, (level, square)) in levels.into_iter().zip(squares).enumerate() {
            let (critical_scale, shrinkage) = problem.level(spectrum, level, square);
            let share = |multiplicity| Level { multiplicity, ..level };
            let weighted = |multiplicity: usize, by: f64| Quad::from(square) * Quad::from(multiplicity as f64 * by);
            let kept = level.multiplicity.min(room);
            let cut = level.multiplicity - kept;
            room -= kept;
            let (Shrinkage::Partial(e) | Shrinkage::Both(e)) = shrinkage else {
                // If there is no room, smaller decays bring back the directions before this one, but not this one.
                let scale = if kept > 0 { critical_scale } else { 0.0 };
                directions.push(index, Direction::lost(ufm, level, Fate::Collapsed, scale));
                cost += weighted(level.multiplicity, 1.0);
                continue;
            };
            if kept > 0 {
                if matches!(shrinkage, Shrinkage::Both(_)) {
                    directions.ties.push(Tie::Threshold { direction: directions.all.len() });
                }
                let prediction = unit * prediction(ufm, level.value / unit, square, e);
                directions.push(index, problem.kept(ufm, share(kept), prediction, e, critical_scale));
                directions.rank += kept;
                let depth = ufm.depth() as f64;
                cost += weighted(kept, e * ((depth + 1.0) - depth * e));
            }
            if cut > 0 {
                // The width cuts between equal targets: of one level, or, decomposed densely, of two that rounding
                // tells apart. Levels of labels are distinct, even if their values round to one number.
                let equal =
                    |last: &Direction| last.fate == Fate::Kept && last.target - level.value <= spectrum.rounding();
                let is_dense = matches!(spectrum, Spectrum::Dense(_));
                if kept > 0 || (is_dense && directions.all.last().is_some_and(equal)) {
                    directions.ties.push(Tie::Width { direction: directions.all.len() - 1 });
                }
                directions.push(index, Direction::lost(ufm, share(cut), Fate::Cut, 0.0));
                cost += weighted(cut, 1.0);
            }
        }
        directions.objective = (cost / Quad::from(2.0 * ufm.samples() as f64)).0 * unit * unit;
        directions
    }

    fn push(&mut self, level: usize, direction: Direction) {
        self.all.push(direction);
        self.levels.push(level);
    }
}

impl Direction {
    /// A direction that has vanished.
    fn lost(ufm: &Ufm, level: Level, fate: Fate, critical_scale: f64) -> Self {
        Self {
            multiplicity: level.multiplicity,
            group: level.group,
            target: level.value,
            shrinkage: 1.0,
            prediction: 0.0,
            product: 0.0,
            feature: 0.0,
            layers: vec![0.0; ufm.depth()],
            fate,
            critical_scale,
        }
    }
}
