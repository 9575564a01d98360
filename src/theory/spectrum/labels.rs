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

use faer::{Col, ColMut, Mat, MatRef, prelude::ReborrowMut};

use super::{
    level::Level,
    secular::{self, Root},
};
use crate::{
    classes::{ClassCounts, Group, root},
    error::Error,
    linalg::{
        cores::{for_each, join, map_range},
        error_free::{rounding_of_product, rounding_of_sum},
        helmert,
        memory::{check_room, try_zeros},
    },
};

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

    /// The first `count` left singular vectors, K × `count`, in the order of [`LabelSpectrum::singular_values`].
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if they do not fit in memory.
    ///
    /// # Panics
    ///
    /// If `count` exceeds K.
    pub fn left_vectors(&self, count: usize) -> Result<Mat<f64>, Error> {
        self.vectors(count, Side::Left)
    }

    /// The first `count` right singular vectors, K × `count`, in the order of [`LabelSpectrum::singular_values`].
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if they do not fit in memory.
    ///
    /// # Panics
    ///
    /// If `count` exceeds K.
    pub fn right_vectors(&self, count: usize) -> Result<Mat<f64>, Error> {
        self.vectors(count, Side::Right)
    }

    /// The first `count` left and the first `count` right singular vectors, both K × `count`, at the same time.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if they do not fit in memory.
    ///
    /// # Panics
    ///
    /// If `count` exceeds K.
    pub fn both_vectors(&self, count: usize) -> Result<(Mat<f64>, Mat<f64>), Error> {
        check_room(&[("left and right singular vectors", self.classes.classes(), 2 * count as u64)])?;
        let (left, right) = join(|| self.left_vectors(count), || self.right_vectors(count));
        Ok((left?, right?))
    }

    /// The left singular vector at this index, in the order of [`LabelSpectrum::singular_values`]. Cost: O(K).
    ///
    /// # Panics
    ///
    /// If `index` is not below K.
    #[must_use]
    pub fn left_vector(&self, index: usize) -> Col<f64> {
        self.vector(index, Side::Left)
    }

    /// The right singular vector at this index, in the order of [`LabelSpectrum::singular_values`]. Cost: O(K).
    ///
    /// # Panics
    ///
    /// If `index` is not below K.
    #[must_use]
    pub fn right_vector(&self, index: usize) -> Col<f64> {
        self.vector(index, Side::Right)
    }

    /// The product U X for the K × K matrix U of left singular vectors and X of K × p, without forming U. Cost: O((K +
    /// R²) p).
    ///
    /// # Panics
    ///
    /// If X does not have K rows.
    #[must_use]
    pub fn left_times(&self, matrix: MatRef<'_, f64>) -> Mat<f64> {
        self.times(matrix, Side::Left)
    }

    /// The product Uᵀ X for the K × K matrix U of left singular vectors and X of K × p, without forming U. Cost: O((K +
    /// R²) p).
    ///
    /// # Panics
    ///
    /// If X does not have K rows.
    #[must_use]
    pub fn left_transposed_times(&self, matrix: MatRef<'_, f64>) -> Mat<f64> {
        self.transposed_times(matrix, Side::Left)
    }

    /// The product V X for the K × K matrix V of right singular vectors and X of K × p, without forming V. Cost: O((K +
    /// R²) p).
    ///
    /// # Panics
    ///
    /// If X does not have K rows.
    #[must_use]
    pub fn right_times(&self, matrix: MatRef<'_, f64>) -> Mat<f64> {
        self.times(matrix, Side::Right)
    }

    /// The product Vᵀ X for the K × K matrix V of right singular vectors and X of K × p, without forming V. Cost:
    /// O((K + R²) p).
    ///
    /// # Panics
    ///
    /// If X does not have K rows.
    #[must_use]
    pub fn right_transposed_times(&self, matrix: MatRef<'_, f64>) -> Mat<f64> {
        self.transposed_times(matrix, Side::Right)
    }

    fn times(&self, matrix: MatRef<'_, f64>, side: Side) -> Mat<f64> {
        let (rows, classes) = (matrix.nrows(), self.classes.classes());
        assert!(rows == classes, "a matrix of {rows} rows given, one row a class is needed: {classes}");
        let mut product = Mat::zeros(matrix.nrows(), matrix.ncols());
        let columns: Vec<_> = product.col_iter_mut().zip(matrix.col_iter()).collect();
        for_each(columns, |(mut to, from)| {
            // What the directions between groups give every class of a group.
            let mut shared = vec![0.0; self.classes.groups().len()];
            let mut start = 0;
            for solved in &self.levels {
                let coordinates = from.subrows(start, solved.level.multiplicity);
                start += solved.level.multiplicity;
                match solved.vectors {
                    Vectors::Units { group } => {
                        let classes = self.classes.group(group).classes;
                        classes.iter().zip(coordinates.iter()).for_each(|(&class, &x)| to[class] += x);
                    }
                    Vectors::Contrasts { group } => {
                        let classes = self.classes.group(group).classes;
                        helmert::entries(coordinates.iter().copied(), |i, entry| to[classes[i]] += entry);
                    }
                    Vectors::Secular { .. } | Vectors::Null => {
                        let entries = self.entries(solved, side);
                        shared.iter_mut().zip(entries).for_each(|(shared, entry)| *shared += entry * coordinates[0]);
                    }
                }
            }
            for (&shared, group) in shared.iter().zip(self.classes.groups()) {
                group.classes.iter().for_each(|&class| to[class] += shared);
            }
        });
        product
    }

    fn transposed_times(&self, matrix: MatRef<'_, f64>, side: Side) -> Mat<f64> {
        let (rows, classes) = (matrix.nrows(), self.classes.classes());
        assert!(rows == classes, "a matrix of {rows} rows given, one row a class is needed: {classes}");
        let mut product = Mat::zeros(matrix.nrows(), matrix.ncols());
        let columns: Vec<_> = product.col_iter_mut().zip(matrix.col_iter()).collect();
        for_each(columns, |(mut to, from)| {
            let total = |group: Group<'_>| group.classes.iter().map(|&class| from[class]).sum::<f64>();
            let totals: Vec<f64> = self.classes.groups().map(total).collect();
            let mut start = 0;
            for solved in &self.levels {
                let mut coordinates = to.rb_mut().subrows_mut(start, solved.level.multiplicity);
                start += solved.level.multiplicity;
                match solved.vectors {
                    Vectors::Units { group } => {
                        let classes = self.classes.group(group).classes;
                        coordinates.iter_mut().zip(classes).for_each(|(x, &class)| *x = from[class]);
                    }
                    Vectors::Contrasts { group } => {
                        let classes = self.classes.group(group).classes;
                        helmert::coordinates(classes.iter().map(|&class| from[class]), coordinates.iter_mut());
                    }
                    Vectors::Secular { .. } | Vectors::Null => {
                        let entries = self.entries(solved, side);
                        coordinates[0] = entries.iter().zip(&totals).map(|(entry, total)| entry * total).sum();
                    }
                }
            }
        });
        product
    }

    fn vector(&self, index: usize, side: Side) -> Col<f64> {
        let classes = self.classes.classes();
        assert!(index < classes, "there is no singular vector {index}: there are {classes}, counted from 0");
        let mut vector = Col::zeros(self.classes.classes());
        if let Some((solved, i)) = self.each_vector().nth(index) {
            self.write_vector(vector.as_mut(), solved, i, side);
        }
        vector
    }

    /// For every vector its level, and which of the level's vectors it is.
    fn each_vector(&self) -> impl Iterator<Item = (&Solved, usize)> {
        self.levels.iter().flat_map(|solved| (0..solved.level.multiplicity).map(move |i| (solved, i)))
    }

    fn vectors(&self, count: usize, side: Side) -> Result<Mat<f64>, Error> {
        let classes = self.classes.classes();
        assert!(count <= classes, "there are no {count} singular vectors: there are {classes}");
        let mut matrix = try_zeros("singular vectors", self.classes.classes(), count as u64)?;
        let columns: Vec<_> = matrix.col_iter_mut().zip(self.each_vector()).collect();
        for_each(columns, |(column, (solved, i))| self.write_vector(column, solved, i, side));
        Ok(matrix)
    }

    /// Writes vector `i` of a level into a column of zeros.
    fn write_vector(&self, mut column: ColMut<'_, f64>, solved: &Solved, i: usize, side: Side) {
        match solved.vectors {
            Vectors::Units { group } => column[self.classes.group(group).classes[i]] = 1.0,
            Vectors::Contrasts { group } => {
                let classes = self.classes.group(group).classes;
                let (leading, last) = helmert::contrast(i);
                for &class in &classes[..=i] {
                    column[class] = leading;
                }
                column[classes[i + 1]] = last;
            }
            Vectors::Secular { .. } | Vectors::Null => {
                for (group, entry) in self.classes.groups().zip(self.entries(solved, side)) {
                    for &class in group.classes {
                        column[class] = entry;
                    }
                }
            }
        }
    }

    /// The entries, at the classes of every group, of the vector of a level between groups.
    fn entries(&self, solved: &Solved, side: Side) -> Vec<f64> {
        match solved.vectors {
            Vectors::Secular { root, norm } => {
                // Σ n_k²/(n_k - x)² = x Σ n_k/(n_k - x)² at a root: the left norm is σ times the right one.
                let (numerators, norm) = match side {
                    Side::Right => (&self.roots, norm),
                    Side::Left => (&self.poles, norm * (self.poles[root.origin] + root.offset).sqrt()),
                };
                let (origin, scale) = (self.poles[root.origin], norm.recip());
                let entry = |(pole, numerator): (&f64, &f64)| numerator * scale / ((pole - origin) - root.offset);
                self.poles.iter().zip(numerators).map(entry).collect()
            }
            Vectors::Null => match side {
                Side::Right => self.poles.iter().map(|pole| (pole / self.classes.samples() as f64).sqrt()).collect(),
                Side::Left => vec![1.0 / (self.classes.classes() as f64).sqrt(); self.poles.len()],
            },
            Vectors::Units { .. } | Vectors::Contrasts { .. } => vec![0.0; self.poles.len()],
        }
    }

    /// The vectors of the levels between groups that are not zero, by falling level.
    pub(crate) fn between(&self) -> impl Iterator<Item = Between> {
        self.levels.iter().filter_map(|solved| match solved.vectors {
            Vectors::Secular { root, norm } => {
                let origin = self.poles[root.origin];
                // As in `entries`: the left norm is σ times the right one.
                let left = (norm * (origin + root.offset).sqrt()).recip();
                Some(Between { origin, offset: root.offset, left, right: norm.recip() })
            }
            _ => None,
        })
    }
}

