//! The results of a run: as a table for people, as JSON for scripts.

use neural_collapse::{
    PointRef,
    descent::{Method, Record, Run, Stop},
    metrics::{Collapse, collapse, distance},
    theory::Optimum,
};
use serde_json::json;

use super::{Flags, goal::Goal};

/// Points of a trajectory that JSON and figures show at most.
const MOST_POINTS: usize = 1000;

/// A run and what is reported of it.
pub(crate) struct Report {
    pub(crate) goal: Goal,
    pub(crate) samples: u64,
    pub(crate) run: Run,
    pub(crate) ending: String,
    pub(crate) measured: Measured,
    /// What was measured at some of the steps, for a figure.
    pub(crate) measurements: Vec<(usize, Measured)>,
    pub(crate) seconds: f64,
    pub(crate) seconds_per_step: f64,
}

/// A point compared with the minimizers of the closed form.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) distance: Option<f64>,
    pub(crate) collapse: Option<Collapse>,
}

impl Measured {
    pub(crate) fn new<'a>(goal: &Goal, point: impl Into<PointRef<'a>>) -> Result<Self, neural_collapse::Error> {
        let point = point.into();
        let Some(minimizer) = goal.closed() else { return Ok(Self::default()) };
        Ok(Self {
            distance: distance(minimizer, point)?.map(|distance| distance.largest()),
            collapse: Some(collapse(minimizer, point)?),
        })
    }

    /// Their names, as in the table and in the figure, and their colors.
    pub(crate) fn lines(&self) -> [(&'static str, &'static str, Option<f64>); 5] {
        let of = |number: fn(&Collapse) -> Option<f64>| self.collapse.as_ref().and_then(number);
        [
            ("distance", "#444444", self.distance),
            ("NC1", "#cc3344", of(|collapse| collapse.nc1)),
            ("NC2 classifier", "#22aa66", of(|collapse| collapse.nc2_classifier)),
            ("NC2 features", "#88bb22", of(|collapse| collapse.nc2_features)),
            ("NC3", "#8844aa", of(|collapse| collapse.nc3)),
        ]
    }
}

/// The first, the last, and what lies between in equal strides.
pub(crate) fn thinned(trajectory: &[Record]) -> Vec<&Record> {
    let stride = trajectory.len().div_ceil(MOST_POINTS - 1).max(1);
    let (Some(last), all) = (trajectory.last(), trajectory.iter().step_by(stride)) else { return Vec::new() };
    all.filter(|record| record.step != last.step).chain([last]).collect()
}

pub(crate) fn as_json(flags: &Flags, report: &Report) -> serde_json::Value {
    let Report { goal, run, .. } = report;
    let optimum = goal.optimum();
    let [distance, nc1, classifier, features, product] = report.measured.lines().map(|(_, _, number)| number);
    let alignment = report.measured.collapse.as_ref().and_then(|collapse| collapse.alignment);
    let name = flags.method.name();
    let trajectory = thinned(&run.trajectory)
        .into_iter()
        .map(|record| json!({ "step": record.step, "objective": record.objective, "gradient": record.gradient_norm }));
    json!({
        "method": name,
        "steps": run.steps,
        "evaluations": run.evaluations,
        "columns": run.columns,
        "seconds": report.seconds,
        "seconds_per_step": report.seconds_per_step,
        "objective": run.objective,
        "optimum": goal.objective(),
        "gap": run.gap,
        "stop": stop(run.stop),
        "rank": optimum.map(Optimum::rank),
        "unique": optimum.and_then(Optimum::is_unique),
        "ending": report.ending,
        "distance": distance,
        "nc1": nc1,
        "nc2": { "classifier": classifier, "features": features },
        "nc3": { "product": product, "alignment": alignment },
        "trajectory": trajectory.collect::<Vec<_>>(),
    })
}

pub(crate) fn as_table(flags: &Flags, report: &Report) -> String {
    let Report { goal, samples, run, ending, measured, seconds, seconds_per_step, .. } = report;
    let name = flags.method.to_string();
    let rows = [
        ("method", name),
        ("columns of features", format!("{} for {samples} samples", run.columns)),
        ("steps", format!("{}, {} evaluations", run.steps, run.evaluations)),
        ("seconds", format!("{seconds:.3}, {:.3} ms a step", 1e3 * seconds_per_step)),
        goal.row(),
        ("reached", format!("{:.15e}", run.objective)),
    ];
    let gap = run.gap.map(|gap| ("relative gap", format!("{gap:.2e}")));
    let rank = goal.optimum().map(|optimum| ("rank of the minimizer", optimum.rank().to_string()));
    let gradient = Some(("gradient", format!("{:.2e}", run.gradient_norm)));
    let ending = Some(("ending", ending.clone()));
    // What would have helped, and what the numbers below mean.
    let hint = (run.stop == Stop::StepLimit).then(|| ("", ways_out(flags)));
    let ties = "the minimizer is not unique (see `predict`): distance, NC2 and NC3 need not be zero";
    let ties = (goal.optimum().and_then(Optimum::is_unique) == Some(false)).then_some(("", ties.into()));
    let rows = rows.into_iter().chain([gap, gradient, rank, ending, hint, ties].into_iter().flatten());
    let number = |value: Option<f64>| value.map_or_else(|| "undefined".into(), |value| format!("{value:.2e}"));
    // Without a closed form nothing is measured.
    let measured = measured.collapse.as_ref().map(|_| measured.lines().map(|(name, _, value)| (name, number(value))));
    let lines: Vec<_> =
        rows.chain(measured.into_iter().flatten()).map(|(key, value)| format!("{key:<22} {value}\n")).collect();
    lines.concat()
}

/// What needs fewer steps, where their limit came before the optimum.
fn ways_out(flags: &Flags) -> String {
    let ways = [
        ("--method lbfgs", !matches!(flags.method, Method::Lbfgs { .. })),
        ("--collapsed", !flags.collapsed && !flags.full),
        ("a smaller --scale", flags.scale > 1.0),
    ];
    let ways: Vec<_> = ways.into_iter().filter_map(|(way, is_left)| is_left.then_some(way)).collect();
    if ways.is_empty() {
        return "the step limit came first: more --steps are needed".into();
    }
    format!("the step limit came first: {} needs fewer steps", ways.join(" or "))
}

/// A stop in a word or two; what ends a run here by its observer is Ctrl-C.
fn stop(stop: Stop) -> &'static str {
    if stop == Stop::Observer { "interrupted" } else { stop.name() }
}
