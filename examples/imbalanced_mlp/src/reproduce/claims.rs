//! What is claimed, and the networks that show it.

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use neural_collapse::theory::GroupContrast;

use crate::flags::Flags;

/// A claim of the theory that real networks are put to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Claim {
    /// Under cross-entropy, networks end at the minimum that convex optimization proves
    A,
    /// The rarest classes collapse beyond the threshold of squared loss, and not before
    B,
    /// Class weights decide which classes survive: none, 1/root(n), 1/n
    C,
    /// With features after a ReLU, class means end on orthogonal rays
    D,
    /// The same, where one class has most samples: class means end beside orthogonal rays
    DOpen,
    /// What people do: SGD and AdamW with weight decay, and no penalty of the features
    E,
    /// Three linear layers under cross-entropy end at a minimum of free features, close to the lowest that is found
    F,
}

/// Networks of one kind, which differ by their seed.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) name: String,
    /// Flags of the program, but for data, width, epochs, learning rate, seed and threads.
    pub(super) flags: String,
    /// Of a width of 128.
    pub(super) rate: f64,
    pub(super) epochs: u64,
}

/// The loss of all claims; d has squared loss as well.
const ENTROPY: &str = "--loss cross-entropy";
/// Ten times those of a single run: features settle ten times as fast.
const STRONG: &str = "--layer-decay 5e-3 --feature-decay 1e-4";
const STEADY: &str = "--drop-at 0.6,0.85";
/// Twice this rate leaves the minimum again in some networks of a, d and f, and four times in one of three.
const SLOW_RATE: f64 = 2.5e-4;
/// Classes that share a classifier are a saddle if decays are a little below their threshold, and networks take long to
/// leave it: classes are told apart under weak decays first.
const RAMP: &str = "--decay-ramp 0.6 --drop-at 0.7,0.85";
const RAMP_RATE: f64 = 1e-3;
const EPOCHS: u64 = 300;
/// Under their full decay from the start, the features of whole classes die. Gaps halve in a hundred epochs and more once
/// decays have grown: with half the run for that and drops of the rate at 0.75 and 0.9, cross-entropy stopped at 1.5e-3.
const RELU: &str = "--relu-features --decay-ramp 0.4 --drop-at 0.9,0.97";

/// With drops at 0.6 and 0.85, gaps of f stopped at 2 % to 10 %: they halve in about a hundred epochs at the full rate.
const SETTLING: &str = "--drop-at 0.9,0.97";
/// Weight decay acts within 1/(rate times decay) steps, a tenth of that with the momentum of SGD: 420 epochs of SGD and
/// 330 of AdamW. At rates of 0.05 and 1e-3 a network of SGD diverged after 580 epochs, and AdamW lost samples again.
const LATE: &str = "--drop-at 0.8,0.95";

/// The decays of a single run.
const LAYER_DECAY: f64 = 5e-4;
const FEATURE_DECAY: f64 = 1e-5;

impl Trial {
    /// All that tells this network from a single run of the program.
    pub(super) fn all_flags(&self) -> String {
        format!("{} --learning-rate {:e}", self.flags, self.rate)
    }
}

impl Claim {
    /// The claim in a sentence.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::A => "Under cross-entropy, networks end at the minimum that convex optimization proves.",
            Self::B => {
                "Under cross-entropy, the rarest classes stay apart at 0.8 times the threshold of decay and share one \
                 classifier at 1.25 times. The threshold is that of squared loss."
            }
            Self::C => {
                "At one decay, class weights decide which classes share a classifier: without weights the rarest, with \
                 1/n the largest, with 1/root(n) none."
            }
            Self::D => "With features after a ReLU, class means end on orthogonal rays.",
            Self::DOpen => {
                "With features after a ReLU and one class that has most samples, the least with orthogonal class means \
                 is not the minimum: class means end beside orthogonal rays."
            }
            Self::E => {
                "Without a penalty of the features, the arrays imply a decay of theirs. The theory with that decay \
                 describes the network, if it comes to rest."
            }
            Self::F => {
                "Three linear layers under cross-entropy end at a minimum of free features, close to the lowest that \
                 descents find."
            }
        }
    }

    /// The networks for these data.
    pub(super) fn trials(self, data: &[String]) -> Result<Vec<Trial>> {
        let trial = |name: &str, epochs, rate, flags: String| Trial { name: name.into(), flags, rate, epochs };
        Ok(match self {
            Self::A => vec![trial("cross-entropy", 800, SLOW_RATE, format!("{ENTROPY} {STRONG} {STEADY}"))],
            Self::B => {
                let groups = groups(data, "none")?;
                let rarest = groups.last().context("--data: a claim on classes of one size needs two of them")?;
                [("below", 0.8), ("beyond", 1.25)]
                    .map(|(name, times)| {
                        trial(name, EPOCHS, RAMP_RATE, format!("{ENTROPY} {RAMP} {}", decays(times / rarest.q)))
                    })
                    .into()
            }
            Self::C => {
                let scale = telling_scale(data)?;
                let rule = |rule: &str| format!("{ENTROPY} {RAMP} --class-weights {rule} {}", decays(scale));
                ["none", "inverse-root", "inverse"].map(|name| trial(name, EPOCHS, RAMP_RATE, rule(name))).into()
            }
            Self::D => [("squared", "--loss squared"), ("cross-entropy", ENTROPY)]
                .map(|(name, loss)| trial(name, 4 * EPOCHS, SLOW_RATE, format!("{loss} {STRONG} {RELU}")))
                .into(),
            Self::DOpen => {
                // More than half of all samples are of one class.
                let counts = match data.first().map(String::as_str) {
                    Some("digits") => "150,9x9",
                    Some("cifar10") => "500,30x9",
                    _ => bail!("--data: d-open takes digits or cifar10, which have ten classes"),
                };
                let flags = format!("--loss squared {STRONG} {RELU} --counts {counts} --batch 110");
                vec![trial("one-large", 8 * EPOCHS, SLOW_RATE, flags)]
            }
            Self::E => [("sgd", 0.02, "--weight-decay 5e-4"), ("adamw", SLOW_RATE, "--weight-decay 0.5")]
                .map(|(name, rate, decay)| {
                    trial(name, 4 * EPOCHS, rate, format!("{ENTROPY} --optimizer {name} {decay} {LATE}"))
                })
                .into(),
            Self::F => {
                let decays = "--layer-decay 1e-3 --feature-decay 2e-5";
                vec![trial("three-layers", 1600, SLOW_RATE, format!("{ENTROPY} --layers 3 {decays} {SETTLING}"))]
            }
        })
    }
}

