//! Minimizers: every number against the roots of polynomials, bisected in integers to 40 digits.

use neural_collapse::{ClassCounts, Layer, Ufm};
use rand::RngExt;

use crate::{dyadic::Dyadic, spectra::class_counts, worst};

/// The root of a function that is negative below it, between two numbers, to `bits` bits.
fn bisect(mut low: Dyadic, mut high: Dyadic, bits: u32, is_positive: impl Fn(&Dyadic) -> bool) -> Dyadic {
    for _ in 0..bits {
        let sum = &low + &high;
        let middle = Dyadic::new(sum.mantissa, sum.exponent - 1);
        let end = if is_positive(&middle) { &mut high } else { &mut low };
        *end = middle;
    }
    low
}

/// The eigenvalues of T Tᵀ with their multiplicities, by falling value. With a bias, of diag(n) - n nᵀ/N, by the
/// matrix determinant lemma: for m_r classes of g_r samples the count g_r itself, m_r - 1 times, and between two
/// neighboring counts the root of Π_r (g_r - x) - 1/N Σ_r m_r g_r² Π_{s≠r} (g_s - x).
fn squares(counts: &[u64], bias: bool) -> Vec<(Dyadic, usize)> {
    let mut groups: Vec<(u64, usize)> = Vec::new();
    let mut sorted = counts.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    for run in sorted.chunk_by(|a, b| a == b) {
        groups.push((run[0], run.len()));
    }
    if !bias {
        return groups.into_iter().map(|(count, times)| (count.into(), times)).collect();
    }
    let samples = Dyadic::from(counts.iter().sum::<u64>());
    let characteristic = |x: &Dyadic| {
        let factor = |r: usize| &Dyadic::from(groups[r].0) - x;
        let product = |without: Option<usize>| {
            (0..groups.len()).filter(|&r| Some(r) != without).fold(Dyadic::from(1), |product, r| &product * &factor(r))
        };
        (0..groups.len()).fold(&samples * &product(None), |sum, r| {
            let (count, times) = groups[r];
            &sum - &(&(&Dyadic::from(count).pow(2) * &Dyadic::from(times as u64)) * &product(Some(r)))
        })
    };
    let zero = Dyadic::from(0);
    let mut squares = Vec::new();
    for (r, &(count, times)) in groups.iter().enumerate() {
        if times > 1 {
            squares.push((count.into(), times - 1));
        }
        if let Some(&(below, _)) = groups.get(r + 1) {
            // The sign at the upper end is that of the only summand left there.
            let is_negative_above = characteristic(&count.into()).is_below(&zero);
            let root =
                bisect(below.into(), count.into(), 180, |x| characteristic(x).is_below(&zero) == is_negative_above);
            squares.push((root, 1));
        }
    }
    squares.push((zero, 1));
    squares
}

/// The error of a positive number in units of `condition` epsilons, up to the next quarter: `above(x)` is whether the
/// truth is at most x.
#[allow(clippy::cast_possible_truncation)]
fn error(value: f64, condition: f64, above: impl Fn(&Dyadic) -> bool) -> f64 {
    let exact = Dyadic::from(value);
    let parts = |quarters: i64| (4.0 * quarters as f64 * condition) as i64;
    let quarters = (1..=64)
        .find(|&quarters| above(&exact.stretched(parts(quarters))) && !above(&exact.stretched(-parts(quarters))));
    quarters.map_or(f64::INFINITY, |quarters| quarters as f64 / 4.0)
}

