//! Class weights: given, or by a rule from the class counts.

use std::{fmt, str::FromStr};

use crate::{classes::ClassCounts, error::Error};

/// How the loss of a sample is weighted by its class: α_k in 1/N Σ_k α_k Σ_i l(z_{k,i}).
///
/// Rules give weights whose mean over all samples is 1, Σ_k n_k α_k = N. Weights that are given are taken as they are;
/// [`WeightConvention`](crate::WeightConvention) says what a framework makes of them.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, ClassWeights};
///
/// let classes = ClassCounts::new([300, 100])?;
/// // N/(K n_k), what scikit-learn calls "balanced".
/// assert_eq!(ClassWeights::Inverse.of(&classes)?, [400.0 / 600.0, 2.0]);
/// assert_eq!("1,2x2,0.5".parse::<ClassWeights>()?, ClassWeights::Given(vec![1.0, 2.0, 2.0, 0.5]));
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Cui et al. 2019, *Class-balanced loss based on effective number of samples*, CVPR.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum ClassWeights {
    /// 1 for every class.
    #[default]
    None,
    /// Proportional to 1/n_k: N/(K n_k).
    Inverse,
    /// Proportional to 1/√n_k. This is the rule at which all groups collapse at the same decay.
    InverseRoot,
    /// Proportional to (1-β)/(1-β^n_k), with 0 ≤ β < 1: the inverse of the effective number of samples.
    Effective(f64),
    /// One positive weight a class, in the order of the classes.
    Given(Vec<f64>),
}

impl ClassWeights {
    /// The weights α_k, in the order of the classes.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless 0 ≤ β < 1; [`Error::PerClass`] and [`Error::OfClass`] for weights that are given and
    /// are not one positive finite number a class.
    pub fn of(&self, classes: &ClassCounts) -> Result<Vec<f64>, Error> {
        let by_rule = |rule: &dyn Fn(f64) -> f64| {
            let weights: Vec<f64> = classes.counts().iter().map(|&count| rule(count as f64)).collect();
            normalized(&weights, classes)
        };
        match self {
            Self::None => Ok(vec![1.0; classes.classes()]),
            Self::Inverse => {
                let share = classes.samples() as f64 / classes.classes() as f64;
                Ok(classes.counts().iter().map(|&count| share / count as f64).collect())
            }
            Self::InverseRoot => Ok(by_rule(&|count| 1.0 / count.sqrt())),
            &Self::Effective(beta) => {
                if !(0.0..1.0).contains(&beta) {
                    return Err(Error::Domain {
                        argument: "effective number of samples, beta",
                        value: beta,
                        accepted: "0 <= beta < 1",
                    });
                }
                // 1 - β^n without the digits that it loses where β is close to 1.
                Ok(by_rule(&|count| if beta == 0.0 { 1.0 } else { 1.0 / -(count * beta.ln()).exp_m1() }))
            }
            Self::Given(weights) => {
                super::check("class weights", weights, classes.classes(), "positive finite numbers", |weight| {
                    weight > 0.0 && weight.is_finite()
                })?;
                Ok(weights.clone())
            }
        }
    }
}

/// α = v N/Σ_j n_j v_j: weights whose mean over samples is 1, exactly so if all are equal.
pub(crate) fn normalized(weights: &[f64], classes: &ClassCounts) -> Vec<f64> {
    if weights.iter().all(|weight| *weight == weights[0]) {
        return vec![1.0; weights.len()];
    }
    // Scaled by the largest, so that no sum overflows.
    let largest = weights.iter().copied().fold(0.0, f64::max);
    let sum: f64 = classes.counts().iter().zip(weights).map(|(&count, weight)| count as f64 * (weight / largest)).sum();
    let scale = classes.samples() as f64 / sum;
    weights.iter().map(|weight| weight / largest * scale).collect()
}

/// The text form: `none`, `inverse`, `inverse-root`, `effective:BETA`, or a list of weights in the order of the classes,
/// where `WxM` stands for M classes of weight W.
///
/// # Errors
///
/// [`Error::MalformedWeights`] names the entry.
impl FromStr for ClassWeights {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        match text {
            "none" => return Ok(Self::None),
            "inverse" => return Ok(Self::Inverse),
            "inverse-root" => return Ok(Self::InverseRoot),
            _ => {}
        }
        let malformed = |index, word: &str| Error::MalformedWeights { index, word: word.to_owned() };
        if let Some(beta) = text.strip_prefix("effective:") {
            return beta.trim().parse().map(Self::Effective).map_err(|_| malformed(0, text));
        }
        let mut weights: Vec<f64> = Vec::new();
        for (index, word) in text.strip_suffix(',').unwrap_or(text).split(',').map(str::trim).enumerate() {
            let (weight, classes) = word.split_once(['x', 'X']).unwrap_or((word, "1"));
            let number: f64 = weight.parse().map_err(|_| malformed(index, word))?;
            let classes: usize =
                classes.parse().ok().filter(|&classes| classes > 0).ok_or_else(|| malformed(index, word))?;
            weights.try_reserve(classes).map_err(|_| Error::TooLarge {
                what: "class weights",
                rows: classes,
                cols: 1,
            })?;
            weights.resize(weights.len() + classes, number);
        }
        Ok(Self::Given(weights))
    }
}

impl fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Inverse => f.pad("inverse"),
            Self::InverseRoot => f.pad("inverse-root"),
            Self::Effective(beta) => write!(f, "effective:{beta}"),
            Self::Given(weights) => {
                for (i, run) in weights.chunk_by(|one, next| one == next).enumerate() {
                    f.write_str(if i > 0 { "," } else { "" })?;
                    match run.len() {
                        1 => write!(f, "{}", run[0])?,
                        classes => write!(f, "{}x{classes}", run[0])?,
                    }
                }
                Ok(())
            }
        }
    }
}
