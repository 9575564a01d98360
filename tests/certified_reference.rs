//! Certified minimizers against a table of 50 digits (`reference/cross_entropy.py`), number by number.

use neural_collapse::{ClassCounts, ClassWeights, Layer, Targets, Ufm, theory::Certified};

/// A row of the table.
struct Row<'a> {
    text: &'a str,
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
        Self { text, fields, sizes }
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
        let samples: f64 = self.ufm().samples() as f64;
        let shift = self.number(7).abs() * samples.ln();
        let logits = numbers(self.fields[15]).into_iter().chain(numbers(self.fields[16])).flatten();
        logits.fold(1.0, |largest: f64, logit| largest.max(logit.abs())) + shift + self.number(8)
    }
}

/// All that a minimizer answers by group, in the order of the table, in units of the largest number of its kind.
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

const KINDS: [&str; 8] = [
    "singular values",
    "bias",
    "own probabilities",
    "sibling probabilities",
    "logits",
    "own logits",
    "classifier norms",
    "norms of class means",
];

#[test]
fn every_number_matches_fifty_digits() {
    let mut worst = [0.0_f64; 8];
    let (mut objective, mut gap) = (0.0_f64, 0.0_f64);
    for text in include_str!("reference/cross_entropy.csv").lines().skip(1) {
        let row = Row::new(text);
        let minimizer = row.ufm().certified_minimizer().unwrap();
        let reference = row.number(10);
        let unit = f64::EPSILON * reference * row.largest_logit();
        let error = (minimizer.objective() - reference).abs();
        if error > 4.0 * unit { println!("{} {:e} {:e} gap {:e} {text}", error / unit, error, reference, minimizer.gap()); }
        if unit > 0.0 { objective = objective.max(error / unit); }
        gap = gap.max(minimizer.gap().abs());
        for (kind, ours) in answers(&minimizer).into_iter().enumerate() {
            let expected = numbers(row.fields[11 + kind]);
            assert_eq!(ours.len(), expected.len(), "{}: {text}", KINDS[kind]);
            let scale = expected.iter().flatten().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            let scale = if kind == 2 || kind == 3 || kind == 1 || kind == 4 || kind == 5 { scale.max(1.0) } else { scale };
            for (ours, expected) in ours.iter().zip(&expected) {
                assert_eq!(ours.is_some(), expected.is_some(), "{}: {text}", KINDS[kind]);
                let (Some(ours), Some(expected)) = (ours, expected) else { continue };
                let error = if ours == expected { 0.0 } else { (ours - expected).abs() / scale };
                if error > 1e-9 { println!("{} {ours} {expected} {:e} {text}", KINDS[kind], error); }
                worst[kind] = worst[kind].max(error);
            }
        }
    }
    println!("f*: {objective:.1} units; gap {gap:e}");
    for (kind, worst) in KINDS.iter().zip(worst) {
        println!("{kind:<24} {worst:.1e}");
    }
}
