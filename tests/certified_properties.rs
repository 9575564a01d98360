//! What any certified minimizer must satisfy: symmetries, reductions, bounds, limits, and numbers that are hostile.

mod one_layer;

use neural_collapse::{
    ClassCounts, ClassWeights, Error, Layer, Loss, Parameters, Targets, Ufm,
    descent::Descent,
    faer::Mat,
    theory::{Certified, GroupFate},
};
use one_layer::{GAP, Options, model, options};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

/// How far a logit may be from the truth as far as the gap can tell: w_k v ‖Δu‖²/2 ≤ f - f* ≤ gap f, where v is the
/// smallest curvature of a loss by its logits: 1, or the smallest probability.
fn apart(minimizer: &Certified) -> f64 {
    let ufm = minimizer.ufm();
    let classes = ufm.class_counts().unwrap();
    let weights = classes.counts().iter().enumerate().map(|(k, &count)| {
        let scale = ufm.logit_scales().map_or(1.0, |scales| scales[k]);
        scale.powi(2) * ufm.class_weights().map_or(1.0, |weights| weights[k]) * count as f64 / ufm.samples() as f64
    });
    let weight = weights.fold(f64::INFINITY, f64::min);
    if minimizer.objective() == 0.0 {
        return 0.0;
    }
    let curvature = if ufm.loss() == Loss::Squared { 1.0 } else { smallest_probability(minimizer) };
    (2.0 * minimizer.gap().abs().max(f64::EPSILON) * minimizer.objective() / (weight * curvature)).sqrt()
}

fn smallest_probability(minimizer: &Certified) -> f64 {
    let groups = minimizer.groups().iter();
    let rest = 1.0 / minimizer.ufm().outputs() as f64;
    groups.fold(1.0, |least: f64, group| least.min((1.0 - group.probability_own) * rest).min(group.probability_own))
}

/// The largest logit, or 1.
fn largest(minimizer: &Certified) -> f64 {
    let (others, own) = (minimizer.logits(), minimizer.logits_own());
    own.iter().fold(others.norm_max().max(1.0), |largest: f64, logit| largest.max(logit.abs()))
}

/// The sum of two points.
fn plus(ufm: &Ufm, one: &Parameters, other: &Parameters) -> Parameters {
    let weights = vec![&one.weights()[0] + &other.weights()[0]];
    let bias = one.bias().zip(other.bias()).map(|(one, other)| one + other);
    Parameters::new(ufm, weights, one.features() + other.features(), bias).unwrap()
}

fn shuffle(order: &mut [usize], seed: u64) {
    use rand::seq::SliceRandom;
    order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn permuting_classes_permutes_the_result(options in options(), seed: u64) {
        let mut order: Vec<usize> = (0..options.counts.len()).collect();
        shuffle(&mut order, seed);
        let of = |order: &[usize]| Options {
            counts: order.iter().map(|&k| options.counts[k]).collect(),
            weights: order.iter().map(|&k| options.weights[k]).collect(),
            ..options.clone()
        };
        let (one, other) = (options.ufm().certified_minimizer().unwrap(), of(&order).ufm().certified_minimizer().unwrap());
        prop_assert!((one.objective() - other.objective()).abs() <= GAP * one.objective());
        // Groups are in the order of their counts: only those of equal counts may change places.
        let distinct: std::collections::HashSet<u64> = one.groups().iter().map(|group| group.count).collect();
        if distinct.len() == one.groups().len() {
            let is_same = one.objective() == other.objective() && one.logits() == other.logits();
            prop_assert!(is_same, "{} {}", one.objective(), other.objective());
        }
        let tolerance = apart(&one) + apart(&other);
        for (k, &from) in order.iter().enumerate() {
            for (l, &to) in order.iter().enumerate() {
                let logits = (other.geometry().unwrap().logit(k, l), one.geometry().unwrap().logit(from, to));
                prop_assert!((logits.0 - logits.1).abs() <= tolerance, "{k} {l}: {logits:?}");
            }
        }
    }

    #[test]
    fn no_point_is_below_the_lower_bound(options in options(), size in (-20.0..0.0_f64).prop_map(f64::exp), seed: u64) {
        let ufm = options.ufm();
        let minimizer = ufm.certified_minimizer().unwrap();
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
        let at = minimizer.random_parameters(rng).unwrap();
        let bound = minimizer.lower_bound();
        // Sums of N and K terms, each rounded, of losses whose logits are rounded; of these the loss keeps the digits.
        let weight = options.weights.iter().fold(1.0, |largest: f64, weight| largest.max(*weight));
        let shift = options.tau.abs() * (ufm.samples() as f64).ln() + options.ldam;
        let terms = ufm.samples() as f64 + 4.0 * weight * (largest(&minimizer) + shift);
        // A perfect fit of squared error is the square of a rounding.
        let rounding = f64::EPSILON * terms * (minimizer.objective() + f64::EPSILON);
        let value = ufm.objective(&at).unwrap();
        prop_assert!((value - minimizer.objective()).abs() <= rounding + GAP * bound, "{value} {bound}");
        let noise = Parameters::gaussian(&ufm, size, rng).unwrap();
        let near = plus(&ufm, &at, &noise);
        for point in [near, noise] {
            let value = ufm.objective(&point).unwrap();
            prop_assert!(value >= bound - rounding, "{value} below {bound}");
        }
    }

    #[test]
    fn groups_are_a_reduction_of_all_classes(options in options()) {
        // Weights that differ in their last bits make every class a group of its own.
        let mut split = options.clone();
        for (k, weight) in split.weights.iter_mut().enumerate() {
            *weight = f64::from_bits(weight.to_bits() + k as u64);
        }
        let (grouped, whole) = (options.ufm().certified_minimizer().unwrap(), split.ufm().certified_minimizer().unwrap());
        let classes = options.counts.len();
        prop_assert_eq!(whole.groups().len(), classes);
        prop_assert!((grouped.objective() - whole.objective()).abs() <= 1e-10 * grouped.objective());
        let tolerance = apart(&grouped) + apart(&whole);
        for k in 0..classes {
            for l in 0..classes {
                let logits = (grouped.geometry().unwrap().logit(k, l), whole.geometry().unwrap().logit(k, l));
                prop_assert!((logits.0 - logits.1).abs() <= tolerance, "{k} {l}: {logits:?}");
            }
        }
    }
}

