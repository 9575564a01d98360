//! Numbers for people.

/// Seven digits, with an exponent only if it is needed.
pub(crate) fn short(x: f64) -> String {
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

/// The shortest digits that say which number was meant, 15 at most: without those of the rounding of a conversion.
pub(crate) fn digits(x: f64) -> String {
    let meant: f64 = format!("{x:.14e}").parse().unwrap_or(x);
    let (plain, exponent) = (format!("{meant}"), format!("{meant:e}"));
    if plain.len() <= exponent.len() { plain } else { exponent }
}
