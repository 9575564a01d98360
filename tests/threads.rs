//! Models and runs are shared between threads, inside and outside of a caller's own pool.

use neural_collapse::{
    Block, ClassCounts, Error, FeatureConvention, Group, Layer, LossConvention, Parameters, Point, PointRef, Targets,
    TrainingConvention, Ufm,
    critical::{Difference, Ending, Escape},
    descent::{Descent, Method, Progress, Record, Run, State, StepSize, Stop, Trajectory, Variables},
    linalg::Svd,
    metrics::{
        Collapse, FeatureAccumulator, FeatureStatistics, FrameDistances, Nc1Convention, NearestCenter,
        ScatterAccumulator, SingularValues,
    },
    theory::{
        Direction, Fate, Geometry, Goal, Gram, GroupFate, LabelSpectrum, Level, Minimizer, Spectrum, Tie,
        scalar::{ScalarMinimizer, Shrinkage},
    },
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rayon::prelude::*;

/// Wide enough that a step is worth more than one thread.
fn model() -> Ufm {
    Ufm::new("150x2,100x2,50x4".parse::<ClassCounts>().unwrap(), [Layer::new(64, 5e-4); 2], 1e-5).unwrap()
}

fn run(ufm: &Ufm, seed: u64) -> f64 {
    let start = Parameters::gaussian(ufm, 0.5, &mut Xoshiro256PlusPlus::seed_from_u64(seed)).unwrap();
    let descent = Descent::default().with_reduction(seed.is_multiple_of(2)).with_step_limit(20);
    descent.minimize(ufm, start).unwrap().objective
}

#[test]
fn many_runs_at_once_are_the_same_as_one_after_the_other() {
    let ufm = model();
    let alone: Vec<f64> = (0..8).map(|seed| run(&ufm, seed)).collect();
    // Inside a pool of the caller's, of one thread, of two and of more than there are cores.
    for threads in [1, 2, 16] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let nested: Vec<f64> = pool.install(|| (0..8).into_par_iter().map(|seed| run(&ufm, seed)).collect());
        assert_eq!(nested, alone, "{threads} threads");
    }
    // From threads that no pool knows of.
    let threads: Vec<f64> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|seed| scope.spawn(move || run(&model(), seed))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(threads, alone);
}

/// Random frames and what two blocks span are decompositions, large enough here for more than one thread.
#[test]
fn random_starts_do_not_depend_on_the_number_of_threads() {
    let layers = [Layer::new(700, 5e-4), Layer::new(500, 5e-4)];
    let ufm = Ufm::new(ClassCounts::balanced(400, 3).unwrap(), layers, 1e-5).unwrap();
    let minimizer = ufm.minimizer().unwrap();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let rng = &mut Xoshiro256PlusPlus::seed_from_u64(0);
            (minimizer.random_parameters(rng).unwrap(), Point::collapsed(&ufm, 1.0, rng).unwrap())
        })
    };
    let one = with(1);
    for threads in [2, 5] {
        assert!(with(threads) == one, "{threads} threads");
    }
}

#[test]
fn everything_is_sent_and_shared() {
    fn is_shared<T: Send + Sync + std::fmt::Debug + 'static>() {}
    is_shared::<(ClassCounts, Group<'static>, Layer, Targets, Ufm, Parameters, Block, Error)>();
    is_shared::<(LossConvention, FeatureConvention, TrainingConvention)>();
    is_shared::<(Minimizer, Direction, Fate, GroupFate, Tie, Goal, Geometry, Gram)>();
    is_shared::<(Spectrum, LabelSpectrum, Level, Svd, Shrinkage, ScalarMinimizer)>();
    is_shared::<(Descent, Method, StepSize, Variables, Stop, Point, PointRef<'static>)>();
    is_shared::<(Run, Record, State, Trajectory, Progress<'static>)>();
    is_shared::<(FeatureAccumulator, ScatterAccumulator, FeatureStatistics, NearestCenter, Nc1Convention)>();
    is_shared::<(Collapse, FrameDistances, SingularValues, Escape, Difference, Ending)>();
}
