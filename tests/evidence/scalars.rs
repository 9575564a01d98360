//! Lemma A.2 in both forms: the root lies between the neighbors of the answer, and the threshold is on the right side.

use neural_collapse::theory::scalar::{
    ScalarMinimizer, Shrinkage, scalar_minimizer, scalar_threshold, shrinkage, shrinkage_threshold,
};
use rand::{Rng, RngExt};

use crate::{dyadic::Dyadic, worst};

/// L, and a number from 0 to its threshold and beyond: anywhere, many powers of ten below, or a few doubles away.
fn near(threshold: impl Fn(usize) -> f64, rng: &mut impl Rng) -> (usize, f64) {
    let layers = rng.random_range(1..=20);
    let threshold = threshold(layers);
    let value = match rng.random_range(0..4) {
        0 => threshold * 10_f64.powf(-30.0 * rng.random::<f64>()),
        1 => threshold * (1.0 - 10_f64.powf(-16.0 * rng.random::<f64>())),
        2 => (0..rng.random_range(0..8)).fold(threshold, |value, _| value.next_down()),
        _ => threshold * (1.1 * rng.random::<f64>()),
    };
    (layers, value.max(f64::MIN_POSITIVE))
}

/// How far the root is from the answer in units in the last place, by the half: 0.5 where the answer is the nearest
/// double. `above(x)` is whether the root is at most x.
fn distance(answer: f64, above: impl Fn(&Dyadic) -> bool) -> f64 {
    let exact = Dyadic::from;
    let middle = |a: f64, b: f64| {
        let sum = &exact(a) + &exact(b);
        Dyadic::new(sum.mantissa, sum.exponent - 1)
    };
    let (down, up) = (answer.next_down(), answer.next_up());
    if !above(&middle(down, answer)) && above(&middle(answer, up)) {
        0.5
    } else if !above(&exact(down)) && above(&exact(up)) {
        1.0
    } else {
        f64::INFINITY
    }
}

#[test]
fn shrinkage_is_the_nearest_double_or_its_neighbor() {
    worst(1000, [("shrinkage e, units in the last place", 1.0)], |rng| {
        let (layers, q) = near(|layers| shrinkage_threshold(layers).unwrap(), rng);
        let (power, exact) = (u32::try_from(layers).unwrap(), Dyadic::from(q).pow(u32::try_from(layers).unwrap() + 1));
        // q^(L+1) L^(2L) compared with (L-1)^(L-1), which is q_L^(L+1) L^(2L).
        let scaled = &exact * &Dyadic::from(layers as u64).pow(2 * power);
        let is_kept = scaled.is_below(&Dyadic::from(layers as u64 - 1).pow(power - 1));
        match shrinkage(q, layers).unwrap() {
            Shrinkage::Partial(e) => {
                assert!(is_kept, "{q:e} {layers}");
                // e^(L+1) (1-e)^(L-1) rises up to e = (L+1)/(2L), and the root is at most 1/L.
                let one = Dyadic::from(1);
                let above = |e: &Dyadic| exact.is_below(&(&e.pow(power + 1) * &(&one - e).pow(power - 1)));
                [distance(e, above)]
            }
            // The threshold is not a double: the nearest one counts as it.
            Shrinkage::Both(_) => {
                assert_eq!(q, shrinkage_threshold(layers).unwrap(), "{layers}");
                [0.5]
            }
            Shrinkage::Complete => {
                assert!(!is_kept || layers == 1, "{q:e} {layers}");
                [0.5]
            }
        }
    });
}

#[test]
fn lemma_a2_is_the_nearest_double_or_its_neighbor() {
    worst(1000, [("Lemma A.2's x, units in the last place", 1.0)], |rng| {
        let (layers, beta) = near(|layers| scalar_threshold(layers).unwrap(), rng);
        let (power, exact, one) = (u32::try_from(layers).unwrap(), Dyadic::from(beta), Dyadic::from(1));
        let count = Dyadic::from(layers as u64);
        // β^L L^L compared with (L-1)^(L-1), which is (β_L L)^L.
        let scaled = &exact.pow(power) * &count.pow(power);
        let is_kept = scaled.is_below(&Dyadic::from(layers as u64 - 1).pow(power - 1));
        match scalar_minimizer(beta, layers).unwrap() {
            ScalarMinimizer::Positive(x) => {
                assert!(is_kept, "{beta:e} {layers}");
                // L x^(L-1)/(x^L + 1)² falls beyond x^L = (L-1)/(L+1), and the largest root is above.
                let above = |x: &Dyadic| {
                    let slope = &count * &x.pow(power - 1);
                    slope.is_below(&(&exact * &(&x.pow(power) + &one).pow(2)))
                };
                [distance(x, above)]
            }
            ScalarMinimizer::Both(_) => {
                assert_eq!(beta, scalar_threshold(layers).unwrap(), "{layers}");
                [0.5]
            }
            ScalarMinimizer::Zero => {
                assert!(!is_kept || layers == 1, "{beta:e} {layers}");
                [0.5]
            }
        }
    });
}
