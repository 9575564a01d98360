//! The matrices of a minimizer: singular vectors by class, classifiers, class means, parameters.

use faer::Mat;
use rand::Rng;

use super::Certified;
use crate::{
    error::Error,
    linalg::{helmert, memory::try_zeros, orthonormal::random_orthonormal},
    parameters::Parameters,
};

/// A direction that is kept.
#[derive(Clone, Copy)]
pub(super) enum Kept {
    Between(usize),
    Within(usize, usize),
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

impl Certified {
    /// Every direction that is kept, by falling singular value: between groups, or a contrast of a group.
    pub(super) fn directions(&self) -> impl Iterator<Item = (f64, Kept)> {
        let mut kept: Vec<(f64, Kept)> = (0..self.kept).map(|j| (self.svd.values[j], Kept::Between(j))).collect();
        for (r, (group, contrast)) in self.groups.iter().zip(&self.contrasts).enumerate() {
            let value = contrast.abs() * (group.count as f64).sqrt();
            let contrasts = 0..if *contrast == 0.0 { 0 } else { group.classes.len() - 1 };
            kept.extend(contrasts.map(|i| (value, Kept::Within(r, i))));
        }
        kept.sort_by(|one, other| other.0.total_cmp(&one.0));
        kept.into_iter()
    }

    /// One column for each direction: its singular vector, by output on the left, by class or column of targets on the
    /// right, times what `scale` makes of its value.
    fn vectors(&self, side: Side, scale: impl Fn(f64) -> f64) -> Result<Mat<f64>, Error> {
        let between = match side {
            Side::Left => &self.svd.left,
            Side::Right => &self.svd.right,
        };
        let rows = if self.samples.is_some() { between.nrows() } else { self.ufm.outputs() };
        let mut vectors = try_zeros("singular vectors", rows, self.rank as u64)?;
        for (column, (value, kept)) in self.directions().enumerate() {
            let factor = scale(value);
            match kept {
                Kept::Between(j) if self.samples.is_some() => {
                    vectors.col_mut(column).copy_from(faer::Scale(factor) * between.col(j));
                }
                Kept::Between(j) => {
                    for (r, group) in self.groups.iter().enumerate() {
                        let entry = factor * between[(r, j)] / (group.classes.len() as f64).sqrt();
                        group.classes.iter().for_each(|&class| vectors[(class, column)] = entry);
                    }
                }
                Kept::Within(r, i) => {
                    let (before, last) = helmert::contrast(i);
                    // A negative contrast turns one side.
                    let sign = if side == Side::Left { self.contrasts[r].signum() } else { 1.0 };
                    let classes = &self.groups[r].classes;
                    classes[..=i].iter().for_each(|&class| vectors[(class, column)] = factor * sign * before);
                    vectors[(classes[i + 1], column)] = factor * sign * last;
                }
            }
        }
        Ok(vectors)
    }

    /// The classifiers in the space of rank dimensions that they share with the class means, K × rank.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrix does not fit in memory.
    pub fn classifiers(&self) -> Result<Mat<f64>, Error> {
        let ratio = (self.ufm.feature_decay() / self.ufm.layers()[0].decay).sqrt();
        self.vectors(Side::Left, |value| (value * ratio).sqrt())
    }

    /// The class means in the same space, rank × K.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix; [`Error::TooLarge`] if the matrix does not fit in memory.
    pub fn class_means(&self) -> Result<Mat<f64>, Error> {
        self.ufm.class_counts().ok_or(Error::NoClassCounts)?;
        self.means()
    }

    /// The features of every class, or of every column of targets.
    fn means(&self) -> Result<Mat<f64>, Error> {
        let ratio = (self.ufm.feature_decay() / self.ufm.layers()[0].decay).sqrt();
        let mut means = self.vectors(Side::Right, |value| (value / ratio).sqrt())?;
        let mut divide = |row: usize, count: f64| {
            means.row_mut(row).iter_mut().for_each(|entry| *entry /= count.sqrt());
        };
        match &self.samples {
            Some(samples) => samples.counts.iter().enumerate().for_each(|(column, &count)| divide(column, count)),
            None => {
                for group in &self.groups {
                    group.classes.iter().for_each(|&class| divide(class, group.count as f64));
                }
            }
        }
        Ok(means.transpose().to_owned())
    }

    /// A minimizer whose features are in the first coordinates.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrices do not fit in memory.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        let mut frame = try_zeros("gauge", self.ufm.feature_width(), self.rank as u64)?;
        frame.diagonal_mut().column_vector_mut().fill(1.0);
        self.assemble(&frame)
    }

    /// A minimizer in a random gauge, uniform (Haar) among the matrices of orthonormal columns.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrices do not fit in memory.
    pub fn random_parameters(&self, rng: &mut (impl Rng + ?Sized)) -> Result<Parameters, Error> {
        self.assemble(&random_orthonormal(self.ufm.feature_width(), self.rank, rng)?)
    }

    fn assemble(&self, frame: &Mat<f64>) -> Result<Parameters, Error> {
        let mut features = try_zeros("features H", self.ufm.feature_width(), self.ufm.samples())?;
        let means = frame * self.means()?;
        match (&self.samples, self.ufm.class_counts()) {
            (None, Some(classes)) => {
                for (class, samples) in classes.ranges().enumerate() {
                    samples.for_each(|sample| features.col_mut(sample).copy_from(means.col(class)));
                }
            }
            (Some(samples), _) => {
                for (sample, &column) in samples.column_of.iter().enumerate() {
                    features.col_mut(sample).copy_from(means.col(column));
                }
            }
            (None, None) => return Err(Error::NoClassCounts),
        }
        let weights = self.classifiers()? * frame.transpose();
        Parameters::new(&self.ufm, vec![weights], features, self.bias())
    }
}