/// The flags of a network that is trained on these data, with the paper's counts if it has some for them.
pub(super) fn flags(data: &[String], others: &str) -> Result<Flags> {
    let profile = if data.first().is_some_and(|set| set == "idx") { "--profile emnist-letters " } else { "" };
    let words = ["imbalanced-mlp", "--data"].into_iter().map(String::from).chain(data.iter().cloned());
    let others = profile.split_whitespace().chain(others.split_whitespace());
    Ok(Flags::try_parse_from(words.chain(others.map(String::from)))?)
}

/// Both decays of a single run, times `scale`.
fn decays(scale: f64) -> String {
    format!("--layer-decay {:.3e} --feature-decay {:.3e}", scale * LAYER_DECAY, scale * FEATURE_DECAY)
}

/// The groups of several classes, by falling count, at the decays of a single run.
fn groups(data: &[String], rule: &str) -> Result<Vec<GroupContrast>> {
    // The width does not matter here.
    let flags = flags(data, &format!("--width 1 {ENTROPY} --class-weights {rule} {}", decays(1.0)))?;
    let set = flags.training_set()?;
    let law = flags.configuration(&set)?.ufm(&set.counts)?.contrasts()?;
    Ok(law.groups().iter().filter(|group| group.multiplicity() > 1).cloned().collect())
}

/// The decay at which each rule of weights has another fate, relative to that of a single run: beyond the thresholds of
/// the rarest classes without weights and of the largest with 1/n, and below that of all classes with 1/root(n).
fn telling_scale(data: &[String]) -> Result<f64> {
    let threshold = |rule: &str, largest: bool| -> Result<f64> {
        let groups = groups(data, rule)?;
        let group = if largest { groups.first() } else { groups.last() };
        Ok(1.0 / group.context("--data: a claim on classes of one size needs two of them")?.q)
    };
    let beyond = threshold("none", false)?.max(threshold("inverse", true)?);
    let below = threshold("inverse-root", true)?;
    ensure!(beyond < below, "--data: no decay tells the three rules of weights apart for these counts");
    Ok((beyond * below).sqrt())
}

#[cfg(test)]
mod tests {
    use neural_collapse::theory::Contrast;

    use super::*;

    /// Whom the theory lets collapse, for a trial of the digits.
    fn collapsed(trial: &Trial) -> Vec<u64> {
        let words = format!("imbalanced-mlp --width 8 {}", trial.all_flags());
        let flags = Flags::try_parse_from(words.split_whitespace()).unwrap();
        let set = flags.training_set().unwrap();
        let law = flags.configuration(&set).unwrap().ufm(&set.counts).unwrap().contrasts().unwrap();
        law.groups().iter().filter(|group| group.contrast == Contrast::Coincident).map(|group| group.count).collect()
    }

    #[test]
    fn the_rarest_classes_collapse_beyond_the_threshold_only() {
        let trials = Claim::B.trials(&["digits".into()]).unwrap();
        assert_eq!(trials.iter().map(collapsed).collect::<Vec<_>>(), [vec![], vec![30]]);
    }

    #[test]
    fn each_rule_of_weights_has_another_fate() {
        let trials = Claim::C.trials(&["digits".into()]).unwrap();
        // Counts 150, 120, 90, 60, 30, and thresholds √n/N, 1/Σ√n and 1/(K √n): decays of 9.4e-3 in the geometric mean.
        assert_eq!(trials.iter().map(collapsed).collect::<Vec<_>>(), [vec![60, 30], vec![], vec![150, 120]]);
    }
}
