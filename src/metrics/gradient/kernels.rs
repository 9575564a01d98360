//! What is summed up of every sample and of every gradient by its features, in registers of the processor's full width.

// pulp compiles its kernels for the registers found at run time only if they are inlined.
#![allow(clippy::inline_always)]

use faer::{ColMut, ColRef};
use pulp::{Arch, Simd, WithSimd};

use crate::linalg::memory::{slice, slice_mut};

/// Numbers that are summed up side by side.
const LANES: usize = 8;

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
    /// Adds the gradient by one sample.
    pub(super) fn look<T: Copy + Into<f64>>(&mut self, pull: ColRef<'_, f64>, feature: ColRef<'_, T>) {
        let look = |features: &[T]| Arch::new().dispatch(Look { pull: slice(pull), features });
        let sums = match feature.try_as_col_major() {
            Some(feature) => look(feature.as_slice()),
            None => look(&feature.iter().copied().collect::<Vec<_>>()),
        };
        self.absorb(sums);
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.square += other.square;
        self.active += other.active;
        self.inner += other.inner;
        self.features += other.features;
    }
}

/// Copies a sample; its squared norm, and whether no entry is negative.
pub(super) fn read<T: Copy + Into<f64>>(from: ColRef<'_, T>, to: ColMut<'_, f64>) -> (f64, bool) {
    let to = slice_mut(to);
    if let Some(from) = from.try_as_col_major() {
        return Arch::new().dispatch(Read { from: from.as_slice(), to });
    }
    let from: Vec<T> = from.iter().copied().collect();
    Arch::new().dispatch(Read { from: &from, to })
}

struct Read<'a, T> {
    from: &'a [T],
    to: &'a mut [f64],
}

impl<T: Copy + Into<f64>> WithSimd for Read<'_, T> {
    type Output = (f64, bool);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> (f64, bool) {
        let (from, from_rest) = self.from.as_chunks::<LANES>();
        let (to, to_rest) = self.to.as_chunks_mut::<LANES>();
        let (mut squares, mut least) = ([0.0; LANES], [0.0_f64; LANES]);
        for (from, to) in from.iter().zip(to) {
            let numbers: [f64; LANES] = from.map(Into::into);
            squares = std::array::from_fn(|lane| squares[lane] + numbers[lane] * numbers[lane]);
            least = std::array::from_fn(|lane| if numbers[lane] < least[lane] { numbers[lane] } else { least[lane] });
            *to = numbers;
        }
        for (from, to) in from_rest.iter().zip(to_rest) {
            *to = (*from).into();
            squares[0] += *to * *to;
            least[0] = least[0].min(*to);
        }
        (squares.iter().sum(), least.iter().all(|least| *least >= 0.0))
    }
}

struct Look<'a, T> {
    pull: &'a [f64],
    features: &'a [T],
}

impl<T: Copy + Into<f64>> WithSimd for Look<'_, T> {
    type Output = Pulls;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Pulls {
        let (pull, pull_rest) = self.pull.as_chunks::<LANES>();
        let (features, features_rest) = self.features.as_chunks::<LANES>();
        let [mut square, mut active, mut inner, mut size] = [[0.0; LANES]; 4];
        for (pull, features) in pull.iter().zip(features) {
            let features: [f64; LANES] = features.map(Into::into);
            square = std::array::from_fn(|lane| square[lane] + pull[lane] * pull[lane]);
            active = std::array::from_fn(|lane| {
                active[lane] + if features[lane] == 0.0 { 0.0 } else { pull[lane] * pull[lane] }
            });
            inner = std::array::from_fn(|lane| inner[lane] + pull[lane] * features[lane]);
            size = std::array::from_fn(|lane| size[lane] + features[lane] * features[lane]);
        }
        for (pull, feature) in pull_rest.iter().zip(features_rest) {
            let feature: f64 = (*feature).into();
            square[0] += pull * pull;
            active[0] += if feature == 0.0 { 0.0 } else { pull * pull };
            inner[0] += pull * feature;
            size[0] += feature * feature;
        }
        let total = |lanes: [f64; LANES]| lanes.iter().sum();
        Pulls { square: total(square), active: total(active), inner: total(inner), features: total(size) }
    }
}
