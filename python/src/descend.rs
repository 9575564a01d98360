//! Descents, in a thread of their own: the thread of the caller answers Ctrl-C and calls back.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use neural_collapse::{
    Error, Parameters, Point, Ufm,
    critical::ending,
    descent::{Descent, Method, Progress, Run, StepSize, Variables},
    rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
    theory::Optimum,
};
use numpy::PyArray1;
use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};

use crate::{
    dict,
    errors::{refuse, refused},
    keywords::{ANY, Keywords, POSITIVE, wrong_type},
    model::Model,
    optimum::optimum,
    output::{array1, array2},
    threads::{detached, fault, pool},
};

/// How often Ctrl-C is looked for.
const PATIENCE: Duration = Duration::from_millis(50);

/// What says how to descend.
struct How<'py> {
    method: String,
    steps: usize,
    gap: f64,
    seed: u64,
    scale: f64,
    collapsed: bool,
    full: bool,
    variables: String,
    step_size: Option<f64>,
    callback: Option<Bound<'py, PyAny>>,
    every: usize,
}

impl<'py> How<'py> {
    fn new(keywords: Keywords<'_, 'py>) -> PyResult<Self> {
        Ok(Self {
            method: keywords.word("method", "gd, heavy-ball, nesterov, lbfgs, adam")?,
            steps: keywords.size("steps", ANY)?,
            gap: keywords.real("gap")?,
            seed: keywords.whole("seed", ANY)?,
            scale: keywords.real("scale")?,
            collapsed: keywords.flag("collapsed")?,
            full: keywords.flag("full")?,
            variables: keywords.word("variables", "balanced, plain")?,
            step_size: keywords.real_if_given("step_size")?,
            callback: keywords.given("callback")?.map(called).transpose()?,
            every: keywords.size("every", POSITIVE)?,
        })
    }
}

fn called(callback: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    if callback.is_callable() {
        Ok(callback)
    } else {
        Err(wrong_type("callback", &callback, "a function of one argument"))
    }
}

/// Where a descent is.
#[derive(Clone, Copy, Debug)]
struct Shown {
    number: usize,
    objective: f64,
    gradient_norm: f64,
    gap: Option<f64>,
    length: f64,
}

impl Shown {
    fn new(progress: &Progress<'_>) -> Self {
        Self {
            number: progress.record.step,
            objective: progress.record.objective,
            gradient_norm: progress.record.gradient_norm,
            gap: progress.gap,
            length: progress.step_size,
        }
    }

    fn as_dict(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        Ok(dict!(py, {
            "step": self.number,
            "objective": self.objective,
            "gradient_norm": self.gradient_norm,
            "gap": self.gap,
            "step_size": self.length,
        }))
    }
}

