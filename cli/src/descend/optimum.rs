//! What a descent is compared with: the closed form, the certified minimizer, or nothing.

use neural_collapse::{
    Error, Ufm,
    critical::ending,
    descent::Run,
    theory::{Certified, Minimizer},
};

use crate::shared::certificate::certified;

/// The relative gap up to which a point is called a global minimum, as in `critical::ending`.
const MINIMUM: f64 = 1e-8;

/// The global minimum, as far as it is known.
pub(super) enum Optimum {
    Closed(Box<Minimizer>),
    Certified(Box<Certified>),
    /// Neither: why not.
    Unknown(String),
}

impl Optimum {
    pub(super) fn new(ufm: &Ufm) -> Result<Self, Error> {
        if ufm.has_closed_form() {
            return Ok(Self::Closed(Box::new(ufm.minimizer()?)));
        }
        Ok(match certified(ufm) {
            Ok(minimizer) => Self::Certified(Box::new(minimizer)),
            Err(why) => Self::Unknown(why),
        })
    }

    /// The closed form: what the metrics of neural collapse need.
    pub(super) fn closed(&self) -> Option<&Minimizer> {
        if let Self::Closed(minimizer) = self { Some(minimizer) } else { None }
    }

    pub(super) fn objective(&self) -> Option<f64> {
        match self {
            Self::Closed(minimizer) => Some(minimizer.objective()),
            Self::Certified(minimizer) => Some(minimizer.objective()),
            Self::Unknown(_) => None,
        }
    }

    pub(super) fn rank(&self) -> Option<usize> {
        match self {
            Self::Closed(minimizer) => Some(minimizer.rank()),
            Self::Certified(minimizer) => Some(minimizer.rank()),
            Self::Unknown(_) => None,
        }
    }

    /// Whether the minimizer is unique up to the gauge.
    pub(super) fn is_unique(&self) -> Option<bool> {
        match self {
            Self::Closed(minimizer) => Some(minimizer.is_unique()),
            Self::Certified(_) => Some(true),
            Self::Unknown(_) => None,
        }
    }

    /// The minimum for the table, and where it comes from.
    pub(super) fn row(&self) -> (&'static str, String) {
        match self {
            Self::Closed(minimizer) => ("minimum (theory)", format!("{:.15e}", minimizer.objective())),
            Self::Certified(minimizer) => {
                let (objective, gap) = (minimizer.objective(), minimizer.gap());
                ("minimum (certified)", format!("{objective:.15e}, proved to {:.0e} of it", gap.abs()))
            }
            Self::Unknown(why) => ("minimum", format!("not known: {why}")),
        }
    }

    /// How a run has ended.
    pub(super) fn ending(&self, run: &Run) -> Result<String, Error> {
        Ok(match self {
            Self::Closed(minimizer) => ending(minimizer, run)?.to_string(),
            Self::Certified(_) if run.gap.is_some_and(|gap| gap <= MINIMUM) => "global minimum".into(),
            _ => run.stop.to_string(),
        })
    }
}
