//! From a start, or from where another run has been broken off, to the walk of the method.

use std::ops::ControlFlow;

use super::{
    adam::{AdamWalk, Rates},
    criteria::{Criteria, Judge},
    journal::Journal,
    kernel::Kernel,
    lbfgs::LbfgsWalk,
    memory::Memory,
    method::Method,
    momentum::MomentumWalk,
    run::{Progress, Run},
    state::{Inner, Options, State, UnderWay},
    step::{Ground, Stage},
    trajectory::Trajectory,
    variables::{Scales, longest_step},
    walk::{Course, run},
};
use crate::{
    error::Error,
    model::Ufm,
    parameters::Parameters,
    point::{Point, PointRef},
};

/// What a run begins with.
pub(crate) struct Departure<'a> {
    ufm: &'a Ufm,
    options: Options,
    point: Point,
    memory: Memory,
    journal: Option<Journal>,
    evaluations: usize,
}

impl<'a> Departure<'a> {
    pub(crate) fn new(ufm: &'a Ufm, options: Options, start: State) -> Result<Self, Error> {
        match start.inner {
            Inner::Start(start) => {
                start.check(ufm)?;
                let point = if options.reduced { start.smallest(ufm)? } else { start.largest(ufm)? };
                let longest = longest_step(options.variables, ufm);
                let memory = Memory::new(options.method, options.step_size, longest, &point.parameters);
                Ok(Self { ufm, options, point, memory, journal: None, evaluations: 0 })
            }
            Inner::UnderWay(run) => {
                run.check_belongs(ufm, &options)?;
                let UnderWay { point, memory, journal, evaluations, .. } = *run;
                Ok(Self { ufm, options, point, memory, journal: Some(journal), evaluations })
            }
        }
    }

    /// The run, and the value of the observer that has broken it off.
    pub(crate) fn run<B>(
        self,
        criteria: Criteria,
        trajectory: Trajectory,
        observer: impl FnMut(&Progress<'_>) -> ControlFlow<B>,
    ) -> Result<(Run, Option<B>), Error> {
        let Self { ufm, options, point: mut shape, memory, journal, evaluations } = self;
        let model = shape.model(ufm);
        let ground = Ground {
            kernel: Kernel::new(&model, &PointRef::from(&shape).compared_with(ufm)),
            // The same scales for any widths: those of the model itself.
            scales: Scales::new(options.variables, ufm),
            step_rule: options.step_size,
        };
        let point = std::mem::replace(&mut shape.parameters, Parameters::empty());
        let steps = journal.as_ref().map_or(0, |journal| journal.last.step);
        let stage = Stage { point, steps, evaluations };
        let scale = Some(ufm.objective_at_zero()).filter(|scale| *scale > 0.0).unwrap_or(1.0);
        let judge = Judge { criteria, schedule: options.step_size, scale };
        let course = Course { ufm, options, judge, trajectory, shape };
        Ok(match (options.method, memory) {
            (Method::Lbfgs { memory: most }, Memory::Lbfgs(memory)) => {
                run(course, LbfgsWalk::new(most, ground, stage, memory), journal, observer)
            }
            (Method::Adam { beta_1, beta_2, epsilon }, Memory::Adam(memory)) => {
                let rates = Rates { first: beta_1, second: beta_2, epsilon };
                run(course, AdamWalk::new(rates, ground, stage, memory), journal, observer)
            }
            (method, Memory::Momentum(memory)) => {
                run(course, MomentumWalk::new(method, ground, stage, memory), journal, observer)
            }
            (method, memory) => return Err(memory.is_not_of(method)),
        })
    }
}
