//! Registers that matrix products leave in use.
//!
//! faer's kernels for AVX-512 return with the upper halves of wide registers in use. On an AMD EPYC 9004 every narrow
//! instruction of that core takes longer from then on: additions to a vector four times as long, the secular equation 3.5
//! times, an exponential of the C library thirty times. It lasts until somebody clears the registers. So every product and
//! decomposition of this crate clears them at its end, and every piece of work that is given to a thread at its start.
//! Loops that pulp compiles for wide registers neither need it nor leave anything behind.

// pulp compiles its kernels for the registers found at run time only if they are inlined.
#![allow(clippy::inline_always)]

use std::hint::black_box;

use pulp::{Arch, Simd, WithSimd};

/// Clears the upper halves of the registers. It takes a few nanoseconds.
pub(crate) fn clear_registers() {
    black_box(Arch::new().dispatch(Touch));
}

/// One sum of the widest vector: what pulp has dispatched clears the registers it has used when it returns.
struct Touch;

impl WithSimd for Touch {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        simd.reduce_sum_f64s(black_box(simd.splat_f64s(1.0)))
    }
}
