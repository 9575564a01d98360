//! Certified minimizers against a table of 50 digits (`reference/cross_entropy.py`), number by number, and against a
//! general conic solver over all logits (`reference/conic.py`).

use neural_collapse::{ClassCounts, ClassWeights, Layer, Targets, Ufm, theory::Certified};

/// A row of the table.
struct Row<'a> {
    fields: Vec<&'a str>,
    /// The number of classes of each group.
    sizes: Vec<usize>,
}

fn words(field: &str) -> impl Iterator<Item = &str> {
    field.split(' ').filter(|word| !word.is_empty())
}

/// Numbers; `None` where the table says that there is none.
fn numbers(field: &str) -> Vec<Option<f64>> {
    words(field).map(|word| (word != "none").then(|| word.parse().unwrap())).collect()
}

impl<'a> Row<'a> {
    fn new(text: &'a str) -> Self {
        let fields: Vec<&str> = text.split(',').collect();
        let sizes = words(fields[1]).map(|word| word.split_once('x').unwrap().1.parse().unwrap()).collect();
        Self { fields, sizes }
    }

    fn number(&self, field: usize) -> f64 {
        self.fields[field].parse().unwrap()
    }

    fn ufm(&self) -> Ufm {
        let classes: ClassCounts = self.fields[1].parse().unwrap();
        let width = classes.classes();
        let weights = numbers(self.fields[2]).into_iter().flatten().zip(&self.sizes);
        let weights: Vec<f64> = weights.flat_map(|(weight, &size)| vec![weight; size]).collect();
        let targets = Targets::smoothed(classes, self.number(6)).unwrap();
        let ufm = Ufm::new(targets, [Layer::new(width, self.number(3))], self.number(4)).unwrap();
        let ufm = ufm.with_loss(self.fields[0].parse().unwrap()).unwrap();
        let ufm = ufm.with_class_weights(ClassWeights::Given(weights)).unwrap();
        let ufm = ufm.with_logit_adjustment(self.number(7)).unwrap().with_ldam(self.number(8)).unwrap();
        let ufm = ufm.with_cdt(self.number(9)).unwrap();
        match self.fields[5] {
            "none" => ufm.without_bias(),
            "free" => ufm.with_bias(true),
            decay => ufm.with_bias_decay(decay.parse().unwrap()).unwrap(),
        }
    }

    /// The largest logit after all adjustments, or 1: its rounding is what the loss sees.
    fn largest_logit(&self) -> f64 {
        let shift = self.number(7).abs() * (self.ufm().samples() as f64).ln();
        let logits = numbers(self.fields[15]).into_iter().chain(numbers(self.fields[16])).flatten();
        logits.fold(1.0, |largest: f64, logit| largest.max(logit.abs())) + shift + self.number(8)
    }
}

/// All that a minimizer answers by group, in the order of the table.
fn answers(minimizer: &Certified) -> [Vec<Option<f64>>; 8] {
    let groups = minimizer.groups();
    let bias = minimizer.bias();
    let of_groups = |number: &dyn Fn(usize) -> Option<f64>| (0..groups.len()).map(number).collect::<Vec<_>>();
    let logits = minimizer.logits();
    let entries = (0..groups.len()).flat_map(|r| (0..groups.len()).map(move |s| (r, s)));
    [
        minimizer.singular_values().into_iter().map(Some).collect(),
        match &bias {
            None => vec![None],
            Some(bias) => of_groups(&|r| Some(bias[groups[r].classes[0]])),
        },
        of_groups(&|r| Some(groups[r].probability_own)),
        of_groups(&|r| groups[r].probability_sibling),
        entries.map(|(r, s)| (r != s || groups[r].multiplicity() > 1).then(|| logits[(r, s)])).collect(),
        minimizer.logits_own().into_iter().map(Some).collect(),
        of_groups(&|r| Some(groups[r].classifier_norm)),
        of_groups(&|r| Some(groups[r].mean_norm)),
    ]
}

/// Names of the answers, and whether zero is a value like any other: errors are then in units of at least 1.
const KINDS: [(&str, bool); 8] = [
    ("singular values", false),
    ("bias", true),
    ("own probabilities", true),
    ("sibling probabilities", true),
    ("logits", true),
    ("own logits", true),
    ("classifier norms", false),
    ("norms of class means", false),
];

/// The worst error, in units of the largest number of its kind.
fn worst_error(kind: usize, ours: &[Option<f64>], expected: &[Option<f64>], text: &str) -> f64 {
    let (name, at_least_one) = KINDS[kind];
    assert_eq!(ours.len(), expected.len(), "{name}: {text}");
    let largest = expected.iter().flatten().fold(f64::from(u8::from(at_least_one)), |l: f64, value| l.max(value.abs()));
    ours.iter().zip(expected).fold(0.0, |worst: f64, pair| match pair {
        (Some(ours), Some(expected)) if ours == expected => worst,
        (Some(ours), Some(expected)) => worst.max((ours - expected).abs() / largest),
        (ours, expected) => {
            assert_eq!(ours, expected, "{name}: {text}");
            worst
        }
    })
}

