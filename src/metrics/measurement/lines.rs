//! Every number with its target and its verdict, by the name that people know it by.

use super::{
    super::{collapse::Collapse, distance::Distance, variability::Nc1Convention},
    class_geometry::ClassGeometry,
    result::Measurement,
    target::Target,
};
use crate::names::named;

/// How far from its target a number between 0 and about 1 is at most that has reached it; ten times that is near.
const REACHED: f64 = 0.01;
/// A relative gap above minus this is not below zero: certified minima are known to 1e-6 at worst.
const GAP_ROUNDING: f64 = 1e-6;

/// How far a number is from its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Within 0.01, or 0.01 K for NC1 that is not divided by K.
    Reached,
    /// Within ten times that.
    Near,
    /// Farther.
    Far,
}

named!(Verdict, "verdict": Reached = "reached", Near = "near", Far = "far");

/// A number of a [`Measurement`] with its target.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Line {
    /// What it is, in a few words.
    pub name: &'static str,
    /// As it is measured; `None` if its definition divides by zero.
    pub measured: Option<f64>,
    /// As the optimum has it; `None` if there is none, or if it leaves this open.
    pub target: Option<f64>,
    /// How far it is; `None` where a verdict would say nothing: the theory does not apply, the network is below the point
    /// compared with, classes do not vary or have collapsed, or there is no target.
    pub verdict: Option<Verdict>,
}

impl Measurement {
    /// Whether the objective is within 0.01 of the least one, relative to it, and no block is far from its place
    /// ([`Measurement::far_blocks`]); `None` if there is no verdict: the theory does not apply, the network is below the
    /// point compared with, or its layers are at rest at any size.
    #[must_use]
    pub fn has_reached(&self) -> Option<bool> {
        Some(self.has_least_objective()? && self.far_blocks().is_empty())
    }

    /// Whether the objective is within 0.01 of the least one, relative to it, wherever the blocks are; `None` as
    /// [`Measurement::has_reached`].
    #[must_use]
    pub fn has_least_objective(&self) -> Option<bool> {
        let gap = self.target.as_ref()?.gap.filter(|gap| self.applies() && *gap >= -GAP_ROUNDING)?;
        (!self.question.are_sizes_untested()).then_some(gap <= REACHED)
    }

    /// Layers, features and the bias, as far as their verdict is [`Verdict::Far`], with their distances from the closest
    /// optimum. A small objective does not bring them near: at the end of training features cost it almost nothing.
    #[must_use]
    pub fn far_blocks(&self) -> Vec<(&'static str, f64)> {
        let distance = self.target.as_ref().and_then(|target| target.distance.as_ref());
        let Some(distance) = distance.filter(|_| self.has_verdicts()) else { return Vec::new() };
        let layers = distance.layers.iter().copied().reduce(f64::max);
        let all = [("layers", layers), ("features", Some(distance.features)), ("bias", distance.bias)];
        let far = all.into_iter().filter_map(|(name, distance)| Some((name, distance?)));
        far.filter(|(_, distance)| *distance > 10.0 * REACHED).collect()
    }

    /// Whether classes share a mean at the optimum, or have one in the network: then NC1 and CDNV are ratios of two noises.
    #[must_use]
    pub fn has_collapsed(&self) -> bool {
        self.is_collapse_predicted() || self.metrics.coincident.iter().enumerate().any(|(class, &first)| class != first)
    }

