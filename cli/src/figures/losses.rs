//! Figures of losses and weights: what `docs/cross-entropy.md` shows.

use neural_collapse::{
    ClassCounts, ClassWeights, Error, Layer, Loss, Ufm,
    theory::{Certified, GroupFate, Minimizer},
};

use super::{
    panel::Panel,
    subjects::{FEATURE_DECAY, WIDTH, powers},
};
use crate::shared::contrasts::contrast_q;

fn one_layer(counts: &ClassCounts, decay: f64) -> Result<Ufm, Error> {
    Ufm::new(counts, [Layer::new(WIDTH, decay)], FEATURE_DECAY)
}

/// The minimizers of both losses at one decay.
struct Both {
    decay: f64,
    squared: Minimizer,
    entropy: Certified,
}

impl Both {
    fn new(counts: &ClassCounts, decay: f64) -> Result<Self, Error> {
        let ufm = one_layer(counts, decay)?;
        let entropy = ufm.clone().with_loss(Loss::CrossEntropy)?.certified_minimizer()?;
        Ok(Self { decay, squared: ufm.minimizer()?, entropy })
    }

    fn squared_degrees(&self, k: usize, l: usize) -> Result<f64, Error> {
        let cosine = self.squared.geometry()?.classifiers().cosine(k, l);
        Ok(cosine.map_or(f64::NAN, |cosine| cosine.acos().to_degrees()))
    }

    fn entropy_degrees(&self, k: usize, l: usize) -> Result<f64, Error> {
        // The angles of what is zero are rounding.
        let is_zero = |group: &neural_collapse::theory::CertifiedGroup| {
            group.fate == GroupFate::Vanished && (group.classes.contains(&k) || group.classes.contains(&l))
        };
        if self.entropy.groups().iter().any(is_zero) {
            return Ok(f64::NAN);
        }
        let cosine = self.entropy.geometry()?.classifiers().cosine(k, l);
        Ok(cosine.map_or(f64::NAN, |cosine| cosine.acos().to_degrees()))
    }

    /// What tells classes k and l of one group apart: output for the own class minus that for the other.
    fn squared_contrast(&self, k: usize, l: usize) -> Result<f64, Error> {
        Ok(self.squared.geometry()?.logit_gap(k, l).unwrap_or(f64::NAN))
    }

    fn entropy_contrast(&self, r: usize) -> f64 {
        let group = &self.entropy.groups()[r];
        group.probability_sibling.map_or(f64::NAN, |sibling| group.probability_own - sibling)
    }
}

/// λ_W at q = 1, from which on the classes of this one's group coincide.
fn threshold(ufm: &Ufm, class: usize) -> f64 {
    contrast_q(ufm, class).map_or(f64::NAN, |q| ufm.layers()[0].decay / (q * q))
}

pub(super) fn losses() -> Result<Vec<Panel>, Error> {
    let counts = ClassCounts::paper_emnist_letters();
    let all: Vec<Both> = powers(-4.0, 0.0).map(|decay| Both::new(&counts, decay)).collect::<Result<_, _>>()?;
    // Class 0 has 1500 samples, 1 to 5 have 600, 6 to 25 have 50.
    let ufm = one_layer(&counts, 1.0)?;
    let critical = [1, 6].map(|class| threshold(&ufm, class));
    let pairs = [("two of 600", 1, 2), ("two of 50", 6, 7), ("1500 and 600", 0, 1), ("600 and 50", 1, 6)];
    let angles = |loss: &str| {
        let title = format!("{loss}: angles between classifiers");
        Panel::new(title, "decay of the layer", "degrees").logarithmic(true, false).up_to(180.0)
    };
    let (mut squared, mut entropy) = (angles("squared loss"), angles("cross-entropy"));
    for (name, k, l) in pairs {
        let curve = all.iter().map(|both| Ok((both.decay, both.squared_degrees(k, l)?)));
        squared = squared.line(name, curve.collect::<Result<Vec<_>, Error>>()?);
        let curve = all.iter().map(|both| Ok((both.decay, both.entropy_degrees(k, l)?)));
        entropy = entropy.line(name, curve.collect::<Result<Vec<_>, Error>>()?);
    }
    let mut contrasts =
        Panel::new("what tells two classes of a group apart", "decay of the layer", "p own - p sibling")
            .logarithmic(true, false)
            .up_to(1.0);
    for (count, r, k) in [(600, 1, 1), (50, 2, 6)] {
        let name = format!("{count}, cross-entropy");
        contrasts = contrasts.line(&name, all.iter().map(|both| (both.decay, both.entropy_contrast(r))));
        let curve = all.iter().step_by(20).map(|both| Ok((both.decay, both.squared_contrast(k, k + 1)?)));
        contrasts = contrasts.points(&format!("{count}, squared loss"), curve.collect::<Result<Vec<_>, Error>>()?);
    }
    let mut probabilities = Panel::new("cross-entropy: probability of the own class", "decay of the layer", "p own")
        .logarithmic(true, false)
        .up_to(1.0);
    for (count, r) in [(1500, 0), (600, 1), (50, 2)] {
        let curve = all.iter().map(|both| (both.decay, both.entropy.groups()[r].probability_own));
        probabilities = probabilities.line(&format!("n = {count}"), curve);
    }
    Ok(vec![
        squared.critical(&critical, "q = 1", [0.0, 180.0]),
        entropy.critical(&critical, "q = 1", [0.0, 180.0]),
        contrasts.critical(&critical, "q = 1", [0.0, 1.0]),
        probabilities.critical(&critical, "q = 1", [0.0, 1.0]),
    ])
}