/// The gap bounds the objective. The rest is as near as a last step of Newton's method brings it, and 1e-8 is promised;
/// 2e-11 is the worst of this table.
const REST: f64 = 1e-9;

#[test]
fn every_number_matches_fifty_digits() {
    let (mut worst, mut worst_objective, mut worst_gap) = ([0.0_f64; 8], 0.0_f64, 0.0_f64);
    for text in include_str!("reference/cross_entropy.csv").lines().skip(1) {
        let row = Row::new(text);
        let minimizer = row.ufm().certified_minimizer().unwrap();
        // Four roundings of each logit, half an epsilon of the largest each, change every exponential, and with it the
        // loss, by twice this share; adjustments, sums and singular values by no more than that again.
        let unit = f64::EPSILON * row.number(10) * row.largest_logit();
        let error = (minimizer.objective() - row.number(10)).abs();
        assert!(error <= 4.0 * unit, "{} off by {error:e}: {text}", minimizer.objective());
        worst_objective = worst_objective.max(if unit > 0.0 { error / unit } else { 0.0 });
        worst_gap = worst_gap.max(minimizer.gap().abs());
        let values = numbers(row.fields[11]);
        assert_eq!(minimizer.rank(), values.iter().flatten().filter(|value| **value > 0.0).count(), "{text}");
        for (kind, ours) in answers(&minimizer).into_iter().enumerate() {
            let error = worst_error(kind, &ours, &numbers(row.fields[11 + kind]), text);
            assert!(error <= REST, "{} off by {error:e}: {text}", KINDS[kind].0);
            worst[kind] = worst[kind].max(error);
        }
    }
    assert!(worst_gap <= 1e-12, "{worst_gap:e}");
    println!("objective: {worst_objective:.1} epsilons of the largest logit; largest gap {worst_gap:.1e}");
    for ((name, _), worst) in KINDS.iter().zip(worst) {
        println!("{name:<24} {worst:.1e}");
    }
}

/// p of class k, or the output for squared loss, for a sample of class l, from the logits of a minimizer.
fn outputs(row: &Row, minimizer: &Certified, l: usize) -> Vec<f64> {
    let ufm = minimizer.ufm();
    let classes = ufm.class_counts().unwrap();
    let (largest, samples) = (classes.group(0).count as f64, classes.samples() as f64);
    let (geometry, bias) = (minimizer.geometry().unwrap(), minimizer.bias());
    let adjusted = classes.counts().iter().enumerate().map(|(k, &count)| {
        let logit = geometry.logit(k, l) + bias.as_ref().map_or(0.0, |bias| bias[k]);
        let margin = if k == l { row.number(8) * (count as f64).powf(-0.25) } else { 0.0 };
        (count as f64 / largest).powf(row.number(9)) * logit + row.number(7) * (count as f64 / samples).ln() - margin
    });
    let adjusted: Vec<f64> = adjusted.collect();
    if row.fields[0] == "squared" {
        return adjusted;
    }
    let sum: f64 = adjusted.iter().map(|u| u.exp()).sum();
    adjusted.iter().map(|u| u.exp() / sum).collect()
}

#[test]
fn no_conic_solver_finds_a_lower_point() {
    let (mut worst, mut worst_output) = (0.0_f64, 0.0_f64);
    for text in include_str!("reference/conic.csv").lines().skip(1) {
        let row = Row::new(text);
        let minimizer = row.ufm().certified_minimizer().unwrap();
        let (ours, theirs) = (minimizer.objective(), row.number(10));
        // Theirs is the objective at a point: the minimum is not above it, but for the rounding of both sums of K²
        // terms, of which there are 64 at most.
        assert!(ours <= theirs * (1.0 + 64.0 * f64::EPSILON), "{ours:e} above {theirs:e}: {text}");
        // Their accuracy: 1e-11, absolute or relative, is asked for, and reached to within a few digits.
        let error = (theirs - ours) / theirs.max(1e-3);
        assert!(error <= 1e-8, "{ours:e} {theirs:e} {error:e}: {text}");
        worst = worst.max(error);
        let classes = minimizer.ufm().outputs();
        let expected = numbers(row.fields[11]);
        for l in 0..classes {
            for (k, ours) in outputs(&row, &minimizer, l).into_iter().enumerate() {
                let error = (ours - expected[k * classes + l].unwrap()).abs();
                // An objective to 1e-9 says no more of a point than its root, 3e-5, in units of the curvature.
                assert!(error <= 1e-4, "{k} {l}: {error:e}: {text}");
                worst_output = worst_output.max(error);
            }
        }
    }
    println!("objective {worst:.1e}, outputs {worst_output:.1e}");
}
