//! What a pass is given: what all parts share, and what is to be done with the columns.

use faer::{ColRef, MatMut, MatRef};
use pulp::Arch;

use super::entrywise::Step;
use crate::{loss::OutputLoss, targets::Targets};

/// What all parts share during a pass.
pub(crate) struct Constants<'a> {
    pub(crate) arch: Arch,
    /// S_1ᵀ, and the transposed product of the layers after the waist.
    pub(crate) inner: MatRef<'a, f64>,
    pub(crate) outer: Option<MatRef<'a, f64>>,
    /// Added to every output: the bias, for the plain squared loss minus the constant of smoothed labels.
    pub(crate) shift: ColRef<'a, f64>,
    /// The label of a sample's own class, minus the constant of smoothed labels.
    pub(crate) label: f64,
    pub(crate) loss: &'a OutputLoss,
    pub(crate) targets: &'a Targets,
    pub(crate) samples: f64,
    pub(crate) feature_decay: f64,
}

/// What a pass does on top of the objective.
#[derive(Debug)]
pub(crate) enum Task<'a> {
    Objective,
    /// Writes ∂f/∂H.
    Gradient(MatMut<'a, f64>),
    /// Writes the next features.
    Advance {
        step: Step,
        /// The point before this one.
        previous: MatRef<'a, f64>,
        next: MatMut<'a, f64>,
    },
}

impl<'a> Task<'a> {
    /// The task for the first `size` columns, and for the others.
    pub(crate) fn split_at(self, size: usize) -> (Self, Self) {
        match self {
            Self::Objective => (Self::Objective, Self::Objective),
            Self::Gradient(gradient) => {
                let (own, others) = gradient.split_at_col_mut(size);
                (Self::Gradient(own), Self::Gradient(others))
            }
            Self::Advance { step, previous, next } => {
                let ((own_previous, other_previous), (own_next, other_next)) =
                    (previous.split_at_col(size), next.split_at_col_mut(size));
                (
                    Self::Advance { step, previous: own_previous, next: own_next },
                    Self::Advance { step, previous: other_previous, next: other_next },
                )
            }
        }
    }

    /// The step and the point before, if the gradient is to be taken ahead of the point.
    pub(crate) fn ahead(&self) -> Option<(Step, MatRef<'a, f64>)> {
        match self {
            Self::Advance { step, previous, .. } if step.carry.is_ahead() => Some((*step, *previous)),
            _ => None,
        }
    }
}
