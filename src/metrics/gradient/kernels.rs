//! What is summed up of every sample and of every gradient by its features, in registers of the processor's full width.

// pulp compiles its kernels for the registers found at run time only if they are inlined.
#![allow(clippy::inline_always)]

use faer::{ColMut, ColRef};
use pulp::{Arch, Simd, WithSimd};

use crate::linalg::{lanes::LANES, memory::slice_mut};

/// Sums over some samples of the gradients A = W_{L:1}ᵀ D of the losses by the features.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pulls {
    /// ‖A‖².
    pub(super) square: f64,
    /// The same over the entries whose feature is not zero.
    pub(super) active: f64,
    /// ⟨A, H⟩.
    pub(super) inner: f64,
    /// ‖H‖².
    pub(super) features: f64,
}

impl Pulls {
    /// Adds the gradient by one sample, in this unit.
    pub(super) fn look<P: Copy + Into<f64>, T: Copy + Into<f64>>(
        &mut self,
        pull: &[P],
        unit: f64,
        feature: ColRef<'_, T>,
    ) {
        let look = |features: &[T]| Arch::new().dispatch(Look { pull, features });
        let Self { square, active, inner, features } = match feature.try_as_col_major() {
            Some(feature) => look(feature.as_slice()),
            None => look(&feature.iter().copied().collect::<Vec<_>>()),
        };
        let squared = unit * unit;
        self.absorb(Self { square: squared * square, active: squared * active, inner: unit * inner, features });
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.square += other.square;
        self.active += other.active;
        self.inner += other.inner;
        self.features += other.features;
    }
}

/// A sample minus a center; the squared norm of that, and whether no entry of the sample is negative.
pub(super) fn subtract<T: Copy + Into<f64>>(from: ColRef<'_, T>, center: &[f64], to: ColMut<'_, f64>) -> (f64, bool) {
    let to = slice_mut(to);
    if let Some(from) = from.try_as_col_major() {
        return Arch::new().dispatch(Subtract { from: from.as_slice(), center, to });
    }
    let from: Vec<T> = from.iter().copied().collect();
    Arch::new().dispatch(Subtract { from: &from, center, to })
}

struct Subtract<'a, T> {
    from: &'a [T],
    center: &'a [f64],
    to: &'a mut [f64],
}

impl<T: Copy + Into<f64>> WithSimd for Subtract<'_, T> {
    type Output = (f64, bool);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> (f64, bool) {
        let (from, from_rest) = self.from.as_chunks::<LANES>();
        let (center, center_rest) = self.center.as_chunks::<LANES>();
        let (to, to_rest) = self.to.as_chunks_mut::<LANES>();
        let (mut squares, mut least) = ([0.0; LANES], [0.0_f64; LANES]);
        for ((from, center), to) in from.iter().zip(center).zip(to) {
            let numbers: [f64; LANES] = from.map(Into::into);
            let difference: [f64; LANES] = std::array::from_fn(|lane| numbers[lane] - center[lane]);
            squares = std::array::from_fn(|lane| squares[lane] + difference[lane] * difference[lane]);
            least = std::array::from_fn(|lane| if numbers[lane] < least[lane] { numbers[lane] } else { least[lane] });
            *to = difference;
        }
        for ((from, center), to) in from_rest.iter().zip(center_rest).zip(to_rest) {
            let number: f64 = (*from).into();
            *to = number - center;
            squares[0] += *to * *to;
            least[0] = least[0].min(number);
        }
        (squares.iter().sum(), least.iter().all(|least| *least >= 0.0))
    }
}

/// Divides numbers by a power of two, and rounds them to single precision.
pub(super) fn round(from: &[f64], unit: f64, to: &mut [f32]) {
    Arch::new().dispatch(Round { from, by: 1.0 / unit, to });
}

struct Round<'a> {
    from: &'a [f64],
    by: f64,
    to: &'a mut [f32],
}

impl WithSimd for Round<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (from, to) in self.from.iter().zip(self.to) {
            *to = (self.by * from) as f32;
        }
    }
}

/// Adds numbers to others, and returns the sum of their squares.
pub(super) fn add_to(to: &mut [f64], from: &[f64]) -> f64 {
    Arch::new().dispatch(AddTo { from, to })
}

struct AddTo<'a> {
    from: &'a [f64],
    to: &'a mut [f64],
}

impl WithSimd for AddTo<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f64 {
        let (from, from_rest) = self.from.as_chunks::<LANES>();
        let (to, to_rest) = self.to.as_chunks_mut::<LANES>();
        let mut squares = [0.0; LANES];
        for (from, to) in from.iter().zip(to) {
            squares = std::array::from_fn(|lane| squares[lane] + from[lane] * from[lane]);
            *to = std::array::from_fn(|lane| to[lane] + from[lane]);
        }
        for (from, to) in from_rest.iter().zip(to_rest) {
            squares[0] += from * from;
            *to += from;
        }
        squares.iter().sum()
    }
}

struct Look<'a, P, T> {
    pull: &'a [P],
    features: &'a [T],
}

impl<P: Copy + Into<f64>, T: Copy + Into<f64>> WithSimd for Look<'_, P, T> {
    type Output = Pulls;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Pulls {
        let (pull, pull_rest) = self.pull.as_chunks::<LANES>();
        let (features, features_rest) = self.features.as_chunks::<LANES>();
        let [mut square, mut active, mut inner, mut size] = [[0.0; LANES]; 4];
        for (pull, features) in pull.iter().zip(features) {
            let (pull, features): ([f64; LANES], [f64; LANES]) = (pull.map(Into::into), features.map(Into::into));
            square = std::array::from_fn(|lane| square[lane] + pull[lane] * pull[lane]);
            active = std::array::from_fn(|lane| {
                active[lane] + if features[lane] == 0.0 { 0.0 } else { pull[lane] * pull[lane] }
            });
            inner = std::array::from_fn(|lane| inner[lane] + pull[lane] * features[lane]);
            size = std::array::from_fn(|lane| size[lane] + features[lane] * features[lane]);
        }
        for (pull, feature) in pull_rest.iter().zip(features_rest) {
            let (pull, feature): (f64, f64) = ((*pull).into(), (*feature).into());
            square[0] += pull * pull;
            active[0] += if feature == 0.0 { 0.0 } else { pull * pull };
            inner[0] += pull * feature;
            size[0] += feature * feature;
        }
        let total = |lanes: [f64; LANES]| lanes.iter().sum();
        Pulls { square: total(square), active: total(active), inner: total(inner), features: total(size) }
    }
}
