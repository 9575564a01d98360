//! Numbers for people.

/// Seven digits, with an exponent only if it is needed: as a [`Contradiction`](super::Contradiction) is written.
///
/// # Example
///
/// ```
/// use neural_collapse::metrics::short;
///
/// let written: Vec<String> = [0.0, 5e-4, 0.02, 123.456_789, 1e7].map(short).into();
/// assert_eq!(written, ["0", "5.0000e-4", "0.020000", "123.4568", "1.0000e7"]);
/// ```
#[must_use]
pub fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e6).contains(&size) => {
            let before = size.log10().floor().max(0.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let decimals = 6 - before as usize;
            format!("{x:.decimals$}")
        }
        _ => format!("{x:.4e}"),
    }
}
