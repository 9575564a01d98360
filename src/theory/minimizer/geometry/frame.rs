//! The parts of every inner product between classes: the vectors of the directions, and one number for each.

use qd::Quad;

use crate::{
    classes::ClassCounts,
    linalg::{
        cores::map_range,
        error_free::{rounding_of_product, rounding_of_sum},
    },
    theory::{
        minimizer::directions::{Direction, Tie},
        spectrum::{Between, LabelSpectrum, Side},
    },
};

/// The vectors of the directions between groups, and those that distinguish the classes of a group.
#[derive(Debug)]
pub(in super::super) struct Frame {
    pub(super) classes: ClassCounts,
    /// The group of every class.
    pub(super) group_of: Vec<usize>,
    /// The distinct counts, as numbers.
    pub(super) counts: Vec<f64>,
    /// The vectors of the directions between groups: u_j and v_j/√c at the classes of a group.
    pub(super) vectors: Vec<Between>,
    pub(super) has_bias: bool,
}

/// What every direction between groups contributes, and those within each group.
#[derive(Clone, Debug)]
pub(in super::super) struct Values {
    pub(super) between: Vec<f64>,
    pub(super) within: Vec<f64>,
}

/// What is ambiguous because of ties.
#[derive(Clone, Debug)]
pub(in super::super) struct Open {
    /// Whether no entry at all is the same for all minimizers.
    pub(super) everywhere: bool,
    /// Whether what the directions within a group give is not the same for all minimizers.
    pub(super) within: Vec<bool>,
}

/// A sum of numbers and of products, to about twice the precision.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LongSum {
    high: f64,
    low: f64,
}

impl LongSum {
    pub(super) fn add(&mut self, term: f64) {
        let sum = self.high + term;
        self.low += rounding_of_sum(self.high, term, sum);
        self.high = sum;
    }

    /// Adds a (b + b_low), where b_low is of the size of a rounding of b.
    pub(super) fn add_product(&mut self, a: f64, b: f64, b_low: f64) {
        let product = a * b;
        self.add(product);
        self.low += rounding_of_product(a, b, product) + a * b_low;
    }

    pub(super) fn quad(self) -> Quad {
        Quad::from(self.high) + Quad::from(self.low)
    }
}

impl Frame {
    pub(in super::super) fn new(spectrum: &LabelSpectrum, has_bias: bool) -> Self {
        let classes = spectrum.class_counts().clone();
        let mut group_of = vec![0; classes.classes()];
        for (r, group) in classes.groups().enumerate() {
            group.classes.iter().for_each(|&class| group_of[class] = r);
        }
        let counts = classes.groups().map(|group| group.count as f64).collect();
        Self { classes, group_of, counts, vectors: spectrum.between().collect(), has_bias }
    }

    /// δ_kl - 1/m_r, the inner product of classes of group `r` along its own directions: δ_kl without a bias.
    pub(super) fn contrast(&self, r: usize, same: bool) -> f64 {
        let m = self.classes.group(r).multiplicity() as f64;
        match (self.has_bias, same) {
            (true, true) => (m - 1.0) / m,
            (true, false) => -1.0 / m,
            (false, same) => f64::from(u8::from(same)),
        }
    }

    /// The entry of vector `j` at the classes of group `r`: u_jr on the left, v_jr/√c_r on the right.
    pub(super) fn at(&self, vector: &Between, r: usize, side: Side) -> f64 {
        let (distance, _) = vector.distance(self.counts[r]);
        match side {
            Side::Left => self.counts[r] * vector.left / distance,
            Side::Right => {
                let root = self.counts[r].sqrt();
                root * vector.right / distance / root
            }
        }
    }