/// Everything that a minimizer says, to the last bit.
fn bits(minimizer: &Certified) -> (Vec<u64>, Mat<f64>, Mat<f64>, Option<neural_collapse::faer::Col<f64>>) {
    let groups = minimizer.groups().iter().flat_map(|group| [group.probability_own, group.classifier_norm]);
    let numbers = groups.chain([minimizer.objective(), minimizer.lower_bound()]).chain(minimizer.logits_own());
    let numbers = numbers.chain(minimizer.singular_values()).map(f64::to_bits).collect();
    (numbers, minimizer.classifiers().unwrap(), minimizer.class_means().unwrap(), minimizer.bias())
}

#[test]
fn options_that_do_nothing_change_no_bit() {
    for bias in [true, false] {
        let plain = model(&[90, 40, 40, 12, 5], 0.1).with_bias(bias).with_loss(Loss::CrossEntropy).unwrap();
        let nothing = plain.clone().with_class_weights(ClassWeights::Given(vec![1.0; 5])).unwrap();
        let nothing = nothing.with_logit_adjustment(0.0).unwrap().with_ldam(0.0).unwrap().with_cdt(0.0).unwrap();
        let (one, other) = (plain.certified_minimizer().unwrap(), nothing.certified_minimizer().unwrap());
        assert!(bits(&one) == bits(&other));
    }
    // Rules give weights of 1 to balanced classes.
    let balanced = model(&[12; 7], 0.1).with_loss(Loss::CrossEntropy).unwrap();
    let one = bits(&balanced.certified_minimizer().unwrap());
    for rule in [ClassWeights::Inverse, ClassWeights::InverseRoot, ClassWeights::Effective(0.99)] {
        let other = balanced.clone().with_class_weights(rule.clone()).unwrap();
        assert!(bits(&other.certified_minimizer().unwrap()) == one, "{rule}");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    // Products of 140 x 140 are worth a second thread.
    let counts: Vec<u64> = (0..140).map(|k| 1000 - 7 * k).collect();
    let ufm = model(&counts, 2.0).with_loss(Loss::CrossEntropy).unwrap();
    let width = Layer::new(140, ufm.layers()[0].decay);
    let classes = ufm.class_counts().unwrap().clone();
    let ufm = Ufm::new(classes, [width], ufm.feature_decay()).unwrap().with_loss(Loss::CrossEntropy).unwrap();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bits(&ufm.certified_minimizer().unwrap()))
    };
    assert!(with(1) == with(4));
}

