//! The matrices of the point with orthogonal class means.

use faer::Mat;

use super::NonnegativeMinimizer;
use crate::{error::Error, linalg::memory::try_zeros, parameters::Parameters};

impl NonnegativeMinimizer {
    /// The number of classes that have not vanished.
    #[must_use]
    pub fn active(&self) -> usize {
        self.groups.iter().filter(|group| !group.is_vanished).map(|group| group.classes.len()).sum()
    }

    /// The group of every class, and the coordinate of its class mean unless it has vanished.
    fn coordinates(&self) -> Vec<(usize, Option<usize>)> {
        let mut all = vec![(0, None); self.ufm.outputs()];
        for (r, group) in self.groups.iter().enumerate() {
            group.classes.iter().for_each(|&class| all[class] = (r, (!group.is_vanished).then_some(0)));
        }
        let active = all.iter_mut().filter_map(|(_, coordinate)| coordinate.as_mut());
        active.enumerate().for_each(|(place, coordinate)| *coordinate = place);
        all
    }

    /// The classifiers, K × the number of classes that have not vanished, whose coordinates are in rising order of
    /// these.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrix does not fit in memory.
    pub fn classifiers(&self) -> Result<Mat<f64>, Error> {
        let mut weights = try_zeros("classifiers", self.ufm.outputs(), self.active() as u64)?;
        let all = self.coordinates();
        for (class, &(s, coordinate)) in all.iter().enumerate() {
            let Some(coordinate) = coordinate else { continue };
            // w_k = s_k/(√n_k h_k)
            let unit = 1.0 / (self.roots[s] * self.groups[s].mean_norm);
            for (output, &(r, _)) in all.iter().enumerate() {
                let entry = if output == class { self.solution.own[s] } else { self.solution.others[(r, s)] };
                weights[(output, coordinate)] = entry * unit;
            }
        }
        Ok(weights)
    }

    /// The class means in the same coordinates, the number of classes that have not vanished × K.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrix does not fit in memory.
    pub fn class_means(&self) -> Result<Mat<f64>, Error> {
        let mut means = try_zeros("class means", self.active(), self.ufm.outputs() as u64)?;
        for (class, (s, coordinate)) in self.coordinates().into_iter().enumerate() {
            if let Some(coordinate) = coordinate {
                means[(coordinate, class)] = self.groups[s].mean_norm;
            }
        }
        Ok(means)
    }

    /// This point, with the classes that have not vanished on the first coordinates, in rising order.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrices do not fit in memory.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        let classes = self.ufm.class_counts().ok_or(Error::NoClassCounts)?;
        let width = self.ufm.feature_width();
        let mut weights = try_zeros("weights W_1", self.ufm.outputs(), width as u64)?;
        let mut features = try_zeros("features H", width, classes.samples())?;
        let (classifiers, means) = (self.classifiers()?, self.class_means()?);
        weights.subcols_mut(0, classifiers.ncols()).copy_from(&classifiers);
        for (class, samples) in classes.ranges().enumerate() {
            for sample in samples {
                features.subrows_mut(0, means.nrows()).col_mut(sample).copy_from(means.col(class));
            }
        }
        Parameters::new(&self.ufm, vec![weights], features, self.bias())
    }
}
