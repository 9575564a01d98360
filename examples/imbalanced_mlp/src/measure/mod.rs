//! A network compared with the theory: everything that is measured, in `f64` and with the metrics of the crate.

mod state;

use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use neural_collapse::{
    ClassCounts, Ufm,
    faer::{Col, Mat, MatRef},
    metrics::{GradientAccumulator, ImpliedDecay, ImpliedDecays, Nc1Convention},
};

pub use self::state::State;
use self::state::{outputs, product, statistics};
use crate::{
    configuration::Configuration,
    groups::{Group, Probabilities},
    target::Target,
};

/// What is measured. A number whose definition divides by zero is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// What training minimizes, but for decays of the optimizer.
    pub objective: f64,
    /// The objective above the minimum of the theory, relative to it. Where decays are only implied by the network,
    /// both are those with these.
    pub gap: Option<f64>,
    /// Variability within classes, in the paper's convention.
    pub nc1: Option<f64>,
    /// The distance of the classifiers' Gram matrix from that of the theory.
    pub nc2_classifier: Option<f64>,
    /// The same for class means.
    pub nc2_features: Option<f64>,
    /// The distance of the prediction from that of the theory.
    pub nc3: Option<f64>,
    /// The distance of the classifiers from the class means, as the theory turns one into the other.
    pub alignment: Option<f64>,
    /// The share of samples whose largest output is that of their class.
    pub accuracy: f64,
    /// What samples of each group are given on average.
    pub groups: Vec<Probabilities>,
    /// p_own - p_sibling of each group by the law of contrasts.
    pub laws: Vec<Option<f64>>,
    /// The decays that the network implies, of each layer and then of the features, each with its misfit.
    pub implied: Vec<Option<(f64, f64)>>,
}

/// A measurement, and what figures show next to it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The numbers.
    pub measurement: Measurement,
    /// What the network is compared with; `None` if its arrays imply no decay of the features.
    pub target: Option<Arc<Target>>,
    /// The classifiers W_{L:1}, K × d_1.
    pub product: Mat<f64>,
    /// The class means H̄, d_1 × K.
    pub means: Mat<f64>,
}

/// Compares the networks of a run with the minimum of their model.
#[derive(Debug)]
pub struct Judge {
    configuration: Configuration,
    counts: ClassCounts,
    ufm: Ufm,
    groups: Vec<Group>,
    /// `None` if decays are implied: then every measurement has its own.
    target: Option<Arc<Target>>,
}

impl Judge {
    /// For the networks of a configuration with these class counts.
    ///
    /// # Errors
    ///
    /// As [`Configuration::ufm`] and [`Target::new`]; a model that has to be descended for every measurement.
    pub fn new(configuration: &Configuration, counts: &ClassCounts) -> Result<Self> {
        let ufm = configuration.ufm(counts)?;
        ensure!(
            !configuration.implies_decays() || ufm.depth() == 1 || ufm.has_closed_form(),
            "--no-feature-decay, --weight-decay: with --layers {} they are accepted for plain squared loss without \
             --relu-features: there is no theory to ask at every measurement",
            ufm.depth()
        );
        let target = (!configuration.implies_decays()).then(|| Target::new(&ufm)).transpose()?.map(Arc::new);
        let groups = Group::all(&ufm);
        Ok(Self { configuration: configuration.clone(), counts: counts.clone(), ufm, groups, target })
    }

