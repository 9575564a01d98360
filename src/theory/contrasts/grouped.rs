//! A model of one layer as numbers of its groups of classes.

use crate::{
    error::Error,
    loss::Loss,
    model::Ufm,
    theory::certified::groups::{Group, groups},
};

/// One entry for each group of classes that the loss cannot tell apart, by falling count.
#[derive(Clone, Debug)]
pub(in crate::theory) struct Grouped {
    pub(in crate::theory) groups: Vec<Group>,
    pub(in crate::theory) is_cross_entropy: bool,
    /// m_r, the classes of a group.
    pub(in crate::theory) sizes: Vec<f64>,
    /// √c_r.
    pub(in crate::theory) roots: Vec<f64>,
    /// w_r = α_r c_r/N, of one class.
    pub(in crate::theory) weights: Vec<f64>,
    /// δ_r, ι_r and the margin of the own class.
    pub(in crate::theory) scales: Vec<f64>,
    pub(in crate::theory) shifts: Vec<f64>,
    pub(in crate::theory) margins: Vec<f64>,
    /// ε, and ε/K: targets are (1-ε) e_k + ε/K 1.
    pub(in crate::theory) smoothing: f64,
    pub(in crate::theory) everywhere: f64,
    /// √(λ_W λ_H).
    pub(in crate::theory) lambda: f64,
    /// The decay λ_b; 0 if the bias is free, `None` if there is none.
    pub(in crate::theory) bias: Option<f64>,
}

impl Grouped {
    pub(in crate::theory) fn new(ufm: &Ufm) -> Result<Self, Error> {
        if ufm.depth() > 1 {
            return Err(Error::NoCertificate { because: "two or more layers" });
        }
        let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?;
        let (loss, groups) = (ufm.output_loss(), groups(ufm, classes));
        let (samples, smoothing) = (classes.samples() as f64, ufm.targets().smoothing());
        let first = |of: &dyn Fn(usize) -> f64| groups.iter().map(|group| of(group.classes[0])).collect();
        Ok(Self {
            is_cross_entropy: ufm.loss() == Loss::CrossEntropy,
            sizes: groups.iter().map(|group| group.classes.len() as f64).collect(),
            roots: groups.iter().map(|group| (group.count as f64).sqrt()).collect(),
            weights: groups.iter().map(|group| group.weight * (group.count as f64 / samples)).collect(),
            scales: first(&|class| loss.scale(class)),
            shifts: first(&|class| loss.shift(class)),
            margins: first(&|class| loss.margin(class)),
            smoothing,
            everywhere: smoothing / classes.classes() as f64,
            lambda: ufm.layers()[0].decay.sqrt() * ufm.feature_decay().sqrt(),
            bias: ufm.has_bias().then(|| ufm.bias_decay()),
            groups,
        })
    }

    pub(in crate::theory) fn count(&self) -> usize {
        self.groups.len()
    }

    /// The number of classes K.
    pub(in crate::theory) fn outputs(&self) -> f64 {
        self.sizes.iter().sum()
    }

    /// Σ_k w_k.
    pub(in crate::theory) fn total_weight(&self) -> f64 {
        self.sizes.iter().zip(&self.weights).map(|(m, w)| m * w).sum()
    }

    /// The λ at which q_r = 1: δ_r α_r √c_r (1-ε)/N.
    pub(in crate::theory) fn critical_lambda(&self, r: usize) -> f64 {
        self.scales[r] * (self.weights[r] / self.roots[r]) * (1.0 - self.smoothing)
    }
}