/// 1/N~ times the losses of copies of each sample, by hand, and the penalty of the features given.
fn oversampled(ufm: &Ufm, at: &Parameters, copies: &[u64], penalized_copies: &[u64]) -> f64 {
    let classes = ufm.class_counts().unwrap();
    let (w, means, bias) = (&at.weights()[0], at.class_means(ufm).unwrap(), at.bias().unwrap());
    let samples: u64 = classes.counts().iter().zip(copies).map(|(count, copies)| count * copies).sum();
    let (mut loss, mut features) = (0.0, 0.0);
    for (k, &count) in classes.counts().iter().enumerate() {
        let logits = w * means.col(k) + bias;
        let sum: f64 = logits.iter().map(|z| z.exp()).sum();
        loss += (count * copies[k]) as f64 * (sum.ln() - logits[k]);
        features += (count * penalized_copies[k]) as f64 * means.col(k).squared_norm_l2();
    }
    let penalties = ufm.layers()[0].decay * w.squared_norm_l2() + ufm.feature_decay() * features;
    loss / samples as f64 + 0.5 * penalties
}

#[test]
fn oversampling_is_counts_or_weights() {
    let (counts, copies) = ([40, 12, 12, 5], [1, 3, 3, 8]);
    let (all, once) = ([40, 36, 36, 40], [1, 1, 1, 1]);
    let ufm = model(&counts, 0.2).with_loss(Loss::CrossEntropy).unwrap();
    // Copies that are penalized each are counts.
    let counted = Ufm::new(ClassCounts::new(all).unwrap(), ufm.layers().to_vec(), ufm.feature_decay()).unwrap();
    let counted = counted.with_loss(Loss::CrossEntropy).unwrap().certified_minimizer().unwrap();
    // Copies that share one penalty are weights: α = copies N/N~.
    let share = counts.iter().sum::<u64>() as f64 / all.iter().sum::<u64>() as f64;
    let weights = copies.iter().map(|&copies| copies as f64 * share).collect();
    let weighted = ufm.clone().with_class_weights(ClassWeights::Given(weights)).unwrap().certified_minimizer().unwrap();
    for (minimizer, penalized) in [(&counted, &copies), (&weighted, &once)] {
        let at = minimizer.parameters().unwrap();
        let there = Parameters::new(
            &ufm,
            at.weights().to_vec(),
            by_sample(&at.class_means(minimizer.ufm()).unwrap(), &counts),
            at.bias().map(|bias| bias.to_owned()),
        );
        let there = there.unwrap();
        let value = oversampled(&ufm, &there, &copies, penalized);
        assert!((value - minimizer.objective()).abs() <= 1e-13 * value, "{value} {}", minimizer.objective());
        // No other point of the oversampled problem is lower.
        for seed in 0..20 {
            let noise = Parameters::gaussian_seeded(&ufm, 0.01, seed).unwrap();
            let near = oversampled(&ufm, &plus(&ufm, &there, &noise), &copies, penalized);
            assert!(near >= minimizer.lower_bound(), "{near} {}", minimizer.lower_bound());
        }
    }
    // All the counts but the second group's are equal there: those classes cannot be told apart.
    assert_eq!((counted.groups().len(), weighted.groups().len()), (2, 3));
}

/// A column of the means for every sample.
fn by_sample(means: &Mat<f64>, counts: &[u64]) -> Mat<f64> {
    let class_of: Vec<usize> = counts.iter().enumerate().flat_map(|(k, &count)| (0..count).map(move |_| k)).collect();
    Mat::from_fn(means.nrows(), class_of.len(), |i, j| means[(i, class_of[j])])
}

#[test]
fn label_smoothing_is_that_of_pytorch() {
    // (1-ε) times the negative log-probability of the label, plus ε times the mean over all classes.
    let (counts, smoothing) = ([9_u64, 4, 4, 2], 0.15);
    let targets = Targets::smoothed(ClassCounts::new(counts).unwrap(), smoothing).unwrap();
    let ufm = Ufm::new(targets, [Layer::new(5, 0.02)], 0.01).unwrap().with_loss(Loss::CrossEntropy).unwrap();
    let at = ufm.certified_minimizer().unwrap().parameters().unwrap();
    let noise = Parameters::gaussian_seeded(&ufm, 1.0, 3).unwrap();
    for point in [at.clone(), plus(&ufm, &at, &noise)] {
        let bias = point.bias().unwrap();
        let (mut loss, mut sample) = (0.0, 0);
        for (k, &count) in counts.iter().enumerate() {
            for _ in 0..count {
                let logits = &point.weights()[0] * point.features().col(sample) + bias;
                let sum = logits.iter().map(|z| z.exp()).sum::<f64>().ln();
                let mean = logits.iter().map(|z| sum - z).sum::<f64>() / 4.0;
                loss += (1.0 - smoothing) * (sum - logits[k]) + smoothing * mean;
                sample += 1;
            }
        }
        let penalties = 0.02 * point.weights()[0].squared_norm_l2() + 0.01 * point.features().squared_norm_l2();
        let expected = loss / sample as f64 + 0.5 * penalties;
        let value = ufm.objective(&point).unwrap();
        assert!((value - expected).abs() <= 1e-13 * expected, "{value} {expected}");
    }
}

