//! What a network is compared with: the minimum of the theory, by the way that there is to it.

mod descended;
mod source;

use anyhow::Result;
use neural_collapse::{
    Error, Ufm,
    faer::{Col, Mat, MatRef, Scale},
    linalg::dense_svd,
    metrics::{FeatureStatistics, Nc1Convention, network_collapse},
    theory::{Direction, Optimum},
};

use self::descended::{by_descent, descend_from};
pub use self::source::Source;
use crate::groups::{Group, Probabilities, compare};

/// The minimum of a model and what its minimizers look like.
#[derive(Clone, Debug)]
pub struct Target {
    /// The model.
    pub ufm: Ufm,
    /// Where the minimum comes from.
    pub source: Source,
    /// The least objective.
    pub objective: f64,
    /// The rank of the prediction.
    pub rank: usize,
    /// Inner products of classifiers and of class means, K × K; 0 if a tie leaves them open.
    pub grams: [Mat<f64>; 2],
    /// Singular values of the classifiers and of class means times √n, by falling size.
    pub singular_values: [Vec<f64>; 2],
    /// What samples of each group are given.
    pub probabilities: Vec<Probabilities>,
    /// p_own - p_sibling of each group by the law of contrasts, if the law holds for the model.
    pub laws: Vec<Option<f64>>,
    /// The theory's own minimizer, unless there are only descents.
    optimum: Option<Optimum>,
    /// W_{L:1} and H̄ D.
    blocks: [Mat<f64>; 2],
}

impl Target {
    /// The minimum of a model, by theory if it has one, otherwise by descent.
    ///
    /// # Errors
    ///
    /// Numbers that leave the range of `f64`.
    pub fn new(ufm: &Ufm) -> Result<Self> {
        match ufm.optimum() {
            Ok(optimum) => Self::of_optimum(optimum),
            Err(Error::NoCertificate { .. } | Error::WidthBelowRank { .. }) => by_descent(ufm),
            Err(error) => Err(error.into()),
        }
    }

    fn of_optimum(optimum: Optimum) -> Result<Self> {
        let source = match &optimum {
            Optimum::Certified(minimizer) => Source::Certified { gap: minimizer.gap().abs() },
            Optimum::Nonnegative(minimizer) => {
                Source::Orthogonal { lower_bound: minimizer.lower_bound(), is_proved: minimizer.is_proved() }
            }
            _ => Source::Closed,
        };
        let (product, means) = (optimum.classifiers()?, optimum.class_means()?);
        let (objective, rank) = (optimum.objective(), optimum.rank());
        let mut target =
            Self::of_blocks(optimum.ufm(), source, objective, rank, [product, means], optimum.bias().as_ref())?;
        if let Optimum::Closed(minimizer) = &optimum {
            // As the closed form has them, whose matrices are rounded.
            let values = |of: fn(&Direction) -> f64| {
                let mut values = minimizer.singular_values(of);
                values.sort_by(|a, b| b.total_cmp(a));
                values
            };
            target.singular_values = [values(|direction| direction.product), values(|direction| direction.feature)];
            let geometry = minimizer.geometry()?;
            let classes = target.ufm.outputs();
            target.grams = [geometry.classifiers(), geometry.class_means()]
                .map(|gram| Mat::from_fn(classes, classes, |k, l| gram.inner_product(k, l).unwrap_or(0.0)));
        }
        target.optimum = Some(optimum);
        Ok(target)
    }

    /// From the classifiers, K × r, and class means, r × K, of a minimizer.
    fn of_blocks(
        ufm: &Ufm,
        source: Source,
        objective: f64,
        rank: usize,
        [product, means]: [Mat<f64>; 2],
        bias: Option<&Col<f64>>,
    ) -> Result<Self> {
        let counts = ufm.class_counts().map_or_else(Vec::new, |counts| counts.counts().to_vec());
        let mut outputs = &product * &means;
        for class in 0..outputs.ncols() {
            let logits = outputs.col(class).iter().enumerate();
            let mut logits: Vec<f64> = logits.map(|(r, z)| z + bias.map_or(0.0, |bias| bias[r])).collect();
            compare(ufm, class, &mut logits);
            outputs.col_mut(class).copy_from(logits.into_iter().collect::<Col<f64>>());
        }
        let groups = Group::all(ufm);
        let grams = [&product * product.transpose(), means.transpose() * &means];
        let weighted = weighted(means, &counts);
        let values = |matrix: &Mat<f64>| {
            let mut values: Vec<f64> = dense_svd(matrix.as_ref())?.values.iter().copied().collect();
            values.resize(counts.len(), 0.0);
            Ok::<_, Error>(values)
        };
        Ok(Self {
            ufm: ufm.clone(),
            source,
            objective,
            rank,
            grams,
            singular_values: [values(&product)?, values(&weighted)?],
            probabilities: groups.iter().map(|group| group.average(outputs.as_ref())).collect(),
            laws: laws(ufm, &groups),
            optimum: None,
            blocks: [product, weighted],
        })
    }

