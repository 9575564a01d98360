//! Numbers for people.

pub(crate) use neural_collapse::metrics::short;

/// The shortest digits that say which number was meant, 15 at most: without those of the rounding of a conversion.
pub(crate) fn digits(x: f64) -> String {
    let meant: f64 = format!("{x:.14e}").parse().unwrap_or(x);
    let (plain, exponent) = (format!("{meant}"), format!("{meant:e}"));
    if plain.len() <= exponent.len() { plain } else { exponent }
}