#[test]
fn every_number_of_a_minimizer_is_right_to_its_last_digits() {
    // A dozen operations, each rounded once, most of them in twice the precision.
    let names = [
        ("f*, epsilons", 4.0),
        ("predictions z, epsilons (times sigma/z between groups)", 4.0),
        ("products w, the same", 4.0),
        ("features h, the same", 4.0),
        ("layers w_l, the same", 4.0),
    ];
    worst(10, names, |rng| {
        let counts = class_counts(5, rng);
        let (layers, bias) = (rng.random_range(1..=6_usize), rng.random());
        let power = u32::try_from(layers).unwrap();
        let mut decay = || 10_f64.powf(rng.random_range(-12.0..3.0));
        let decays: Vec<f64> = (0..layers).map(|_| decay()).collect();
        // A feature decay that makes q of the largest class 10^-6 to 3.
        let samples = counts.iter().sum::<u64>();
        let largest = *counts.iter().max().unwrap() as f64;
        let q = 10_f64.powf(rng.random_range(-6.0..0.5));
        let level = (q / samples as f64).powf(layers as f64 + 1.0) * largest.powf(layers as f64);
        let feature_decay = level / decays.iter().product::<f64>();
        let model = decays.iter().map(|&decay| Layer::new(8, decay)).collect::<Vec<_>>();
        let ufm = Ufm::new(ClassCounts::new(counts.clone()).unwrap(), model, feature_decay).unwrap().with_bias(bias);
        let minimizer = ufm.minimizer().unwrap();
        let case = format!("{counts:?}, {decays:?}, {feature_decay:e}, {bias}");

        let (one, depth) = (Dyadic::from(1), Dyadic::from(layers as u64));
        let product = decays.iter().fold(one.clone(), |product, &decay| &product * &decay.into());
        let all = &product * &feature_decay.into();
        // q^(L+1) σ^(2L).
        let taken = &Dyadic::from(samples).pow(power + 1) * &all;
        let mut cost = Dyadic::from(0);
        let mut worst = [0.0_f64; 5];
        let mut directions = minimizer.directions().iter();
        for (square, times) in squares(&counts, bias) {
            let direction = directions.next().expect(&case);
            assert_eq!(direction.multiplicity, times, "{case}");
            let weight = &square * &Dyadic::from(times as u64);
            let is_kept = (&taken * &depth.pow(2 * power))
                .is_below(&(&Dyadic::from(layers as u64 - 1).pow(power - 1) * &square.pow(power)));
            assert_eq!(is_kept, direction.shrinkage < 1.0, "{case}");
            if !is_kept {
                cost = &cost + &weight;
                continue;
            }
            let highest = Dyadic::from((1.0 / layers as f64).next_up().min(1.0));
            let e = bisect(Dyadic::from(0), highest, 160, |e| {
                taken.is_below(&(&(&e.pow(power + 1) * &(&one - e).pow(power - 1)) * &square.pow(power)))
            });
            // e ((L+1) - L e).
            let share = &e * &(&(&depth + &one) - &(&depth * &e));
            cost = &cost + &(&weight * &share);
            let prediction = &square * &(&one - &e).pow(2);
            // z = σ (1-e) has an error of σ where σ is rounded; the targets of a group are roots of counts, and are not.
            let condition = if direction.group.is_some() { 1.0 } else { direction.target / direction.prediction };
            let error = |value, above: &dyn Fn(&Dyadic) -> bool| error(value, condition, above);
            let raised = |x: &Dyadic| x.pow(2 * (power + 1));
            let own_layers = decays.iter().zip(&direction.layers).map(|(&decay, &value)| {
                let own = Dyadic::from(decay).pow(power + 1);
                error(value, &|x| (&prediction * &all).is_below(&(&raised(x) * &own)))
            });
            let errors = [
                0.0,
                error(direction.prediction, &|x| prediction.is_below(&x.pow(2))),
                error(direction.product, &|x| {
                    let truth = &prediction.pow(power) * &Dyadic::from(feature_decay).pow(power);
                    truth.is_below(&(&raised(x) * &product))
                }),
                error(direction.feature, &|x| {
                    (&prediction * &product).is_below(&(&raised(x) * &Dyadic::from(feature_decay).pow(power)))
                }),
                own_layers.fold(0.0, f64::max),
            ];
            assert!(errors.iter().all(|error| *error <= 4.0), "{errors:?}: {case}");
            worst = std::array::from_fn(|i| worst[i].max(errors[i]));
        }
        assert!(directions.next().is_none(), "{case}");
        let double = &Dyadic::from(samples) * &Dyadic::from(2);
        worst[0] = if minimizer.objective() > 0.0 {
            error(minimizer.objective(), 1.0, |x| cost.is_below(&(x * &double)))
        } else {
            f64::from(u8::from(cost.mantissa != 0.into()))
        };
        assert!(worst[0] <= 4.0, "{worst:?}: {case}");
        worst
    });
}