/// The singular vectors of a level between groups, entry by entry: at a class of n samples the left one is n/(n - x)
/// times `left`, and the right one √n/(n - x) times `right`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    /// x = origin + offset, where origin is a whole number.
    origin: f64,
    offset: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
}

impl Between {
    /// n - x, and what its rounding has lost.
    pub(crate) fn distance(&self, count: f64) -> (f64, f64) {
        let difference = count - self.origin;
        let distance = difference - self.offset;
        (distance, rounding_of_sum(difference, -self.offset, distance))
    }

    /// 1/(n - x) as a number and the small rest that makes it twice as precise.
    pub(crate) fn inverse_distance(&self, count: f64) -> (f64, f64) {
        let (distance, lost) = self.distance(count);
        let inverse = 1.0 / distance;
        let product = inverse * distance;
        let residual = (1.0 - product) - rounding_of_product(inverse, distance, product) - inverse * lost;
        (inverse, inverse * residual)
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

/// The intervals [√n_(k+1), √n_(k)] that contain the singular values σ_1 ≥ ... ≥ σ_{K-1} of the centered label matrix,
/// and [0, 0] for σ_K = 0; n_(1) ≥ n_(2) ≥ ... are the counts by falling size. If neighboring counts are equal, their
/// interval is a point.
///
/// # References
///
/// Liu 2024, Theorem 4.4.
#[must_use]
pub fn interlacing_bounds(classes: &ClassCounts) -> Vec<(f64, f64)> {
    let roots: Vec<f64> =
        classes.groups().flat_map(|group| std::iter::repeat_n(root(group.count), group.multiplicity())).collect();
    roots.windows(2).map(|pair| (pair[1], pair[0])).chain([(0.0, 0.0)]).collect()
}

/// The singular values of the centered label matrix by the explicit formulas for up to three distinct counts, by
/// falling value; `None` for more.
///
/// ```text
/// R = 1   √c_1 (K-1 times), 0
/// R = 2   the one root is x = K c_1 c_2 / N
/// R = 3   the two roots of x² - (1/N) Σ_r m_r c_r (Σ_{t≠r} c_t) x + K c_1 c_2 c_3 / N
/// ```
///
/// # References
///
/// Liu 2024, Theorem 4.4 and Theorem B.2.
#[must_use]
pub fn explicit_singular_values(classes: &ClassCounts) -> Option<Vec<f64>> {
    let c: Vec<f64> = classes.groups().map(|group| group.count as f64).collect();
    let w: Vec<f64> = classes.groups().map(|group| group.count as f64 * group.multiplicity() as f64).collect();
    let (k, n) = (classes.classes() as f64, classes.samples() as f64);
    let roots = match c.len() {
        1 => vec![],
        2 => vec![k * c[0] * (c[1] / n)],
        3 => {
            // In δ = x - c_2 the quadratic is N δ² - linear δ + w_2 (c_1 - c_2)(c_3 - c_2): its roots have opposite
            // signs, and neither the discriminant nor the larger root x loses digits. The smaller root follows from the
            // product.
            let (above, below) = (c[0] - c[1], c[2] - c[1]);
            let linear = below * (w[0] + w[1]) + above * (w[1] + w[2]);
            let constant = w[1] * above * below;
            let root = (linear * linear - 4.0 * n * constant).sqrt();
            let offset = if linear >= 0.0 { (linear + root) / (2.0 * n) } else { 2.0 * constant / (linear - root) };
            let larger = c[1] + offset;
            vec![larger, k * c[0] * (c[1] / n) * (c[2] / larger)]
        }
        _ => return None,
    };
    let mut roots = roots.into_iter();
    let mut squares = Vec::with_capacity(classes.classes());
    for group in classes.groups() {
        squares.resize(squares.len() + group.multiplicity() - 1, group.count as f64);
        squares.extend(roots.next());
    }
    squares.push(0.0);
    Some(squares.into_iter().map(f64::sqrt).collect())
}
