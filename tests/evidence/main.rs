//! Long runs against exact arithmetic: how far from the truth is the worst answer of a million?
//!
//!     EVIDENCE=1000 cargo test --release --test evidence -- --nocapture
//!
//! Without the variable a thousandth of the cases, so that every run of the tests has them. The oracles are
//! certificates in integers of any length: they search for no root, and share neither formula nor code with what they
//! judge. A case is its seed; one that fails prints it with the whole input.

mod certified;
mod dyadic;
mod minimizers;
mod scalars;
mod spectra;

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rayon::prelude::*;

/// The worst of many cases, of every number that a case measures.
fn worst<const M: usize>(
    base: u64,
    names: [(&str, f64); M],
    case: impl Fn(&mut Xoshiro256PlusPlus) -> [f64; M] + Sync,
) -> [f64; M] {
    let scale: u64 = std::env::var("EVIDENCE").ok().map_or(1, |text| text.parse().unwrap());
    let cases = base * scale;
    let one = |seed: u64| {
        let found = case(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        for ((name, bound), value) in names.iter().zip(found) {
            assert!(value <= *bound, "seed {seed}: {name} is {value}, at most {bound} is promised");
        }
        found
    };
    let largest = |a: [f64; M], b: [f64; M]| std::array::from_fn(|i| f64::max(a[i], b[i]));
    let worst = (0..cases).into_par_iter().map(one).reduce(|| [0.0; M], largest);
    for ((name, bound), value) in names.iter().zip(worst) {
        println!("{name:<58} {cases:>9} cases   worst {value:<8.3} promised {bound}");
    }
    worst
}