/// Hong and Ling 2024: minority classes coincide from √n = N √(λ_W λ_H) on, for two groups of classes, cross-entropy
/// and a free bias. The same holds for any weights, in the place of √n for α √n.
#[test]
fn minorities_collapse_at_the_threshold_and_not_before() {
    for (majority, minority) in [(3, 7), (5, 5), (8, 2), (2, 40)] {
        for (n, few) in [(1000, 10), (500, 100), (100, 99), (5000, 1)] {
            for weight in [1.0, 0.3] {
                let counts: Vec<u64> = [vec![n; majority], vec![few; minority]].concat();
                let weights = [vec![1.0; majority], vec![weight; minority]].concat();
                let classes = ClassCounts::new(counts).unwrap();
                let threshold = weight * (few as f64).sqrt() / classes.samples() as f64;
                for (factor, fate) in [(1.0 - 1e-9, GroupFate::Distinct), (1.0 + 1e-9, GroupFate::Coincident)] {
                    let decay = threshold * factor;
                    let ufm = Ufm::new(classes.clone(), [Layer::new(64, 4.0 * decay)], decay / 4.0).unwrap();
                    let ufm = ufm.with_loss(Loss::CrossEntropy).unwrap();
                    let ufm = ufm.with_class_weights(ClassWeights::Given(weights.clone())).unwrap();
                    let minimizer = ufm.certified_minimizer().unwrap();
                    assert!(minimizer.gap().abs() <= GAP, "{} {majority} {minority} {n} {few}", minimizer.gap());
                    let group = &minimizer.groups()[1];
                    assert_eq!(group.fate, fate, "{majority} {minority} {n} {few} {weight}");
                    let contrast = group.probability_own - group.probability_sibling.unwrap();
                    assert!((contrast - (1.0 - factor).max(0.0)).abs() <= 1e-12, "{contrast:e}");
                }
            }
        }
    }
}

/// Thrampoulidis et al. 2022: without a bias the direction of S tends to that of (I - 1 1ᵀ/K) D. It does so like
/// 1/log(1/λ), slowly; what a smaller λ adds to S has that direction to 1/log².
#[test]
fn vanishing_decays_without_bias_lead_to_seli() {
    let counts = [50, 20, 20, 8, 3];
    let classes = counts.len();
    let prediction = |q: f64| {
        let ufm = model(&counts, q).without_bias().with_loss(Loss::CrossEntropy).unwrap();
        let geometry = ufm.certified_minimizer().unwrap().geometry().unwrap();
        Mat::from_fn(classes, classes, |k, l| geometry.logit(k, l) * (counts[l] as f64).sqrt())
    };
    let seli = Mat::from_fn(classes, classes, |k, l| {
        (f64::from(u8::from(k == l)) - 1.0 / classes as f64) * (counts[l] as f64).sqrt()
    });
    let cosine = |a: &Mat<f64>, b: &Mat<f64>| {
        let product: f64 = (0..classes).map(|l| a.col(l).transpose() * b.col(l)).sum();
        product / a.norm_l2() / b.norm_l2()
    };
    let (first, second, last) = (prediction(1e-3), prediction(1e-5), prediction(1e-7));
    assert!(cosine(&first, &seli) < cosine(&second, &seli) && cosine(&second, &seli) < cosine(&last, &seli));
    // The direction is off by about 1/log²: its cosine by half of the square of that.
    for (less, more, q) in [(&first, &second, 1e-3_f64), (&second, &last, 1e-5)] {
        let off = 1.0 - cosine(&(more - less), &seli);
        assert!(off < 0.5 * q.ln().powi(-4), "{off:e}");
    }
}

