//! The scalar solvers against a table of 50 digits and more (`reference/generate.py`), and their edges.

use neural_collapse::{
    Error,
    theory::scalar::{ScalarMinimizer, Shrinkage, scalar_minimizer, scalar_threshold, shrinkage, shrinkage_threshold},
};
use proptest::prelude::*;

/// The number of doubles between two positive doubles.
fn ulps(a: f64, b: f64) -> u64 {
    a.to_bits().abs_diff(b.to_bits())
}

/// The rows of a reference table as columns of text, without its header.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().skip(1).map(|line| line.split(',').collect())
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

#[test]
fn relative_shrinkage_is_the_nearest_double_or_its_neighbor() {
    let mut worst = 0;
    for row in rows(include_str!("reference/shrinkage.csv")) {
        let layers = row[0].parse().unwrap();
        match (shrinkage(number(row[1]), layers).unwrap(), row[2]) {
            (Shrinkage::Complete, "collapsed") => {}
            (Shrinkage::Both(e), "both") => assert!(ulps(e, 1.0 / layers as f64) <= 1, "{row:?} {e}"),
            (Shrinkage::Partial(e), reference) => {
                let error = ulps(e, number(reference));
                assert!(error <= 1, "{row:?} {e} is {error} units off");
                worst = worst.max(error);
            }
            (result, _) => panic!("{row:?} {result:?}"),
        }
    }
    println!("worst error: {worst} units in the last place");
}

#[test]
fn lemma_a2_is_the_nearest_double_or_its_neighbor() {
    let mut worst = 0;
    for row in rows(include_str!("reference/lemma_a2.csv")) {
        let layers: usize = row[0].parse().unwrap();
        match (scalar_minimizer(number(row[1]), layers).unwrap(), row[2]) {
            (ScalarMinimizer::Zero, "zero") => {}
            (ScalarMinimizer::Both(x), "both") => {
                // Where the threshold is rounded up the root is a little below (L-1)^(1/L).
                let expected = (layers as f64 - 1.0).powf(1.0 / layers as f64);
                assert!(ulps(x, expected) <= 3, "{row:?} {x}");
            }
            (ScalarMinimizer::Positive(x), reference) => {
                let error = ulps(x, number(reference));
                assert!(error <= 1, "{row:?} {x} is {error} units off");
                worst = worst.max(error);
            }
            (result, _) => panic!("{row:?} {result:?}"),
        }
    }
    println!("worst error: {worst} units in the last place");
}

#[test]
fn thresholds_are_correctly_rounded() {
    for row in rows(include_str!("reference/thresholds.csv")) {
        let layers = row[0].parse().unwrap();
        assert_eq!(shrinkage_threshold(layers).unwrap(), number(row[1]), "{row:?}");
        assert_eq!(scalar_threshold(layers).unwrap(), number(row[2]), "{row:?}");
    }
}

#[test]
fn thresholds_switch_between_neighboring_doubles() {
    for layers in 1..=100 {
        let q = shrinkage_threshold(layers).unwrap();
        assert!(matches!(shrinkage(q.next_down(), layers).unwrap(), Shrinkage::Partial(_)));
        assert_eq!(matches!(shrinkage(q, layers).unwrap(), Shrinkage::Both(_)), layers > 1);
        assert_eq!(shrinkage(q.next_up(), layers).unwrap(), Shrinkage::Complete);
        let beta = scalar_threshold(layers).unwrap();
        assert!(matches!(scalar_minimizer(beta.next_down(), layers).unwrap(), ScalarMinimizer::Positive(_)));
        assert_eq!(matches!(scalar_minimizer(beta, layers).unwrap(), ScalarMinimizer::Both(_)), layers > 1);
        assert_eq!(scalar_minimizer(beta.next_up(), layers).unwrap(), ScalarMinimizer::Zero);
    }
}

