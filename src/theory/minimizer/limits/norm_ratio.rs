//! The scale of all decays at which the smallest norm of a classifier has fallen to a given share of the largest.
//!
//! The ratio of norms falls as decays grow. It is smooth between the thresholds of two directions, where it can have a
//! kink (L = 1) or jump (L ≥ 2): the thresholds that the limit is between are found first, by bisection of their list,
//! and then the limit.

use super::limit::Limit;
use crate::{
    error::Error,
    linalg::wide::power_of_two,
    model::{Layer, Ufm},
    theory::{
        minimizer::{
            Minimizer,
            directions::{Directions, Tie},
            geometry::{Frame, Open, Values},
        },
        spectrum::Side,
    },
};

/// Relative distance at which a threshold has certainly been passed: within 8 epsilons of it there may be a tie.
const PASSED: f64 = 64.0 * f64::EPSILON;

/// Factor on the first threshold at which everything is certainly zero.
const BEYOND: f64 = 1.0 + 1e-9;

/// Norms that are equal may differ by their last digits.
const EQUAL: f64 = 1.0 - 8.0 * f64::EPSILON;

/// A sample of the excess: the squared ratio of norms minus that of the goal, at a scale of all decays.
#[derive(Clone, Copy)]
struct Sample {
    scale: f64,
    excess: f64,
}

struct Search<'a> {
    minimizer: &'a Minimizer,
    frame: Frame,
    square: f64,
}

/// The largest scale of all decays at which the ratio of norms is reached.
pub(super) fn largest_scale(minimizer: &Minimizer, ratio: f64) -> Result<Limit, Error> {
    // The scales at which directions collapse, rising.
    let scales = minimizer.directions().iter().rev().map(|direction| direction.critical_scale);
    let thresholds: Vec<f64> = scales.filter(|scale| *scale > 0.0).collect();
    let (Some(&smallest), Some(&largest)) = (thresholds.first(), thresholds.last()) else { return Ok(Limit::Never) };
    let frame = Frame::new(minimizer.label_spectrum()?, minimizer.ufm().has_bias());
    let search = Search { minimizer, frame, square: (ratio * EQUAL).powi(2) };
    let Some(mut low) = search.reached(smallest)? else { return Ok(Limit::Never) };
    let mut high = Sample { scale: largest * BEYOND, excess: -1.0 };
    let sides = thresholds.iter().flat_map(|threshold| [threshold * (1.0 - PASSED), threshold * (1.0 + PASSED)]);
    let mut sides: Vec<f64> = sides.filter(|side| (low.scale..high.scale).contains(side)).collect();
    // Thresholds that are closer than that have their sides in each other's order.
    sides.sort_by(f64::total_cmp);
    let (mut begin, mut end) = (0, sides.len());
    while begin < end {
        let middle = begin.midpoint(end);
        let sample = search.sample(sides[middle])?;
        if sample.excess >= 0.0 {
            (low, begin) = (sample, middle + 1);
        } else {
            (high, end) = (sample, middle);
        }
    }
    search.limit(low, high).map(Limit::Below)
}