/// Weights n^(-exponent), of mean 1 over samples.
fn power_weights(counts: &ClassCounts, exponent: f64) -> Vec<f64> {
    let weights = counts.counts().iter().map(|&count| (count as f64).powf(-exponent));
    let sum: f64 = weights.clone().zip(counts.counts()).map(|(weight, &count)| weight * count as f64).sum();
    weights.map(|weight| weight * counts.samples() as f64 / sum).collect()
}

fn weighted(counts: &ClassCounts, exponent: f64, decay: f64) -> Result<Ufm, Error> {
    let weights = ClassWeights::Given(power_weights(counts, exponent));
    one_layer(counts, decay)?.with_loss(Loss::CrossEntropy)?.with_class_weights(weights)
}

/// The decay at which the certified minimizer says that group r collapses, by bisection.
fn collapse_of(counts: &ClassCounts, exponent: f64, r: usize) -> Result<f64, Error> {
    let (mut apart, mut together) = (-4.0, 2.0);
    while together - apart > 1e-3 {
        let middle = f64::midpoint(apart, together);
        let minimizer = weighted(counts, exponent, 10_f64.powf(middle))?.certified_minimizer()?;
        let is_apart = minimizer.groups()[r].fate == GroupFate::Distinct;
        if is_apart { apart = middle } else { together = middle }
    }
    Ok(10_f64.powf(apart))
}

pub(super) fn weights() -> Result<Vec<Panel>, Error> {
    const DECAY: f64 = 0.15;
    let counts: ClassCounts = "500x5,100x5,20x5".parse()?;
    let exponents = |places: u32| (0..=places).map(move |i| f64::from(i) / f64::from(places));
    let x = "exponent of the weights 1/n^x: 0 none, 1/2 inverse-root, 1 inverse";
    let mut decays = Panel::new("the decay from which on a group collapses", x, "decay of the layer");
    decays = decays.logarithmic(false, true);
    let mut probabilities = Panel::new(format!("probability of the own class at a decay of {DECAY}"), x, "p own");
    probabilities = probabilities.up_to(1.0);
    let all: Vec<_> = exponents(200)
        .map(|exponent| Ok((exponent, weighted(&counts, exponent, DECAY)?.certified_minimizer()?)))
        .collect::<Result<_, Error>>()?;
    let mut solved = Vec::new();
    for (r, group) in counts.groups().enumerate() {
        let name = format!("n = {}", group.count);
        let at = |exponent| Ok((exponent, threshold(&weighted(&counts, exponent, DECAY)?, group.classes[0])));
        decays = decays.line(&name, exponents(100).map(at).collect::<Result<Vec<_>, Error>>()?);
        let curve = all.iter().map(|(exponent, minimizer)| (*exponent, minimizer.groups()[r].probability_own));
        probabilities = probabilities.line(&name, curve);
        for exponent in exponents(10) {
            solved.push((exponent, collapse_of(&counts, exponent, r)?));
        }
    }
    Ok(vec![
        decays.points("certified", solved).line("panel on the right", [(0.0, DECAY), (1.0, DECAY)]),
        probabilities.critical(&[0.5], "1/root(n)", [0.0, 1.0]),
    ])
}
