//! The loop that all methods share: look at the point, tell the observer, stop or step.

use std::ops::ControlFlow;

use super::{
    criteria::Judge,
    journal::{Journal, infinite},
    run::{Progress, Run},
    state::{Options, State, UnderWay},
    step::Walk,
    stop::Stop,
    trajectory::{Record, Trajectory},
};
use crate::{model::Ufm, point::Point};

/// What stays the same along a run.
pub(crate) struct Course<'a> {
    pub(crate) ufm: &'a Ufm,
    pub(crate) options: Options,
    pub(crate) judge: Judge,
    pub(crate) trajectory: Trajectory,
    /// How the points of the walk make up points of the model. Its own parameters are not looked at.
    pub(crate) shape: Point,
}

/// Walks until there is a reason to stop: from the start, or from where the journal ends. The observer's value comes back
/// if it has broken the run off.
pub(crate) fn run<B>(
    course: Course<'_>,
    mut walk: impl Walk,
    journal: Option<Journal>,
    mut observer: impl FnMut(&Progress<'_>) -> ControlFlow<B>,
) -> (Run, Option<B>) {
    let Course { judge, trajectory, .. } = &course;
    let mut show = |walk: &_, record, step_size| observer(&course.progress(walk, record, step_size)).break_value();
    let mut broken = None;
    let mut journal = if let Some(mut journal) = journal {
        // The observer has seen this point already.
        journal.take_up(&mut walk, judge);
        journal
    } else {
        let journal = Journal::new(&mut walk, judge, *trajectory);
        broken = show(&walk, journal.last, 0.0);
        journal
    };
    let stop = loop {
        if let Some(stop) = judge.stop(&journal.last, journal.bound, broken.is_some()) {
            break stop;
        } else if journal.has_stalled {
            break Stop::Stalled;
        }
        let Some(step_size) = walk.step() else { break Stop::Stalled };
        journal.arrive(&mut walk, judge, *trajectory);
        broken = show(&walk, journal.last, step_size);
    };
    (course.end(walk, journal, stop), broken)
}

impl Course<'_> {
    fn progress<'a>(&'a self, walk: &'a impl Walk, record: Record, step_size: f64) -> Progress<'a> {
        let here = walk.points().0;
        let gap = self.judge.gap(record.objective);
        Progress { record, gap, step_size, columns: here.features.ncols(), here, shape: &self.shape }
    }

    fn end(self, mut walk: impl Walk, mut journal: Journal, stop: Stop) -> Run {
        // What follows is not part of a run that goes on.
        let evaluations = walk.evaluations();
        let best = journal.best_below_last();
        let is_known = stop == Stop::Gradient && best.is_none();
        let point = best.unwrap_or(walk.points().0).clone();
        let last = journal.last;
        // Measured anew the gradient could differ in its last bit from the one that has ended the run.
        let (objective, gradient_norm) =
            if is_known { (last.objective, last.gradient_norm) } else { walk.measure(&point) };
        let objective = infinite(objective);
        let mut run = Run {
            objective,
            gap: self.judge.gap(objective),
            gradient_norm: infinite(gradient_norm),
            steps: last.step,
            evaluations: walk.evaluations(),
            columns: point.features.ncols(),
            stop,
            trajectory: Vec::new(),
            point: self.shape.at(point),
            state: None,
        };
        if stop.can_go_on() {
            run.trajectory.clone_from(&journal.trajectory);
            let (ufm, options) = (self.ufm.clone(), self.options);
            let (here, memory) = walk.leave();
            let mut point = self.shape;
            point.parameters = here;
            run.state = Some(State::from(UnderWay { ufm, options, point, memory, journal, evaluations }));
        } else {
            run.trajectory = std::mem::take(&mut journal.trajectory);
        }
        run
    }
}