impl Search<'_> {
    /// A small scale at which the ratio is reached, given the smallest of the thresholds: far below it all shrinkages
    /// are below an epsilon.
    fn reached(&self, smallest: f64) -> Result<Option<Sample>, Error> {
        let ufm = self.minimizer.ufm();
        let decays = ufm.layers().iter().map(|layer| layer.decay).chain([ufm.feature_decay()]);
        let least = decays.fold(f64::INFINITY, f64::min);
        for factor in [0.5, 1e-4, 1e-8, 1e-12, 1e-16] {
            let scale = smallest * factor;
            // A decay below the range of `f64` is not positive.
            if scale * least == 0.0 {
                break;
            }
            let sample = self.sample(scale)?;
            if sample.excess >= 0.0 {
                return Ok(Some(sample));
            }
            if let Some(threshold) = self.open_up_to(scale)? {
                let sample = self.sample(threshold * BEYOND)?;
                return Ok((sample.excess >= 0.0).then_some(sample));
            }
        }
        Ok(None)
    }

    /// The scale at which the group collapses that a width cuts through, which leaves norms open below it.
    fn open_up_to(&self, scale: f64) -> Result<Option<f64>, Error> {
        let directions = self.directions(scale)?;
        let cut = directions.ties.iter().find_map(|tie| match tie {
            Tie::Width { direction } => Some(directions.all[*direction].critical_scale),
            Tie::Threshold { .. } => None,
        });
        Ok(cut.map(|critical| critical * scale))
    }

    fn sample(&self, scale: f64) -> Result<Sample, Error> {
        let directions = self.directions(scale)?;
        let groups = self.frame.classes().groups().len();
        if directions.rank == 0 || Open::new(&directions.all, &directions.ties, groups).any() {
            return Ok(Sample { scale, excess: -1.0 });
        }
        // Squares are taken in units in which they do not leave the range of `f64`.
        let unit = power_of_two(directions.all.iter().map(|direction| direction.product).fold(0.0, f64::max));
        let values =
            Values::new(&directions.all, self.frame.classes(), |direction, _| (direction.product / unit).powi(2));
        let squares = self.frame.squared_norms(Side::Left, &values);
        let (least, largest) =
            squares.iter().fold((f64::INFINITY, 0.0), |(least, largest), &x| (x.min(least), x.max(largest)));
        Ok(Sample { scale, excess: if largest > 0.0 { least / largest - self.square } else { -1.0 } })
    }

    /// The directions of all decays times a factor.
    fn directions(&self, scale: f64) -> Result<Directions, Error> {
        let ufm = self.minimizer.ufm();
        let layers = ufm.layers().iter().map(|layer| Layer { decay: layer.decay * scale, ..*layer });
        let layers: Vec<Layer> = layers.collect();
        let scaled = Ufm::new(ufm.targets().clone(), layers, ufm.feature_decay() * scale)?.with_bias(ufm.has_bias());
        Ok(Directions::new(&scaled, self.minimizer.spectrum()))
    }

    /// The limit between a scale at which the ratio is reached and one at which it is not, to two epsilons: by inverse
    /// quadratic interpolation if it is reliable, otherwise by bisection (Chandrupatla 1997).
    fn limit(&self, low: Sample, high: Sample) -> Result<f64, Error> {
        // The sample just made, and the last one on the other side.
        let (mut near, mut far) = (low, high);
        let mut share = 0.5;
        loop {
            let scale = near.scale + share * (far.scale - near.scale);
            let sample = self.sample(scale)?;
            // The sample that is no longer one of the two.
            let before =
                if (sample.excess >= 0.0) == (near.excess >= 0.0) { near } else { std::mem::replace(&mut far, near) };
            near = sample;
            // Never less than a step of the last digit: the other side is to follow.
            let least = f64::EPSILON * near.scale / (far.scale - near.scale).abs();
            if least >= 0.5 {
                return Ok(if near.excess >= 0.0 { near.scale } else { far.scale });
            }
            share = share_of_interval(near, far, before).clamp(least, 1.0 - least);
        }
    }
}

/// Where between `near` (0) and `far` (1) the excess is zero.
fn share_of_interval(near: Sample, far: Sample, before: Sample) -> f64 {
    let xi = (near.scale - far.scale) / (before.scale - far.scale);
    let phi = (near.excess - far.excess) / (before.excess - far.excess);
    // Whether the inverse parabola through the three is monotone between them; NaN is not.
    if !(phi * phi < xi && (1.0 - phi) * (1.0 - phi) < 1.0 - xi) {
        return 0.5;
    }
    let (a, b, c) = (near, far, before);
    let first = a.excess / (b.excess - a.excess) * c.excess / (b.excess - c.excess);
    let second =
        (c.scale - a.scale) / (b.scale - a.scale) * a.excess / (c.excess - a.excess) * b.excess / (c.excess - b.excess);
    first + second
}