#[test]
fn a_width_below_the_rank_is_refused_with_a_bound() {
    let narrow = |width| {
        let classes = ClassCounts::new([30, 20, 10, 5]).unwrap();
        Ufm::new(classes, [Layer::new(width, 0.01)], 0.002).unwrap().with_loss(Loss::CrossEntropy).unwrap()
    };
    let wide = narrow(3).certified_minimizer().unwrap();
    assert_eq!(wide.rank(), 3);
    for width in [1, 2] {
        let Err(Error::WidthBelowRank { width: found, rank, lower_bound }) = narrow(width).certified_minimizer() else {
            panic!("width {width} is accepted")
        };
        assert_eq!((found, rank, lower_bound), (width, 3, wide.lower_bound()));
        let ufm = narrow(width);
        let start = Parameters::gaussian_seeded(&ufm, 0.5, 1).unwrap();
        let reached = Descent::default().minimize(&ufm, start).unwrap().objective;
        assert!(reached > lower_bound * (1.0 + 1e-3), "{reached} {lower_bound}");
    }
}

#[test]
fn refuses_what_has_no_certificate() {
    let classes = ClassCounts::new([3, 2]).unwrap();
    let deep = Ufm::new(classes.clone(), [Layer::new(4, 0.1); 2], 0.1).unwrap();
    assert_eq!(deep.certified_minimizer().unwrap_err(), Error::NoCertificate { because: "two or more layers" });
    let nonnegative = model(&[3, 2], 0.1).with_nonnegative_features();
    assert_eq!(
        nonnegative.certified_minimizer().unwrap_err(),
        Error::NoCertificate { because: "nonnegative features" }
    );
}

/// The minimizer, or why there is none, in a thread of its own: `None` if it takes a minute.
fn within_a_minute(ufm: Ufm) -> Option<Result<Certified, Error>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(ufm.certified_minimizer()).is_ok());
    receiver.recv_timeout(std::time::Duration::from_secs(60)).ok()
}

/// Profiles, decays, decays of the bias and weights of the first class at the ends of what is accepted.
fn hostile_models() -> Vec<(String, Ufm)> {
    let profiles: [&[u64]; 8] = [
        &[1],
        &[1 << 50],
        &[1, 1],
        &[1 << 50, 1],
        &[1 << 50, 1 << 50, 1, 1],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[1 << 50, (1 << 50) - 1, (1 << 50) - 2],
        &[16, 16, 16, 16],
    ];
    let mut models = Vec::new();
    for counts in profiles {
        let classes = ClassCounts::new(counts).unwrap();
        let q = |q: f64| q * (counts[0] as f64).sqrt() / classes.samples() as f64;
        let mut decays = vec![(1e-300, 1e-300), (1e300, 1e300), (1e-300, 1e300), (1e-300, 1.0)];
        decays.extend([1e-3, 1.0, 10.0].map(|share| (q(share), q(share))));
        for ((decay, feature_decay), loss) in decays.iter().flat_map(|&d| [(d, Loss::Squared), (d, Loss::CrossEntropy)])
        {
            for (bias, weight) in [(None, 1.0), (Some(0.0), 1.0), (Some(1e-300), 1e3), (Some(1e300), 1e-3)] {
                let mut weights = vec![1.0; counts.len()];
                weights[0] = weight;
                let ufm = Ufm::new(classes.clone(), [Layer::new(64, decay)], feature_decay).unwrap();
                let ufm = ufm.with_loss(loss).unwrap().with_class_weights(ClassWeights::Given(weights)).unwrap();
                let ufm = match bias {
                    Some(decay) => ufm.with_bias_decay(decay).unwrap(),
                    None => ufm.without_bias(),
                };
                let name = format!("{counts:?} {decay:e} {feature_decay:e} {loss} {bias:?} {weight}");
                models.push((name, ufm));
            }
        }
    }
    models
}

/// No panic, no endless loop: a gap that is rounding, or one that says that it is not, or an error.
#[test]
fn survives_hostile_numbers() {
    let (mut poor, mut slow) = (Vec::new(), Vec::new());
    for (name, ufm) in hostile_models() {
        match within_a_minute(ufm) {
            None => slow.push(name),
            Some(Ok(found)) if found.gap().abs() <= GAP => {}
            Some(Ok(found)) => {
                let (objective, bound) = (found.objective(), found.lower_bound());
                poor.push(format!("{name}: objective {objective:e}, bound {bound:e}, gap {:e}", found.gap()));
            }
            Some(Err(error)) => poor.push(format!("{name}: {error}")),
        }
    }
    println!("{} without a small gap\n{}", poor.len(), poor.join("\n"));
    assert!(slow.is_empty(), "{} never end\n{}", slow.len(), slow.join("\n"));
}