    /// Where a descent on free features ends that starts at a network of these layers, class means and bias; `None` if the
    /// theory has a minimum.
    ///
    /// # Errors
    ///
    /// Numbers that are not finite.
    pub fn nearby(&self, layers: &[Mat<f64>], means: &Mat<f64>, bias: Option<Col<f64>>) -> Result<Option<Self>> {
        let is_descended = matches!(self.source, Source::Descent { .. });
        is_descended.then(|| descend_from(&self.ufm, layers, means, bias)).transpose()
    }

    /// NC1, NC2 of classifiers and of class means, NC3 and alignment of a network whose product W_{L:1} is K × d_1, as
    /// [`network_collapse`] defines them. Alignment needs a closed form.
    ///
    /// # Errors
    ///
    /// Numbers that are not finite.
    pub fn metrics(&self, product: MatRef<'_, f64>, statistics: &FeatureStatistics) -> Result<[Option<f64>; 5]> {
        if let Some(optimum) = &self.optimum {
            let found = network_collapse(optimum, product, statistics)?;
            return Ok([found.nc1, found.nc2_classifier, found.nc2_features, found.nc3, found.alignment]);
        }
        let means = statistics.weighted_means();
        let [classifiers, weighted] = &self.blocks;
        let nc3 = distance(product * &means, classifiers * weighted);
        let [nc2_classifier, nc2_features] = self.gram_distances(product, means.as_ref());
        Ok([statistics.nc1(Nc1Convention::Global)?, nc2_classifier, nc2_features, nc3, None])
    }

    /// The distances of a network's Gram matrices, of classifiers and of class means times √n, from these.
    fn gram_distances(&self, product: MatRef<'_, f64>, weighted: MatRef<'_, f64>) -> [Option<f64>; 2] {
        let [classifiers, means] = &self.blocks;
        [
            distance(product * product.transpose(), classifiers * classifiers.transpose()),
            distance(weighted.transpose() * weighted, means.transpose() * means),
        ]
    }

    /// The same for classifiers and class means.
    #[must_use]
    pub fn distances(&self, product: &Mat<f64>, means: &Mat<f64>) -> [Option<f64>; 2] {
        let counts = self.ufm.class_counts().map_or_else(Vec::new, |counts| counts.counts().to_vec());
        self.gram_distances(product.as_ref(), weighted(means.clone(), &counts).as_ref())
    }
}

/// Class means times √n.
fn weighted(mut means: Mat<f64>, counts: &[u64]) -> Mat<f64> {
    for (mut mean, &count) in means.col_iter_mut().zip(counts) {
        mean *= Scale((count as f64).sqrt());
    }
    means
}

/// The law of contrasts by group: of one layer that has room for the minimizer, and features of any sign.
fn laws(ufm: &Ufm, groups: &[Group]) -> Vec<Option<f64>> {
    let law = ufm.contrasts().ok().filter(|law| law.has_room() != Some(false));
    let of = |group: &Group| {
        let same = law.as_ref()?.groups().iter().find(|same| same.classes[..] == group.classes[..])?;
        same.probability_gap
    };
    groups.iter().map(of).collect()
}

/// The distance of two matrices, each divided by its norm; `None` if one of them is zero.
fn distance(ours: Mat<f64>, theirs: Mat<f64>) -> Option<f64> {
    let (own, other) = (ours.norm_l2(), theirs.norm_l2());
    (own > 0.0 && other > 0.0).then(|| (Scale(1.0 / own) * ours - Scale(1.0 / other) * theirs).norm_l2())
}

