//! Sums in eight lanes: one sum alone would wait for every addition.

/// Sums that a processor works on at the same time.
pub(crate) const LANES: usize = 8;

/// Combines entries lane by lane, then the lanes and what is left over.
#[inline]
fn fold(x: &[f64], start: f64, combine: impl Fn(f64, f64) -> f64) -> f64 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = combine(*lane, *x);
        }
    }
    lanes.iter().chain(rest).fold(start, |all, x| combine(all, *x))
}

/// Σ x.
pub(crate) fn sum(x: &[f64]) -> f64 {
    fold(x, 0.0, |sum, x| sum + x)
}

/// Σ x².
pub(crate) fn square(x: &[f64]) -> f64 {
    dot(x, x)
}

/// The largest of numbers, -∞ of none; NaN are left out.
pub(crate) fn largest(x: &[f64]) -> f64 {
    fold(x, f64::NEG_INFINITY, |largest, x| if x > largest { x } else { largest })
}

/// xᵀ y.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (x, y) in xs.iter().zip(ys) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f64>() + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f64>()
}

/// Σ x y z.
pub(crate) fn triple(x: &[f64], y: &[f64], z: &[f64]) -> f64 {
    let ((xs, x_rest), (ys, y_rest), (zs, z_rest)) =
        (x.as_chunks::<LANES>(), y.as_chunks::<LANES>(), z.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for ((x, y), z) in xs.iter().zip(ys).zip(zs) {
        for (((sum, x), y), z) in sums.iter_mut().zip(x).zip(y).zip(z) {
            *sum += x * y * z;
        }
    }
    let rest = x_rest.iter().zip(y_rest).zip(z_rest);
    sums.iter().sum::<f64>() + rest.map(|((x, y), z)| x * y * z).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::{dot, largest, square, sum, triple};

    /// Whole numbers, whose sums are exact in any order; all lengths around one and two chunks.
    #[test]
    fn sums_have_every_entry_once() {
        for n in 0..20_u32 {
            let x: Vec<f64> = (1..=n).map(f64::from).collect();
            let of = |f: fn(f64) -> f64| x.iter().copied().map(f).sum::<f64>();
            assert_eq!(sum(&x), of(|x| x));
            assert_eq!(square(&x), of(|x| x * x));
            assert_eq!(dot(&x, &x), of(|x| x * x));
            assert_eq!(triple(&x, &x, &x), of(|x| x * x * x));
        }
    }

    #[test]
    fn the_largest_may_be_anywhere() {
        assert_eq!(largest(&[]), f64::NEG_INFINITY);
        for n in 1..20 {
            for at in 0..n {
                let mut x = vec![-1.0; n];
                x[at] = 1.0;
                x[(at + 1) % n] = if n > 1 { f64::NAN } else { 1.0 };
                assert_eq!(largest(&x), 1.0);
            }
        }
    }
}
