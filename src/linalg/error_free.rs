//! What rounding has taken from a sum or a product of two numbers, exactly.

/// a + b - fl(a + b), exactly (Knuth's two-sum).
pub(crate) fn rounding_of_sum(a: f64, b: f64, sum: f64) -> f64 {
    let other = sum - a;
    (a - (sum - other)) + (b - other)
}

/// a b - fl(a b), exactly (Dekker's product): in the vector registers of every processor. A fused multiply-add would be
/// a function call on most.
pub(crate) fn rounding_of_product(a: f64, b: f64, product: f64) -> f64 {
    let ((a_high, a_low), (b_high, b_low)) = (halves(a), halves(b));
    (((a_high * b_high - product) + a_high * b_low) + a_low * b_high) + a_low * b_low
}

/// A number as the sum of two with 26 bits each (Veltkamp's split).
fn halves(a: f64) -> (f64, f64) {
    let scaled = 134_217_729.0 * a; // 2^27 + 1
    let high = scaled - (scaled - a);
    (high, a - high)
}
