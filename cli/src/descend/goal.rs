//! What a descent is to reach: the optimum, or why it is not known.

use neural_collapse::{
    Error, Ufm,
    critical::ending,
    descent::Run,
    theory::{Minimizer, Optimum},
};

use crate::shared::certificate::explained;

/// The relative gap up to which a point is called a global minimum, as in `critical::ending`.
const MINIMUM: f64 = 1e-8;

/// The global minimum, or why it is not known.
pub(super) struct Goal(Result<Optimum, String>);

/// A minimum that is proved by a bound.
fn certified(objective: f64, gap: f64) -> (&'static str, String) {
    ("minimum (certified)", format!("{objective:.15e}, proved to {:.0e} of it", gap.abs()))
}

impl Goal {
    pub(super) fn new(ufm: &Ufm) -> Result<Self, Error> {
        Ok(Self(match ufm.optimum() {
            // A descent can go below it: an interval is no minimum.
            Ok(Optimum::Nonnegative(point)) if !point.is_proved() => Err(format!(
                "between {:.6e}, which no point is below, and {:.6e} with orthogonal class means",
                point.lower_bound(),
                point.objective()
            )),
            Ok(optimum) => Ok(optimum),
            Err(error) if ufm.has_closed_form() => return Err(error),
            Err(error) => Err(explained(&error)),
        }))
    }

    /// The optimum, if it is known.
    pub(super) fn optimum(&self) -> Option<&Optimum> {
        self.0.as_ref().ok()
    }

    /// The closed form: what the metrics of neural collapse need.
    pub(super) fn closed(&self) -> Option<&Minimizer> {
        if let Ok(Optimum::Closed(minimizer)) = &self.0 { Some(minimizer) } else { None }
    }

    /// The least objective, if it is known.
    pub(super) fn objective(&self) -> Option<f64> {
        self.optimum().map(Optimum::objective)
    }

    /// The minimum for the table, and where it comes from.
    pub(super) fn row(&self) -> (&'static str, String) {
        match &self.0 {
            Ok(Optimum::Certified(minimizer)) => certified(minimizer.objective(), minimizer.gap()),
            // In closed form.
            Ok(optimum) if optimum.gap() == 0.0 => ("minimum (theory)", format!("{:.15e}", optimum.objective())),
            Ok(optimum) => certified(optimum.objective(), optimum.gap()),
            Err(why) => ("minimum", format!("not known: {why}")),
        }
    }

    /// How a run has ended.
    pub(super) fn ending(&self, run: &Run) -> Result<String, Error> {
        Ok(match self.closed() {
            Some(minimizer) => ending(minimizer, run)?.to_string(),
            None if run.gap.is_some_and(|gap| gap <= MINIMUM) => "global minimum".into(),
            None => run.stop.to_string(),
        })
    }
}