    /// The groups of classes that are told apart.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// What networks are compared with; `None` if that depends on the network.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        self.target.as_deref()
    }

    /// Measures a network whose samples have these classes.
    ///
    /// # Errors
    ///
    /// Features or weights that are not finite.
    pub fn measure(&self, state: &State, labels: &[usize]) -> Result<Snapshot> {
        let features = MatRef::from_column_major_slice(&state.features, self.ufm.feature_width(), labels.len());
        let statistics = statistics(features, labels, self.ufm.outputs())?;
        let product = product(&state.layers);
        let (probabilities, accuracy) = outputs(&self.ufm, &product, state.bias.as_deref(), features, labels);
        let bias = state.bias.as_ref().map(|bias| bias.iter().copied().collect::<Col<f64>>());
        let mut pass = GradientAccumulator::new(vec![self.ufm.clone()], state.layers.clone(), bias)?;
        pass.add(features, labels)?;
        let gradients = pass.finish()?;
        let gradient = gradients.first().ok_or_else(|| anyhow!("no model has been measured"))?;
        let implied = gradient.implied_decays()?;
        let square = |numbers: &[f64]| numbers.iter().map(|x| x * x).sum::<f64>();
        // Everything but the penalty of the features.
        let without_features = |ufm: &Ufm| {
            let layers = ufm.layers().iter().zip(&state.layers);
            let layers = layers.map(|(layer, weights)| layer.decay / 2.0 * weights.squared_norm_l2());
            let bias = state.bias.as_ref().map_or(0.0, |bias| ufm.bias_decay() / 2.0 * square(bias));
            gradient.loss() + layers.sum::<f64>() + bias
        };
        let objective = |ufm: &Ufm| without_features(ufm) + ufm.feature_decay() / 2.0 * statistics.squared_norm();
        let target = self.target_of(&implied)?;
        let [nc1, nc2_classifier, nc2_features, nc3, alignment] = match &target {
            Some(target) => target.metrics(product.as_ref(), &statistics)?,
            None => [statistics.nc1(Nc1Convention::Global)?, None, None, None, None],
        };
        let gap = target.as_ref().map(|target| {
            let (reached, least) = (objective(&target.ufm), target.objective);
            (reached - least) / if least > 0.0 { least } else { 1.0 }
        });
        let both = |implied: Option<ImpliedDecay>| implied.map(|implied| (implied.decay, implied.misfit));
        let measurement = Measurement {
            objective: match self.configuration {
                Configuration { weight_decay: Some(_), .. } => gradient.loss(),
                Configuration { feature_decay: None, .. } => without_features(&self.ufm),
                _ => objective(&self.ufm),
            },
            gap,
            nc1,
            nc2_classifier,
            nc2_features,
            nc3,
            alignment,
            accuracy,
            groups: self.groups.iter().map(|group| group.average(probabilities.as_ref())).collect(),
            laws: target.as_ref().map_or_else(|| vec![None; self.groups.len()], |target| target.laws.clone()),
            implied: implied.layers.iter().chain([&implied.features]).map(|&implied| both(implied)).collect(),
        };
        Ok(Snapshot { measurement, target, product, means: statistics.class_means().to_owned() })
    }

    /// Where a descent ends that starts at a network, if there is no theory for its model.
    ///
    /// # Errors
    ///
    /// Numbers that are not finite.
    pub fn nearby(&self, state: &State, means: &Mat<f64>) -> Result<Option<Target>> {
        let Some(target) = &self.target else { return Ok(None) };
        let bias = state.bias.as_ref().map(|bias| bias.iter().copied().collect());
        target.nearby(&state.layers, means, bias)
    }

    /// What a network that implies these decays is compared with; `None` if one of them is not positive.
    fn target_of(&self, implied: &ImpliedDecays) -> Result<Option<Arc<Target>>> {
        if let Some(target) = &self.target {
            return Ok(Some(Arc::clone(target)));
        }
        let decay = |implied: &Option<ImpliedDecay>| {
            implied.map(|implied| implied.decay).filter(|decay| *decay > 0.0 && decay.is_finite())
        };
        // The penalties that are there are known.
        let layers = match self.configuration.weight_decay {
            Some(_) => implied.layers.iter().map(decay).collect(),
            None => Some(self.configuration.layer_decay.clone()),
        };
        let Some((layers, features)) = layers.zip(decay(&implied.features)) else { return Ok(None) };
        Ok(Some(Arc::new(Target::new(&self.configuration.ufm_with(&self.counts, &layers, features)?)?)))
    }
}

#[cfg(test)]
mod tests {
    use neural_collapse::{
        Parameters,
        faer::ColRef,
        rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
    };

    use super::*;
    use crate::configuration::tests::configuration;

    /// What a network would hand over at this point.
    fn state(point: &Parameters) -> State {
        #[allow(clippy::cast_possible_truncation)]
        let rounded = |h: ColRef<'_, f64>| h.iter().map(|&x| x as f32).collect::<Vec<_>>();
        State {
            layers: point.weights().to_vec(),
            bias: point.bias().map(|bias| bias.iter().copied().collect()),
            features: point.features().col_iter().flat_map(rounded).collect(),
        }
    }