    fn is_collapse_predicted(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.has_collapsed)
    }

    /// CDNV over the pairs of classes whose means differ, at the optimum if it says that some do not, else in the network.
    #[must_use]
    pub fn variance_apart(&self) -> Option<f64> {
        match &self.target {
            Some(target) if target.has_collapsed => target.variance_apart,
            _ => self.metrics.variance_apart,
        }
    }

    /// Whether the network is below the point that it is compared with, by more than rounding: that is not its optimum.
    #[must_use]
    pub fn is_below_target(&self) -> bool {
        self.target.as_ref().and_then(|target| target.gap).is_some_and(|gap| !(gap >= -GAP_ROUNDING))
    }

    /// Whether numbers have verdicts.
    #[must_use]
    pub fn has_verdicts(&self) -> bool {
        self.applies() && !self.is_below_target()
    }

    /// Whether every class has one sample: then classes do not vary, whatever the network does.
    #[must_use]
    pub fn has_single_samples(&self) -> bool {
        self.counts.samples() == self.counts.classes() as u64
    }

    /// Every number with its target and its verdict, in the order of a table. Lines that only an optimum has are left out
    /// without one.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = self.variability();
        lines.extend(self.distances());
        lines.extend(self.frames());
        lines.extend(self.plain());
        lines
    }

    /// A line whose number has reached its target within `reached`; `None` where a verdict would say nothing.
    fn line(&self, name: &'static str, measured: Option<f64>, target: Option<f64>, reached: Option<f64>) -> Line {
        let reached = reached.filter(|_| self.has_verdicts());
        let verdict =
            measured.zip(target).zip(reached).map(|((measured, target), reached)| match (measured - target).abs() {
                rest if rest <= reached => Verdict::Reached,
                rest if rest <= 10.0 * reached => Verdict::Near,
                _ => Verdict::Far,
            });
        Line { name, measured, target, verdict }
    }

    fn variability(&self) -> Vec<Line> {
        let (target, metrics) = (self.target.as_ref(), &self.metrics);
        let zero = target.map(|_| 0.0);
        let varying = Some(REACHED).filter(|_| !self.has_single_samples());
        // Of classes that have collapsed, noise over noise.
        let variability = varying.filter(|_| !self.has_collapsed());
        let undivided = variability.map(|reached| reached * self.counts.classes() as f64);
        let nc1 = |convention| metrics.nc1(convention);
        let mut lines = vec![
            self.line("NC1 (Liu, Dang, Zhu)", nc1(Nc1Convention::Global), zero, variability),
            self.line("NC1 unweighted mean", nc1(Nc1Convention::UnweightedMean), zero, variability),
            self.line("NC1 weighted classes", nc1(Nc1Convention::WeightedClasses), zero, variability),
            self.line("NC1 undivided", nc1(Nc1Convention::Undivided), zero, undivided),
            self.line("trace ratio", metrics.trace_ratio, zero, varying),
            self.line("CDNV", metrics.class_distance_normalized_variance, zero, variability),
        ];
        if self.has_collapsed() {
            lines.push(self.line("CDNV, classes apart", self.variance_apart(), zero, varying));
        }
        lines
    }

    /// NC2 to NC4, the gap and distances.
    fn distances(&self) -> Vec<Line> {
        let usual = Some(REACHED);
        let disagreement = self.decisions.disagreement();
        let Some(target) = &self.target else { return vec![self.line("NC4 disagreement", disagreement, None, usual)] };
        let Target { collapse, gap, .. } = target;
        let Collapse { nc2_classifier, nc2_features, nc3, alignment, .. } = *collapse;
        let (zero, distance) = (Some(0.0), target.distance.as_ref());
        let layers = distance.and_then(|distance| distance.layers.iter().copied().reduce(f64::max));
        // Of any size the gap is zero if the decays are those that this size implies.
        let sized = usual.filter(|_| !self.question.are_sizes_untested());
        let mut lines = vec![
            self.line("NC2 classifier", nc2_classifier, zero, usual),
            self.line("NC2 features", nc2_features, zero, usual),
            self.line("NC3 product", nc3, zero, usual),
            self.line("NC3 alignment", alignment, alignment.and(zero), usual),
            self.line("NC4 disagreement", disagreement, Some(target.disagreement), usual),
            self.line("relative gap", *gap, zero, sized),
            self.line("distance, all blocks", distance.map(Distance::largest), zero, usual),
            self.line("distance, layers", layers, zero, usual),
            self.line("distance, features", distance.map(|distance| distance.features), zero, usual),
        ];
        if self.layers.bias().is_some() {
            lines.push(self.line("distance, bias", distance.and_then(|distance| distance.bias), zero, usual));
        }
        lines
    }

    /// What balanced classes would have.
    fn frames(&self) -> Vec<Line> {
        type Number = fn(&ClassGeometry) -> Option<f64>;
        let target = self.target.as_ref();
        let mean = target.and_then(|target| target.feature_mean);
        let all: [(&'static str, Number); 12] = [
            ("classifier equinorm", |of| of.classifier_frames.equinorm),
            ("classifier angles, std", |of| of.classifier_frames.equiangularity),
            ("classifier maximal angle", |of| of.classifier_frames.maximal_angle),
            ("mean equinorm", |of| of.mean_frames.equinorm),
            ("mean angles, std", |of| of.mean_frames.equiangularity),
            ("mean maximal angle", |of| of.mean_frames.maximal_angle),
            ("self-duality", |of| of.self_duality),
            ("classifier to simplex", |of| of.classifier_frames.simplex),
            ("mean to simplex", |of| of.mean_frames.simplex),
            ("classifier to orthogonal", |of| of.classifier_frames.orthogonal),
            ("mean to orthogonal", |of| of.mean_frames.orthogonal),
            ("plain mean to orthogonal", |of| of.plain_mean_frames.orthogonal),
        ];
        // About the mean of the class means; of equal counts that is the mean of all features.
        let unweighted: [(&'static str, Number); 5] = [
            ("mean equinorm, unweighted", |of| of.unweighted_mean_frames.equinorm),
            ("mean angles, unweighted", |of| of.unweighted_mean_frames.equiangularity),
            ("maximal angle, unweighted", |of| of.unweighted_mean_frames.maximal_angle),
            ("mean simplex, unweighted", |of| of.unweighted_mean_frames.simplex),
            ("self-duality, unweighted", |of| of.unweighted_self_duality),
        ];
        let is_balanced = self.counts.groups().len() == 1;
        let all = all.into_iter().chain(unweighted.into_iter().filter(|_| !is_balanced));
        let of = |(name, number): (&'static str, Number)| {
            let predicted = target.and_then(|target| number(&target.classes));
            self.line(name, number(&self.metrics.classes), predicted, Some(REACHED))
        };
        let first = self.line("mean of all features", self.metrics.feature_mean, mean, Some(REACHED));
        [first].into_iter().chain(all.map(of)).collect()
    }

    /// Numbers without a verdict.
    fn plain(&self) -> Vec<Line> {
        let effective = |place: usize| self.metrics.spectra.get(place).and_then(|of| of.effective_rank);
        let mut lines = Vec::new();
        if let Some(target) = &self.target {
            let (measured, least) = (target.objective, target.optimum.objective());
            let measured = measured.map(|objective| self.training_loss(objective));
            lines.push(self.line("objective", measured, Some(self.training_loss(least)), None));
        }
        lines.extend([
            self.line("row sum of W (NC0)", self.metrics.row_sum, None, None),
            self.line("effective rank, product", effective(0), None, None),
            self.line("effective rank, means", effective(1), None, None),
            self.line("effective rank, features", self.metrics.feature_rank, None, None),
            self.line("accuracy", self.decisions.accuracy(), None, None),
            self.line("accuracy, nearest mean", self.decisions.center_accuracy(), None, None),
        ]);
        lines
    }
}