#[cfg(test)]
mod tests {
    use neural_collapse::{ClassCounts, Layer, Loss, Parameters, Point};

    use super::*;

    fn model(layers: usize) -> Ufm {
        Ufm::new("30x2,20,10x2".parse::<ClassCounts>().unwrap(), vec![Layer::new(16, 5e-3); layers], 1e-3).unwrap()
    }

    #[test]
    fn descents_find_what_the_closed_form_says() {
        let closed = Target::new(&model(2)).unwrap();
        let descended = by_descent(&model(2)).unwrap();
        assert_eq!((closed.source, closed.rank), (Source::Closed, descended.rank));
        assert!(matches!(descended.source, Source::Descent { starts: 32, same: 1..=32 }), "{:?}", descended.source);
        // A descent ends at a gradient of 1e-9 √f: objectives are then equal to rounding, and blocks to about the root
        // of that, 1e-8 times the condition of the problem.
        assert!((descended.objective / closed.objective - 1.0).abs() < 1e-11);
        for (one, other) in closed.grams.iter().zip(&descended.grams) {
            assert!(distance(one.clone(), other.clone()).unwrap() < 1e-5);
        }
        for (one, other) in closed.probabilities.iter().zip(&descended.probabilities) {
            assert!((one.own - other.own).abs() < 1e-5);
        }
    }

    #[test]
    fn the_law_of_contrasts_is_that_of_the_minimizer() {
        for loss in [Loss::Squared, Loss::CrossEntropy] {
            let target = Target::new(&model(1).with_loss(loss).unwrap()).unwrap();
            let contrasts: Vec<_> = target.probabilities.iter().map(Probabilities::contrast).collect();
            assert_eq!(target.laws.len(), 3);
            for (law, contrast) in target.laws.iter().zip(contrasts) {
                match (law, contrast) {
                    // Certified minimizers are right to about 1e-8.
                    (Some(law), Some(contrast)) => assert!((law - contrast).abs() < 1e-7, "{loss}: {law} {contrast}"),
                    (None, None) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Without a bias orthogonal class means are the minimum, in closed form.
    #[test]
    fn descents_of_nonnegative_features_find_orthogonal_class_means() {
        let ufm = model(1).with_nonnegative_features().without_bias();
        let (closed, descended) = (Target::new(&ufm).unwrap(), by_descent(&ufm).unwrap());
        assert!(matches!(closed.source, Source::Orthogonal { is_proved: true, .. }));
        // As above.
        assert!((descended.objective / closed.objective - 1.0).abs() < 1e-11, "{closed:?} {descended:?}");
    }

    /// From a minimizer there is nowhere to go; from a random point a descent ends no lower than the best of several.
    #[test]
    fn a_descent_from_a_network_ends_nearby() {
        let ufm = model(2);
        let minimizer = ufm.minimizer().unwrap().parameters().unwrap();
        let target = by_descent(&ufm).unwrap();
        let nearby = |point: &Parameters| {
            let means = Point::from(point).class_means(&ufm).unwrap();
            target.nearby(point.weights(), &means, point.bias().map(|bias| bias.to_owned())).unwrap().unwrap()
        };
        // As above.
        let found = nearby(&minimizer);
        assert!((found.objective / target.objective - 1.0).abs() < 1e-11 && found.rank == target.rank, "{found:?}");
        let means = Point::from(&minimizer).class_means(&ufm).unwrap();
        for distance in found.distances(&Point::from(&minimizer).product(), &means) {
            assert!(distance.unwrap() < 1e-5, "{distance:?}");
        }
        let random = Parameters::gaussian_seeded(&ufm, 1.0, 3).unwrap();
        assert!(nearby(&random).objective > target.objective * (1.0 - 1e-11));
        assert!(Target::new(&ufm).unwrap().nearby(&[], &Mat::new(), None).unwrap().is_none());
    }

    #[test]
    fn what_has_no_proof_is_descended() {
        let entropy = Target::new(&model(2).with_loss(Loss::CrossEntropy).unwrap()).unwrap();
        assert!(matches!(entropy.source, Source::Descent { .. }));
        assert!(entropy.laws.iter().all(Option::is_none));
        let relu = Target::new(&model(2).with_nonnegative_features()).unwrap();
        assert!(matches!(relu.source, Source::Descent { .. }), "{:?}", relu.source);
    }
}
