//! The imbalance at which minority classes collapse, in step profiles.

use crate::{
    classes::ClassCounts,
    error::Error,
    linalg::wide::Wide,
    model::{Layer, Ufm},
    theory::scalar::critical_q,
};

/// The imbalance ratio at which the classifiers of minority classes collapse, in step profiles of `majority` classes of
/// `count` samples and `minority` classes of `count`/ρ: the least ρ ≥ 1 such that they have collapsed at ρ and at every
/// larger ratio. Counts are taken as real numbers.
///
/// ```text
/// q = N (λ_H λ_1 ··· λ_L)^(1/(L+1)) (count/ρ)^(-L/(L+1)) = q_L,      N = count (majority + minority/ρ)
/// ```
///
/// It is 1 if they have collapsed at every ratio, and infinite if the ratio is beyond the range of `f64`. Collapsed
/// minority classes share one classifier if there is a bias, and vanish if there is none.
///
/// # Errors
///
/// As [`Ufm::new`] for counts and decays; [`Error::Domain`] unless there are majority classes and at least two minority
/// classes.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm, theory::critical_imbalance_ratio};
///
/// let layers = [Layer::new(64, 5e-3)];
/// let ratio = critical_imbalance_ratio(5, 5, 1000, &layers, 1e-4)?;
/// // At 20 samples the minority is on one side of it, at 2 on the other: only what tells the majority apart is left.
/// assert!((50.0..500.0).contains(&ratio));
/// let rank = |minority: u64| {
///     let counts = ClassCounts::new([[1000; 5], [minority; 5]].concat())?;
///     Ok::<_, neural_collapse::Error>(Ufm::new(counts, layers, 1e-4)?.minimizer()?.rank())
/// };
/// assert_eq!((rank(20)?, rank(2)?), (9, 4));
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Fang et al. 2021 for minority collapse and the question.
pub fn critical_imbalance_ratio(
    majority: usize,
    minority: usize,
    count: u64,
    layers: &[Layer],
    feature_decay: f64,
) -> Result<f64, Error> {
    let too_few = |argument, classes: usize, accepted| Error::Domain { argument, value: classes as f64, accepted };
    if majority < 1 {
        return Err(too_few("majority classes", majority, "at least 1"));
    }
    if minority < 2 {
        return Err(too_few("minority classes", minority, "at least 2"));
    }
    // The decays, the layers and the count are those of a model; the number of classes is not needed for it.
    let ufm = Ufm::new(ClassCounts::balanced(1, count)?, layers, feature_decay)?;
    let (depth, count) = (ufm.depth(), count as f64);
    let power = depth as f64 / (depth as f64 + 1.0);
    let (majority, minority) = (majority as f64, minority as f64);
    // q/q_L = constant (majority + minority/ρ) ρ^(L/(L+1))
    let constant = ufm.decays().level(Wide::new(count)).over(Wide::new(critical_q(depth))).to_f64();
    let collapsed = |ratio: f64| constant * (majority + minority / ratio) * ratio.powf(power) >= 1.0;
    // N falls with ρ at first: q is least at ρ = minority/(L majority), and rises from there on.
    let least = (minority / (depth as f64 * majority)).max(1.0);
    if collapsed(least) {
        return Ok(1.0);
    }
    neighbors(least, f64::INFINITY, |ratio| Ok(!collapsed(ratio))).map(|(_, high)| high)
}

/// The two neighboring numbers between which `holds` becomes false; it is true at `low` and false at `high`. Bisects
/// the bits of positive numbers, which have the order of the numbers.
fn neighbors(low: f64, high: f64, holds: impl Fn(f64) -> Result<bool, Error>) -> Result<(f64, f64), Error> {
    let (mut low, mut high) = (low, high);
    while high.to_bits() - low.to_bits() > 1 {
        let middle = f64::from_bits(low.to_bits().midpoint(high.to_bits()));
        if holds(middle)? { low = middle } else { high = middle }
    }
    Ok((low, high))
}
