//! Inner products and angles of all pairs of groups at once.

use faer::Mat;

use super::Gram;
use crate::{linalg::cores::map_range, theory::spectrum::Side};

impl Gram {
    /// The inner products of all pairs of groups, R × R: entry (r, t) is that of a class of group r and another class of
    /// group t, [`Gram::inner_product`] to a few epsilons of its largest term. NaN if it is not the same for all
    /// minimizers, and on the diagonal if a group has a single class.
    ///
    /// Cost: O(R²), and O(R³) if they are asked for one by one. Groups are by falling count, as
    /// [`ClassCounts::groups`](crate::ClassCounts::groups).
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Ufm};
    ///
    /// let ufm = Ufm::new("600x2,50,20".parse::<ClassCounts>()?, [Layer::new(64, 1e-3)], 1e-4)?;
    /// let geometry = ufm.minimizer()?.geometry()?;
    /// let products = geometry.classifiers().inner_products_of_groups();
    /// // A class of 600 and the class of 20 samples; the two classes of 600; one class has no other.
    /// assert!((products[(0, 2)] - geometry.classifiers().inner_product(0, 3).unwrap()).abs() < 1e-15);
    /// assert!((products[(0, 0)] - geometry.classifiers().inner_product(0, 1).unwrap()).abs() < 1e-15);
    /// assert!(products[(1, 1)].is_nan());
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    #[must_use]
    pub fn inner_products_of_groups(&self) -> Mat<f64> {
        let (neighbors, counts) = (self.neighbors(), &self.frame.counts);
        self.table(
            |r, t| {
                let factor = match self.side {
                    Side::Left => counts[r] * counts[t],
                    Side::Right => 1.0,
                };
                (!self.open.everywhere).then(|| neighbors.difference(r, t).0 * factor * self.unit * self.unit)
            },
            Self::inner_product,
        )
    }

    /// The angles between all pairs of groups in radians, R × R: entry (r, t) is that of a class of group r and another
    /// class of group t, [`Gram::angle`] to a few epsilons. NaN also if one of the two is zero.
    ///
    /// Cost and order: as [`Gram::inner_products_of_groups`]. Angles of about 1e-9 and less, or as close to π, take O(R)
    /// operations each.
    #[must_use]
    pub fn angles_of_groups(&self) -> Mat<f64> {
        let (neighbors, open) = (self.neighbors(), &self.open);
        // Without its norm a class has no angles.
        let has_angles = |r: usize| !open.between(r, r) && !neighbors.is_zero(r);
        let one_by_one = |r: usize, t: usize| {
            let classes = [r, t].map(|group| self.frame.classes.group(group).classes[0]);
            self.angle(classes[0], classes[1])
        };
        let between = |r, t| {
            let has_both = has_angles(r) && has_angles(t);
            has_both.then(|| neighbors.angle(r, t).or_else(|| one_by_one(r, t))).flatten()
        };
        self.table(between, Self::angle)
    }

    /// R × R numbers: `between` different groups, which is symmetric, and `within` each of them, of two classes.
    fn table(
        &self,
        between: impl Fn(usize, usize) -> Option<f64> + Sync,
        within: impl Fn(&Self, usize, usize) -> Option<f64> + Sync,
    ) -> Mat<f64> {
        let classes = &self.frame.classes;
        let groups = classes.groups().len();
        let rows = map_range(groups, 8, |r| {
            let own = match classes.group(r).classes {
                [first, second, ..] => within(self, *first, *second),
                _ => None,
            };
            let others = (r + 1..groups).map(|t| between(r, t));
            std::iter::once(own).chain(others).map(|number| number.unwrap_or(f64::NAN)).collect::<Vec<f64>>()
        });
        Mat::from_fn(groups, groups, |r, t| rows[r.min(t)][r.abs_diff(t)])
    }
}
