//! Work on all cores whose results do not depend on their number.

use faer::Par;

use super::registers::clear_registers;

/// Parallelism for faer: work for all threads of the pool in use, in a fixed number of parts. faer's decompositions add
/// the parts up in an order that depends on their number, which therefore must not be the number of threads.
pub(crate) fn all_cores() -> Par {
    #[cfg(feature = "rayon")]
    return Par::rayon(8);
    #[cfg(not(feature = "rayon"))]
    Par::Seq
}

/// A thread may come from a product of faer's.
fn with_clear_registers<T>(work: impl FnOnce() -> T) -> T {
    clear_registers();
    work()
}

/// `f(0), ..., f(n - 1)`, at least `least` of them on one core.
pub(crate) fn map_range<T: Send>(n: usize, least: usize, f: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        (0..n).into_par_iter().with_min_len(least).map(|i| with_clear_registers(|| f(i))).collect()
    }
    #[cfg(not(feature = "rayon"))]
    {
        let _ = least;
        (0..n).map(|i| with_clear_registers(|| f(i))).collect()
    }
}

/// Every item once.
pub(crate) fn for_each<T: Send>(items: Vec<T>, work: impl Fn(T) + Send + Sync) {
    #[cfg(feature = "rayon")]
    {
        use rayon::prelude::*;
        items.into_par_iter().for_each(|item| with_clear_registers(|| work(item)));
    }
    #[cfg(not(feature = "rayon"))]
    for item in items {
        with_clear_registers(|| work(item));
    }
}

/// Both, at the same time.
pub(crate) fn join<A: Send, B: Send>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B + Send) -> (A, B) {
    #[cfg(feature = "rayon")]
    return rayon::join(|| with_clear_registers(first), || with_clear_registers(second));
    #[cfg(not(feature = "rayon"))]
    (with_clear_registers(first), with_clear_registers(second))
}