    /// The entry of two classes, one of group `r` and one of group `t`, with these values of the directions, and the
    /// sum of the sizes of its terms; `same` says whether the classes are one.
    pub(super) fn entry(
        &self,
        (r, t): (usize, usize),
        same: bool,
        sides: (Side, Side),
        values: &Values,
    ) -> (Quad, f64) {
        let (mut sum, mut size) = (LongSum::default(), 0.0);
        for (&value, vector) in values.between.iter().zip(&self.vectors) {
            let (a, b) = (value * self.at(vector, r, sides.0), self.at(vector, t, sides.1));
            sum.add_product(a, b, 0.0);
            size += (a * b).abs();
        }
        if r == t {
            let own = values.within[r] * self.contrast(r, same);
            sum.add(own);
            size += own.abs();
        }
        (sum.quad(), size)
    }

    pub(in super::super) fn classes(&self) -> &ClassCounts {
        &self.classes
    }

    /// The groups of two classes.
    pub(super) fn groups(&self, k: usize, l: usize) -> (usize, usize) {
        let classes = self.group_of.len();
        assert!(k.max(l) < classes, "there is no class {}: there are {classes}, counted from 0", k.max(l));
        (self.group_of[k], self.group_of[l])
    }

    /// The angle between two different classes of groups `r` and `t`, whose norms are not zero: from the differences of
    /// unit vectors, which keep the digits of small angles.
    pub(super) fn angle(&self, (r, t): (usize, usize), norms: (f64, f64), side: Side, values: &Values) -> f64 {
        let (mut difference, mut sum) = (LongSum::default(), LongSum::default());
        // What has collapsed adds nothing.
        for (&value, vector) in values.between.iter().zip(&self.vectors).filter(|(value, _)| **value > 0.0) {
            let (a, b) = (self.at(vector, r, side) / norms.0, self.at(vector, t, side) / norms.1);
            difference.add(value * (a - b) * (a - b));
            sum.add(value * (a + b) * (a + b));
        }
        let own = |r: usize, norm: f64| values.within[r] / norm / norm;
        if r == t {
            difference.add(2.0 * own(r, norms.0));
            sum.add(2.0 * own(r, norms.0) * (self.contrast(r, true) + self.contrast(r, false)));
        } else {
            let both = own(r, norms.0) * self.contrast(r, true) + own(t, norms.1) * self.contrast(t, true);
            difference.add(both);
            sum.add(both);
        }
        2.0 * difference.quad().0.sqrt().atan2(sum.quad().0.max(0.0).sqrt())
    }

    /// The squared norm of a class of every group. Cost: O(R²).
    pub(in super::super) fn squared_norms(&self, side: Side, values: &Values) -> Vec<f64> {
        map_range(self.counts.len(), 8, |r| self.entry((r, r), true, (side, side), values).0.0)
    }
}

impl Values {
    /// `of` every direction, and of the count of its group for those within one.
    pub(in super::super) fn new(
        directions: &[Direction],
        classes: &ClassCounts,
        of: impl Fn(&Direction, f64) -> f64,
    ) -> Self {
        let mut within = vec![0.0; classes.groups().len()];
        let mut between = Vec::new();
        for direction in directions {
            match direction.group {
                // If a width cuts through a group there are two directions, and the entries are open.
                Some(r) => within[r] = of(direction, classes.group(r).count as f64),
                None if direction.target > 0.0 => between.push(of(direction, 1.0)),
                None => {}
            }
        }
        Self { between, within }
    }
}

impl Open {
    pub(in super::super) fn new(directions: &[Direction], ties: &[Tie], groups: usize) -> Self {
        let mut open = Self { everywhere: false, within: vec![false; groups] };
        for &(Tie::Threshold { direction } | Tie::Width { direction }) in ties {
            match directions[direction].group {
                Some(r) => open.within[r] = true,
                None => open.everywhere = true,
            }
        }
        open
    }

    /// Whether anything is open.
    pub(in super::super) fn any(&self) -> bool {
        self.everywhere || self.within.contains(&true)
    }

    /// Whether the entry of classes of groups `r` and `t` is.
    pub(super) fn between(&self, r: usize, t: usize) -> bool {
        self.everywhere || (r == t && self.within[r])
    }
}
