//! Singular vectors, and products with all of them, on demand.

use faer::{Col, ColMut, Mat, MatRef, prelude::ReborrowMut};

use super::{LabelSpectrum, Side, Solved, Vectors};
use crate::{
    classes::Group,
    error::Error,
    linalg::{
        cores::{for_each, join},
        helmert,
        memory::{check_room, try_zeros},
    },
};

impl LabelSpectrum {
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
}
