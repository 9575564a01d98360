//! What each method remembers from step to step besides the point. It is all that a walk that goes on needs to be the same
//! walk: what is not here is computed again from the point.

use std::collections::VecDeque;

use super::method::{Method, Momentum, StepSize};
use crate::{error::Error, parameters::Parameters};

/// The default step size of Adam.
const CUSTOMARY_STEP: f64 = 1e-3;

/// The memory of a walk, by the kind of its method.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub(crate) enum Memory {
    Momentum(MomentumMemory),
    Lbfgs(LbfgsMemory),
    Adam(AdamMemory),
}

/// Of gradient descent, heavy ball and Nesterov's method.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct MomentumMemory {
    /// p, the point before the last step; at a start the start.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::point::read_blocks"))]
    pub(crate) previous: Parameters,
    pub(crate) momentum: Momentum,
    /// β of the next step.
    pub(crate) beta: f64,
    /// η of the next step.
    pub(crate) step_size: f64,
    /// The factor by which η grows after a step.
    pub(crate) growth: f64,
    /// The last η that was tested against more than rounding.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(crate) told_step: f64,
    /// Consecutive steps whose promise was below rounding.
    pub(crate) drowned: usize,
    /// The objective at the start, which automatic steps never exceed.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(crate) bound: f64,
    /// ‖x - p‖² in the variables of the descent.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(crate) displacement_square: f64,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct LbfgsMemory {
    /// The step along the negative gradient that a search without pairs begins with.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(crate) steepest: f64,
    pub(crate) pairs: VecDeque<Pair>,
}

/// A displacement s, the change y of the gradient along it, and 1/<s, y>.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct Pair {
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::point::read_blocks"))]
    pub(crate) displacement: Parameters,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::point::read_blocks"))]
    pub(crate) change: Parameters,
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(crate) inverse: f64,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct AdamMemory {
    /// η of automatic steps.
    pub(crate) automatic: f64,
    /// The objective at the start, which automatic steps stay below.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(crate) bound: f64,
    /// The running mean of the gradient, in the variables of the descent.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::point::read_blocks"))]
    pub(crate) first: Parameters,
    /// The running mean of its square.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::point::read_blocks"))]
    pub(crate) second: Parameters,
    /// The steps that the means have seen, t.
    pub(crate) age: usize,
}

impl Memory {
    /// The memory at a start. `longest` is the first step to try if steps are automatic.
    pub(crate) fn new(method: Method, step_rule: StepSize, longest: f64, start: &Parameters) -> Self {
        match method {
            Method::Lbfgs { .. } => Self::Lbfgs(LbfgsMemory { steepest: longest, pairs: VecDeque::new() }),
            Method::Adam { .. } => {
                let mut zero = start.clone();
                zero.blocks_mut().for_each(|mut block| block.fill(0.0));
                Self::Adam(AdamMemory {
                    automatic: CUSTOMARY_STEP,
                    bound: f64::INFINITY,
                    first: zero.clone(),
                    second: zero,
                    age: 0,
                })
            }
            _ => Self::Momentum(MomentumMemory {
                previous: start.clone(),
                momentum: Momentum::new(),
                beta: 0.0,
                step_size: step_rule.at(0).unwrap_or(longest),
                growth: 2.0,
                told_step: f64::INFINITY,
                drowned: 0,
                bound: f64::INFINITY,
                displacement_square: 0.0,
            }),
        }
    }

    /// That a method has another kind of memory.
    pub(crate) fn is_not_of(&self, method: Method) -> Error {
        let kind = match self {
            Self::Momentum(_) => "a method with momentum",
            Self::Lbfgs(_) => "lbfgs",
            Self::Adam(_) => "adam",
        };
        Error::OtherState { what: "method", expected: method.to_string(), found: kind.to_owned() }
    }
}

#[cfg(feature = "serde")]
mod checks {
    use super::{AdamMemory, LbfgsMemory, Memory, MomentumMemory};
    use crate::{
        descent::method::Method,
        error::{Error, check_not_negative},
        parameters::Parameters,
    };

    impl Memory {
        /// Whether a run of this method can have left this after so many steps.
        pub(crate) fn check(&self, method: Method, steps: usize) -> Result<(), Error> {
            match (method, self) {
                (Method::Lbfgs { memory: most }, Self::Lbfgs(memory)) => memory.check(most),
                (Method::Adam { .. }, Self::Adam(memory)) => memory.check(steps),
                (Method::GradientDescent | Method::HeavyBall { .. } | Method::Nesterov, Self::Momentum(memory)) => {
                    memory.check(steps)
                }
                _ => Err(self.is_not_of(method)),
            }
        }

        /// Everything in it that has the shape of a point.
        pub(crate) fn points(&self) -> Vec<&Parameters> {
            match self {
                Self::Momentum(memory) => vec![&memory.previous],
                Self::Lbfgs(memory) => {
                    memory.pairs.iter().flat_map(|pair| [&pair.displacement, &pair.change]).collect()
                }
                Self::Adam(memory) => vec![&memory.first, &memory.second],
            }
        }
    }

    /// Accepts numbers in this range, not NaN. Infinity is in a range that has no end.
    fn check_within(
        argument: &'static str,
        value: f64,
        range: impl std::ops::RangeBounds<f64>,
        accepted: &'static str,
    ) -> Result<(), Error> {
        if range.contains(&value) { Ok(()) } else { Err(Error::Domain { argument, value, accepted }) }
    }

    impl MomentumMemory {
        fn check(&self, steps: usize) -> Result<(), Error> {
            check_within("t of the momentum", self.momentum.t(), 1.0..f64::INFINITY, "finite numbers >= 1")?;
            check_within("momentum of the next step", self.beta, 0.0..1.0, "0 <= momentum < 1")?;
            check_not_negative("next step size", self.step_size)?;
            check_within("growth of the step size", self.growth, 1.0..=2.0, "1 <= growth <= 2")?;
            check_within("last step size that was tested", self.told_step, 0.0.., "numbers >= 0")?;
            check_within("bound of the objective", self.bound, 0.0.., "numbers >= 0")?;
            check_within("squared displacement", self.displacement_square, 0.0.., "numbers >= 0")?;
            let drowned = self.drowned as f64;
            check_within("steps below rounding", drowned, ..=steps as f64, "at most the steps of the run")
        }
    }

    impl LbfgsMemory {
        fn check(&self, most: usize) -> Result<(), Error> {
            let pairs = self.pairs.len() as f64;
            check_within("pairs that are remembered", pairs, ..=most as f64, "at most the memory of the method")?;
            check_within("step along the negative gradient", self.steepest, 0.0.., "numbers >= 0")?;
            let mut inverses = self.pairs.iter().map(|pair| pair.inverse);
            inverses.try_for_each(|inverse| check_within("inverse curvature of a pair", inverse, 0.0.., "numbers >= 0"))
        }
    }

    impl AdamMemory {
        fn check(&self, steps: usize) -> Result<(), Error> {
            check_not_negative("automatic step size", self.automatic)?;
            check_within("bound of the objective", self.bound, 0.0.., "numbers >= 0")?;
            check_within("age of the means", self.age as f64, ..=steps as f64, "at most the steps of the run")?;
            let squares =
                self.second.blocks().flat_map(|block| block.col_iter().flat_map(|column| column.iter().copied()));
            for square in squares {
                check_not_negative("mean of squared gradients", square)?;
            }
            Ok(())
        }
    }
}