    fn labels(counts: &ClassCounts) -> Vec<usize> {
        counts.counts().iter().enumerate().flat_map(|(k, &n)| (0..n).map(move |_| k)).collect()
    }

    /// All metrics vanish at any minimizer, the objective is the minimum, up to the rounding of features to f32; and the
    /// arrays imply the decays that they belong to.
    #[test]
    fn a_minimizer_is_one() {
        let counts: ClassCounts = "30x2,20,10x2".parse().unwrap();
        for (loss, layers) in [("squared", 2), ("cross-entropy", 1)] {
            let configuration = Configuration {
                counts: counts.to_string(),
                width: 16,
                layer_decay: vec![5e-3; layers],
                feature_decay: Some(1e-3),
                loss: loss.into(),
                ..configuration()
            };
            let ufm = configuration.ufm(&counts).unwrap();
            let point = match ufm.optimum().unwrap() {
                neural_collapse::theory::Optimum::Closed(minimizer) => {
                    minimizer.random_parameters(&mut Xoshiro256PlusPlus::seed_from_u64(1)).unwrap()
                }
                _ => ufm.certified_minimizer().unwrap().parameters().unwrap(),
            };
            let (state, labels) = (state(&point), labels(&counts));
            let measured = Judge::new(&configuration, &counts).unwrap().measure(&state, &labels).unwrap().measurement;
            // Features of a class are rounded alike; their norms, and all metrics, are relative.
            let rounding = f64::from(f32::EPSILON);
            assert_eq!(measured.nc1, Some(0.0));
            assert!(measured.gap.unwrap().abs() < rounding && measured.accuracy == 1.0, "{measured:?}");
            // A certified minimizer is right to about 1e-8.
            assert!(measured.nc2_classifier.unwrap() < if layers == 2 { 1e-14 } else { 1e-7 }, "{measured:?}");
            for metric in [measured.nc2_features, measured.nc3] {
                assert!(metric.unwrap() < 2.0 * rounding, "{metric:?}");
            }
            assert_eq!(measured.alignment.is_some(), loss == "squared");
            for (law, found) in measured.laws.iter().zip(&measured.groups) {
                if let Some(law) = law {
                    assert!((law - found.contrast().unwrap()).abs() < 2.0 * rounding, "{law} {found:?}");
                }
            }
            let decays = configuration.layer_decay.iter().copied().chain(configuration.feature_decay);
            assert_eq!(measured.implied.len(), layers + 1);
            for (implied, decay) in measured.implied.iter().zip(decays) {
                // The residual is the difference of numbers of size 1 that are rounded to f32, and as small as the
                // decays: N √(λ_W λ_H/n) is more than 0.01 here.
                assert!((implied.unwrap().0 / decay - 1.0).abs() < 100.0 * rounding, "{implied:?} {decay}");
            }
        }
    }

    /// Without a penalty of the features the target is that of the decay that the arrays imply.
    #[test]
    fn a_network_without_feature_decay_is_compared_with_the_decay_that_it_implies() {
        let counts: ClassCounts = "30x2,20,10x2".parse().unwrap();
        let penalized = Configuration {
            counts: counts.to_string(),
            width: 16,
            layer_decay: vec![5e-3],
            feature_decay: Some(1e-3),
            loss: "cross-entropy".into(),
            ..configuration()
        };
        let point = penalized.ufm(&counts).unwrap().certified_minimizer().unwrap().parameters().unwrap();
        let (state, labels) = (state(&point), labels(&counts));
        let free = Configuration { feature_decay: None, ..penalized.clone() };
        let judge = Judge::new(&free, &counts).unwrap();
        assert!(judge.target().is_none());
        let snapshot = judge.measure(&state, &labels).unwrap();
        let with = Judge::new(&penalized, &counts).unwrap().measure(&state, &labels).unwrap().measurement;
        // As above.
        let rounding = f64::from(f32::EPSILON);
        let implied = snapshot.target.unwrap().ufm.feature_decay();
        assert!((implied / 1e-3 - 1.0).abs() < 100.0 * rounding, "{implied}");
        assert!(snapshot.measurement.gap.unwrap().abs() < rounding);
        assert!(snapshot.measurement.nc3.unwrap() < 100.0 * rounding);
        assert!(snapshot.measurement.objective < with.objective);
    }
}
