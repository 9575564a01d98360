//! The spectrum of the target of class labels, without a K × K matrix.
//!
//! At a minimizer features collapse to class means and the bias is n/N. This leaves a K × K problem with the target
//!
//! ```text
//! T = D                        bias-free,    D = diag(√n_1, ..., √n_K)
//! T = (I - n 1ᵀ/N) D           biased: the centered label matrix
//! ```
//!
//! The first is diagonal. The second is a rank-one change of a diagonal matrix, so that its singular values and vectors
//! follow from the distinct counts alone, for any number of classes.

use super::{
    level::Level,
    secular::{self, Root},
};
use crate::{classes::ClassCounts, linalg::cores::map_range};

mod between;
mod explicit;
mod vectors;

pub(crate) use between::Between;
pub use explicit::{explicit_singular_values, interlacing_bounds};

/// The singular value decomposition T = U diag(σ) Vᵀ of the target of a set of class counts, without a K × K matrix.
///
/// With the distinct counts c_1 > ... > c_R shared by m_1, ..., m_R classes, the centered label matrix has the singular
/// values
///
/// ```text
/// √c_r                    m_r - 1 times     vectors on group r that sum to zero, left and right the same
/// √x_j, j = 1 .. R-1      once              c_j > x_j > c_{j+1},  Σ_r m_r c_r / (c_r - x_j) = 0
///                                           right ∝ √n_k / (n_k - x_j),  left ∝ n_k / (n_k - x_j)
/// 0                       once              right √n_k / √N,  left 1/√K
/// ```
///
/// and D has √c_r m_r times, with unit vectors. Levels are listed by falling value. Singular values have a relative
/// error of about one epsilon, the smallest as well as the largest; vectors are unique up to sign if the level is
/// simple, and one of many bases if it is not.
///
/// Cost: O(R²) operations and O(R) numbers; vectors are made on demand.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, theory::LabelSpectrum};
///
/// let spectrum = LabelSpectrum::centered(&ClassCounts::paper_emnist_letters());
/// let levels: Vec<_> = spectrum.levels().map(|level| (level.multiplicity, (level.value * 1e4).round() / 1e4)).collect();
/// assert_eq!(levels, [(1, 35.0978), (4, 24.4949), (1, 13.1411), (19, 7.0711), (1, 0.0)]);
/// ```
///
/// # References
///
/// Liu 2024, Theorem 4.4, for the bounds c_j ≥ x_j ≥ c_{j+1} and the roots for R = 2, 3; Golub 1973 for the secular
/// equation.
#[derive(Clone, Debug)]
pub struct LabelSpectrum {
    classes: ClassCounts,
    /// The distinct counts c_r as numbers, and their square roots.
    poles: Vec<f64>,
    roots: Vec<f64>,
    levels: Vec<Solved>,
}

#[derive(Clone, Copy, Debug)]
struct Solved {
    level: Level,
    /// σ², more accurate than the square of σ.
    square: f64,
    vectors: Vectors,
}

/// Where the singular vectors of a level come from.
#[derive(Clone, Copy, Debug)]
enum Vectors {
    /// Unit vectors of the classes of a group.
    Units { group: usize },
    /// Helmert's contrasts between the classes of a group.
    Contrasts { group: usize },
    /// One vector from a root of the secular equation; `norm` is that of √n_k / (n_k - x).
    Secular { root: Root, norm: f64 },
    /// The null vectors of the centered label matrix.
    Null,
}

/// Left or right singular vectors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Left,
    Right,
}

impl LabelSpectrum {
    /// The spectrum of the centered label matrix (I - n 1ᵀ/N) D, the target of the biased model.
    #[must_use]
    pub fn centered(classes: &ClassCounts) -> Self {
        let poles: Vec<f64> = classes.groups().map(|group| group.count as f64).collect();
        let weights: Vec<f64> =
            classes.groups().map(|group| group.count as f64 * group.multiplicity() as f64).collect();
        let roots = map_range(poles.len() - 1, 8, |upper| {
            let root = secular::root(&poles, &weights, upper);
            let norm = secular::slope(&poles, &weights, poles[root.origin], root.offset).sqrt();
            (poles[root.origin] + root.offset, Vectors::Secular { root, norm })
        });
        let mut roots = roots.into_iter();
        let mut levels = Vec::with_capacity(2 * poles.len());
        for (r, group) in classes.groups().enumerate() {
            if group.multiplicity() > 1 {
                levels.push(Solved::new(poles[r], group.multiplicity() - 1, Vectors::Contrasts { group: r }));
            }
            levels.extend(roots.next().map(|(square, vectors)| Solved::new(square, 1, vectors)));
        }
        levels.push(Solved::new(0.0, 1, Vectors::Null));
        Self::new(classes, levels)
    }

    /// The spectrum of D = diag(√n_1, ..., √n_K), the target of the bias-free model.
    #[must_use]
    pub fn uncentered(classes: &ClassCounts) -> Self {
        let levels = classes
            .groups()
            .enumerate()
            .map(|(r, group)| Solved::new(group.count as f64, group.multiplicity(), Vectors::Units { group: r }));
        Self::new(classes, levels.collect())
    }

    fn new(classes: &ClassCounts, levels: Vec<Solved>) -> Self {
        let poles: Vec<f64> = classes.groups().map(|group| group.count as f64).collect();
        let roots = poles.iter().map(|pole| pole.sqrt()).collect();
        Self { classes: classes.clone(), poles, roots, levels }
    }

    /// The class counts.
    #[must_use]
    pub fn class_counts(&self) -> &ClassCounts {
        &self.classes
    }

    /// The distinct singular values and their multiplicities, by falling value.
    #[must_use]
    pub fn levels(&self) -> impl ExactSizeIterator<Item = Level> + DoubleEndedIterator {
        self.levels.iter().map(|solved| solved.level)
    }

    /// σ² of every level, each more accurate than the square of σ.
    pub(crate) fn squares(&self) -> impl ExactSizeIterator<Item = f64> {
        self.levels.iter().map(|solved| solved.square)
    }

    /// The same spectrum with all singular values multiplied by a positive number.
    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        for solved in &mut self.levels {
            solved.level.value *= factor;
            solved.square *= factor * factor;
        }
        self
    }

    /// All K singular values, by falling value.
    #[must_use]
    pub fn singular_values(&self) -> Vec<f64> {
        self.levels().flat_map(|level| std::iter::repeat_n(level.value, level.multiplicity)).collect()
    }
}

impl Solved {
    fn new(square: f64, multiplicity: usize, vectors: Vectors) -> Self {
        let group = match vectors {
            Vectors::Units { group } | Vectors::Contrasts { group } => Some(group),
            Vectors::Secular { .. } | Vectors::Null => None,
        };
        Self { level: Level { value: square.sqrt(), multiplicity, group }, square, vectors }
    }
}