/// A descent in its thread, and the two ends of the conversation with it.
struct Worker {
    thread: JoinHandle<Result<Run, Error>>,
    steps: Receiver<Shown>,
    answers: Sender<bool>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn start(descent: Descent, ufm: Ufm, start: Point, every: Option<usize>) -> PyResult<Self> {
        let (pool, stop) = (pool()?, Arc::new(AtomicBool::new(false)));
        let (sender, steps) = mpsc::channel();
        let (answers, receiver) = mpsc::channel();
        let flag = stop.clone();
        let thread = std::thread::Builder::new().name("ncollapse-descend".into()).spawn(move || {
            pool.install(move || {
                descent.minimize_observed(&ufm, start, |progress| {
                    let is_shown = every.is_some_and(|every| progress.record.step.is_multiple_of(every));
                    // A caller that is gone wants no more steps.
                    let goes_on = !is_shown
                        || (sender.send(Shown::new(progress)).is_ok() && receiver.recv().is_ok_and(|goes_on| goes_on));
                    if goes_on && !flag.load(Ordering::Relaxed) {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                })
            })
        });
        let thread = thread.map_err(|error| refuse(format!("threads: {error}")))?;
        Ok(Self { thread, steps, answers, stop })
    }

    /// Waits for the end; calls back at every step that is shown.
    fn wait(mut self, py: Python<'_>, callback: Option<&Bound<'_, PyAny>>) -> PyResult<Run> {
        let mut raised = None;
        loop {
            let steps = &mut self.steps;
            match py.detach(move || steps.recv_timeout(PATIENCE)) {
                Ok(step) => {
                    let answer = match callback {
                        Some(callback) => step.as_dict(py).and_then(|step| callback.call1((step,))?.is_truthy()),
                        None => Ok(false),
                    };
                    let ends = answer.unwrap_or_else(|error| {
                        raised = Some(error);
                        true
                    });
                    // It has ended by itself if nobody listens.
                    let _ = self.answers.send(!ends);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Err(error) = py.check_signals() {
                raised = Some(error);
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        let thread = self.thread;
        let run = py.detach(move || thread.join());
        match (raised, run) {
            (Some(error), _) => Err(error),
            (None, Ok(run)) => run.map_err(refused),
            (None, Err(panic)) => Err(fault(&*panic)),
        }
    }
}

fn start(ufm: &Ufm, keywords: &How<'_>, method: Method) -> Result<Point, Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(keywords.seed);
    if keywords.collapsed {
        Point::collapsed(ufm, keywords.scale, &mut rng)
    } else if keywords.full || !method.is_equivariant() {
        Parameters::gaussian(ufm, keywords.scale, &mut rng).map(Point::from)
    } else {
        Point::gaussian(ufm, keywords.scale, &mut rng)
    }
}

fn descent(keywords: &How<'_>, method: Method, optimum: Option<&Optimum>) -> Result<Descent, Error> {
    let mut descent = Descent::new(method)
        .with_gap_tolerance(keywords.gap)
        .with_step_limit(keywords.steps)
        .with_reduction(!keywords.full)
        .with_variables(keywords.variables.parse::<Variables>()?);
    if let Some(optimum) = optimum {
        descent = descent.with_optimum(optimum.objective());
    }
    if let Some(step) = keywords.step_size {
        descent = descent.with_step_size(StepSize::Fixed(step));
    }
    Ok(descent)
}

/// Descends, and gives the run as a dictionary.
#[pyfunction]
pub(crate) fn descend<'py>(
    py: Python<'py>,
    model: &Bound<'py, PyAny>,
    keywords: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let model = Model::new(model)?;
    let keywords = How::new(Keywords::new(keywords)?)?;
    let ufm = &model.ufm;
    if keywords.collapsed && keywords.full {
        return Err(refuse("collapsed and full: both given, accepted is one of them, or neither"));
    }
    let method: Method = keywords.method.parse().map_err(refused)?;
    let known = match detached(py, || optimum(&model))? {
        // Of some nonnegative features only an interval is known, below whose upper end a run may come.
        Ok(optimum) => Some(optimum).filter(Optimum::is_proved),
        // Then there is only the descent.
        Err(Error::NoCertificate { .. } | Error::WidthBelowRank { .. } | Error::GapNotReached { .. }) => None,
        Err(error) => return Err(refused(error)),
    };
    let descent = descent(&keywords, method, known.as_ref()).map_err(refused)?;
    let start = start(ufm, &keywords, method).map_err(refused)?;
    let every = keywords.callback.as_ref().map(|_| keywords.every);
    let begin = Instant::now();
    let run = Worker::start(descent, ufm.clone(), start, every)?.wait(py, keywords.callback.as_ref())?;
    let seconds = begin.elapsed().as_secs_f64();
    describe(py, &model, known.as_ref(), &run, seconds)
}

fn describe<'py>(
    py: Python<'py>,
    model: &Model,
    known: Option<&Optimum>,
    run: &Run,
    seconds: f64,
) -> PyResult<Bound<'py, PyDict>> {
    let ending = match known {
        Some(Optimum::Closed(minimizer)) => {
            detached(py, || ending(minimizer, run))?.map_or_else(|_| run.stop.to_string(), |ending| ending.to_string())
        }
        _ => run.stop.to_string(),
    };
    let weights = run.point.weights();
    let weights = weights.iter().map(|layer| array2(py, layer.as_ref())).collect::<PyResult<Vec<_>>>()?;
    let means = run.point.class_means(&model.ufm).map_err(refused)?;
    let records = &run.trajectory;
    let column = |of: fn(&neural_collapse::descent::Record) -> f64| {
        PyArray1::from_vec(py, records.iter().map(of).collect::<Vec<f64>>())
    };
    let steps: Vec<u64> = records.iter().map(|record| record.step as u64).collect();
    Ok(dict!(py, {
        "objective": run.objective,
        "loss": model.loss(run.objective),
        "optimum": known.map(Optimum::objective),
        "gap": run.gap,
        "gradient_norm": run.gradient_norm,
        "steps": run.steps,
        "evaluations": run.evaluations,
        "stop": run.stop.name(),
        "ending": ending,
        "advice": run.stop.advice(),
        "is_converged": run.stop.is_converged(),
        "seconds": seconds,
        "weights": PyList::new(py, weights)?,
        "class_means": array2(py, means.transpose())?,
        "bias": run.point.bias().map(|bias| array1(py, bias)),
        "trajectory": dict!(py, {
            "step": PyArray1::from_vec(py, steps),
            "objective": column(|record| record.objective),
            "gradient_norm": column(|record| record.gradient_norm),
        }),
    }))
}