#[test]
fn arguments_outside_the_domain_are_named() {
    for q in [f64::NAN, f64::INFINITY, -1.0, -f64::MIN_POSITIVE] {
        let error = shrinkage(q, 2).unwrap_err();
        assert!(matches!(error, Error::Domain { argument: "q", value, .. } if value.to_bits() == q.to_bits()));
        assert!(error.to_string().contains(&format!("{q:?}")));
    }
    for beta in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        assert!(matches!(scalar_minimizer(beta, 3), Err(Error::Domain { argument: "beta", .. })));
    }
    for absurd in [usize::MAX, (1 << 53) + 1] {
        assert!(matches!(shrinkage(0.1, absurd), Err(Error::Domain { argument: "layers", .. })));
        assert!(matches!(scalar_minimizer(0.1, absurd), Err(Error::Domain { argument: "layers", .. })));
        assert!(shrinkage_threshold(absurd).is_err() && scalar_threshold(absurd).is_err());
    }
    assert_eq!(shrinkage(0.1, 0), Err(Error::NoLayers));
    assert_eq!(scalar_minimizer(0.1, 0), Err(Error::NoLayers));
    assert_eq!(shrinkage_threshold(0), Err(Error::NoLayers));
    assert_eq!(scalar_threshold(0), Err(Error::NoLayers));
    assert_eq!(shrinkage(0.0, 5), Ok(Shrinkage::Partial(0.0)));
}

#[test]
fn subnormal_numbers_and_absurd_depths_have_answers() {
    assert_eq!(shrinkage(5e-324, 3), Ok(Shrinkage::Partial(5e-324)));
    for layers in [2, 100, 1_000_000] {
        let Ok(ScalarMinimizer::Positive(x)) = scalar_minimizer(5e-324, layers) else {
            panic!("a root is the minimizer")
        };
        // (x^L + 1)² β = L x^(L-1) in logarithms of x, whose terms are below 2000 and round a few times each; the last
        // correction may be missing, so that an error of x of 1e-12 counts up to L+1 times.
        let (l, log) = (layers as f64, x.ln());
        let ln_of_power_plus_one = if l * log > 40.0 { l * log } else { (l * log).exp().ln_1p() };
        let residual = 2.0 * ln_of_power_plus_one + 5e-324_f64.ln() - l.ln() - (l - 1.0) * log;
        assert!(residual.abs() <= 1e-12 * (l + 2.0), "{layers} {x} {residual}");
    }
}

proptest! {
    /// No point of a grid around the minimizer, nor zero, has a smaller value of g.
    #[test]
    fn no_point_beats_the_scalar_minimizer(layers in 1_u16..30, fraction in 1e-6..1.3_f64, other in 0.0..20.0_f64) {
        let depth = usize::from(layers);
        let beta = fraction * scalar_threshold(depth).unwrap();
        let g = |x: f64| 1.0 / (x.powi(layers.into()) + 1.0) + beta * x;
        let x = match scalar_minimizer(beta, depth).unwrap() {
            ScalarMinimizer::Zero => 0.0,
            ScalarMinimizer::Positive(x) | ScalarMinimizer::Both(x) => x,
        };
        // powi rounds at most L times; g is a sum of two positive terms.
        let rounding = f64::from(layers + 4) * f64::EPSILON * g(x);
        prop_assert!(g(x) <= g(other) + rounding);
        prop_assert!(g(x) <= g(x * (1.0 + other / 20.0)) + rounding);
        prop_assert!(g(x) <= 1.0 + rounding);
    }

    /// The two forms are one: x^L = (1-e)/e with q = (β/L)^(L/(L+1)).
    #[test]
    fn the_two_forms_agree(layers in 1_usize..60, fraction in 1e-9..0.999_f64) {
        let beta = fraction * scalar_threshold(layers).unwrap();
        let l = layers as f64;
        let e = shrinkage((beta / l).powf(l / (l + 1.0)), layers).unwrap().relative();
        let ScalarMinimizer::Positive(x) = scalar_minimizer(beta, layers).unwrap() else { panic!("below the threshold") };
        // The power has an error of |ln β| + 2 epsilons; e magnifies it at most 1.5 times, (1-e)/e by 1/(1-e) more, and
        // for L = 1 1-e can be small.
        let magnified = 4.0 * ((beta / l).ln().abs() + 4.0) * f64::EPSILON / (1.0 - e);
        prop_assert!((x / ((1.0 - e) / e).powf(1.0 / l) - 1.0).abs() <= magnified);
    }
}

/// Depths beyond the table, by mpmath with 60 digits.
#[test]
fn thresholds_of_absurd_depths_are_right() {
    for (layers, expected) in [
        (1_usize << 50, 0.999_999_999_999_968_4),
        (1 << 52, 0.999_999_999_999_991_8),
        (1 << 53, 0.999_999_999_999_995_8),
    ] {
        assert!((scalar_threshold(layers).unwrap() - expected).abs() <= f64::EPSILON);
    }
}
