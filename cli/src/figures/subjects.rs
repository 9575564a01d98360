//! What the figures show, from the library's public functions alone.

use std::ops::ControlFlow;

use neural_collapse::{
    ClassCounts, Error, Layer, Point, Ufm,
    descent::Descent,
    metrics::collapse,
    rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
    theory::{Gram, LabelSpectrum, Limit, Minimizer, critical_imbalance_ratio, interlacing_bounds},
};

use super::panel::Panel;

/// Places of a curve.
const PLACES: usize = 400;
pub(super) const FEATURE_DECAY: f64 = 1e-4;
pub(super) const WIDTH: usize = 64;

fn profiles() -> [(&'static str, ClassCounts); 2] {
    [
        ("CIFAR-10 profile", ClassCounts::paper_cifar10()),
        ("EMNIST letters profile", ClassCounts::paper_emnist_letters()),
    ]
}

/// So many numbers from 10^a to 10^b.
pub(super) fn powers(from: f64, to: f64) -> impl Iterator<Item = f64> {
    (0..=PLACES).map(move |i| 10_f64.powf(from + (to - from) * i as f64 / PLACES as f64))
}

fn one_layer(counts: &ClassCounts, decay: f64) -> Result<Minimizer, Error> {
    Ufm::new(counts.clone(), [Layer::new(WIDTH, decay)], FEATURE_DECAY)?.minimizer()
}

/// The first two classes of every group of classes of one count.
fn pairs(counts: &ClassCounts) -> Vec<(u64, usize, Option<usize>)> {
    counts.groups().map(|group| (group.count, group.classes[0], group.classes.get(1).copied())).collect()
}

fn degrees(gram: &Gram, k: usize, l: usize) -> f64 {
    gram.cosine(k, l).map_or(f64::NAN, |cosine| cosine.acos().to_degrees())
}

/// Curves of one number of every minimizer, which may be undefined.
fn curve(
    minimizers: &[(f64, Minimizer)],
    of: impl Fn(&Minimizer) -> Result<f64, Error>,
) -> Result<Vec<(f64, f64)>, Error> {
    minimizers.iter().map(|(x, minimizer)| Ok((*x, of(minimizer)?))).collect()
}

pub(crate) fn decay() -> Result<Vec<Panel>, Error> {
    let mut panels = Vec::new();
    for (name, counts) in profiles() {
        let all: Vec<_> =
            powers(-4.0, 0.0).map(|decay| Ok((decay, one_layer(&counts, decay)?))).collect::<Result<_, Error>>()?;
        let groups = pairs(&counts);
        // Exact: a single decay grows by the power L + 1 of the common factor.
        let first = one_layer(&counts, 1.0)?;
        let critical: Vec<f64> = (0..groups.len())
            .filter_map(|r| first.coincidence_scale(r).map(Limit::value).transpose())
            .map(|scale| Ok(scale?.powi(2)))
            .collect::<Result<_, Error>>()?;
        let mut norms =
            Panel::new(format!("{name}: norms of classifiers"), "decay of the layer", "norm").logarithmic(true, false);
        let mut angles = Panel::new(format!("{name}: angle inside a group"), "decay of the layer", "degrees")
            .logarithmic(true, false);
        for (count, k, other) in groups {
            let legend = format!("n = {count}");
            let norm = |minimizer: &Minimizer| Ok(minimizer.geometry()?.classifiers().norm(k).unwrap_or(f64::NAN));
            norms = norms.line(&legend, curve(&all, norm)?);
            if let Some(l) = other {
                let angle = |minimizer: &Minimizer| Ok(degrees(minimizer.geometry()?.classifiers(), k, l));
                angles = angles.line(&legend, curve(&all, angle)?);
            }
        }
        panels.push(norms.critical(&critical, "collapse", [0.0, 5.5]));
        panels.push(angles.critical(&critical, "collapse", [0.0, 180.0]).up_to(180.0));
    }
    Ok(panels)
}

pub(crate) fn imbalance() -> Result<Vec<Panel>, Error> {
    const MAJORITY: usize = 5;
    const COUNT: u64 = 1_000_000;
    let layers = [Layer::new(WIDTH, 0.1)];
    let decay = 1e-3;
    let all: Vec<_> = powers(0.0, 4.0)
        .map(|ratio| {
            let counts = ClassCounts::step(MAJORITY, 5, COUNT, ratio)?;
            // Decays that go with N, so that the ratio alone changes.
            let scale = COUNT as f64;
            Ok((ratio, Ufm::new(counts, layers, decay / scale)?.minimizer()?))
        })
        .collect::<Result<_, Error>>()?;
    let critical = critical_imbalance_ratio(MAJORITY, 5, COUNT, &layers, decay / COUNT as f64)?;
    let of = |k: usize, l: usize| curve(&all, move |minimizer| Ok(degrees(minimizer.geometry()?.classifiers(), k, l)));
    let norm =
        |k: usize| curve(&all, move |minimizer| Ok(minimizer.geometry()?.classifiers().norm(k).unwrap_or(f64::NAN)));
    let norms = Panel::new("five classes and five smaller ones: norms", "imbalance ratio", "norm of the classifier")
        .logarithmic(true, false)
        .line("majority", norm(0)?)
        .line("minority", norm(MAJORITY)?)
        .critical(&[critical], "collapse", [0.0, 0.15]);
    let angles = Panel::new("angles between classifiers", "imbalance ratio", "degrees")
        .logarithmic(true, false)
        .line("two of the majority", of(0, 1)?)
        .line("one of each", of(0, MAJORITY)?)
        .line("two of the minority", of(MAJORITY, MAJORITY + 1)?)
        .critical(&[critical], "collapse", [0.0, 120.0])
        .up_to(120.0);
    Ok(vec![norms, angles])
}

pub(crate) fn staircase() -> Result<Vec<Panel>, Error> {
    let counts = ClassCounts::paper_cifar10();
    let x = "all decays, in those at which the last direction collapses";
    let mut ranks = Panel::new("directions that are kept", x, "rank").logarithmic(true, false).up_to(10.0);
    let mut largest =
        Panel::new("the largest singular value of the prediction", x, "z over its target").logarithmic(true, false);
    for depth in [1, 2, 3, 6] {
        let at = |decay: f64| Ufm::new(counts.clone(), vec![Layer::new(WIDTH, decay); depth], decay)?.minimizer();
        let unit = 1e-3;
        // The decay, the same in all blocks, at which the last direction goes.
        let last = unit * at(unit)?.directions()[0].critical_scale;
        let all: Vec<_> = powers(-1.5, 0.2).map(|part| Ok((part, at(part * last)?))).collect::<Result<_, Error>>()?;
        let legend = format!("L = {depth}");
        ranks = ranks.line(&legend, curve(&all, |minimizer| Ok(minimizer.rank() as f64))?);
        let share = |minimizer: &Minimizer| {
            let first = &minimizer.directions()[0];
            Ok(first.prediction / first.target)
        };
        largest = largest.line(&legend, curve(&all, share)?);
    }
    Ok(vec![ranks, largest.up_to(1.0)])
}

pub(crate) fn interlacing() -> Result<Vec<Panel>, Error> {
    let tail = ClassCounts::long_tail(20, 1000, 100.0)?;
    let [(first, cifar), _] = profiles();
    let panel = |name: &str, counts: &ClassCounts| {
        let numbered = |values: Vec<f64>| {
            values.into_iter().enumerate().map(|(k, value)| (k as f64 + 1.0, value)).collect::<Vec<_>>()
        };
        let bounds = interlacing_bounds(counts);
        let bounds = &bounds[..bounds.len() - 1];
        Panel::new(name, "number of the singular value", "singular value")
            .line("root of the k-th count", numbered(bounds.iter().map(|bound| bound.1).collect()))
            .line("root of the next", numbered(bounds.iter().map(|bound| bound.0).collect()))
            .points("singular values", numbered(LabelSpectrum::centered(counts).singular_values()))
    };
    Ok(vec![panel(first, &cifar), panel("long tail of 20 classes, 1000 to 10", &tail)])
}

pub(crate) fn trajectories() -> Result<Vec<Panel>, Error> {
    let mut panels = Vec::new();
    for (name, counts) in profiles() {
        let ufm = Ufm::new(counts, [Layer::new(WIDTH, 5e-4)], 1e-5)?;
        let minimizer = ufm.minimizer()?;
        let start = Point::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0))?;
        let mut steps = Vec::new();
        let descent = Descent::default().with_optimum(minimizer.objective()).with_gap_tolerance(1e-12);
        descent.minimize_observed(&ufm, start, |progress| {
            let measured = collapse(&minimizer, &progress.point());
            steps.push((progress.record.step as f64, progress.gap.unwrap_or(f64::NAN), measured));
            ControlFlow::Continue(())
        })?;
        let mut panel =
            Panel::new(format!("{name}, from a random start"), "steps", "distance").logarithmic(false, true);
        panel = panel.line("relative gap", steps.iter().map(|&(step, gap, _)| (step, gap)));
        let mut metrics = Vec::new();
        for (step, _, measured) in steps {
            metrics.push((step, measured?));
        }
        for (name, of) in [
            ("NC1", (|all| all.nc1) as fn(&neural_collapse::metrics::Collapse) -> Option<f64>),
            ("NC2 classifiers", |all| all.nc2_classifier),
            ("NC2 class means", |all| all.nc2_features),
            ("NC3", |all| all.nc3),
        ] {
            // Below 1e-16 is rounding.
            let points =
                metrics.iter().filter_map(|(step, all)| Some((*step, of(all).filter(|value| *value > 1e-16)?)));
            panel = panel.line(name, points.collect::<Vec<_>>());
        }
        panels.push(panel);
    }
    Ok(panels)
}
