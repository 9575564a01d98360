//! Groups of classes of one count and one weight, and what a network says within them.

use neural_collapse::{ClassCounts, Loss, Ufm, faer::MatRef};

/// Classes that the loss cannot tell apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The samples of each class.
    pub count: u64,
    /// The class weight α.
    pub weight: f64,
    /// The classes, in rising order.
    pub classes: Vec<usize>,
}

/// What samples of a group get on average: probabilities, or outputs for the squared loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probabilities {
    /// Of their own class.
    pub own: f64,
    /// Of another class of the group; `None` if there is none.
    pub sibling: Option<f64>,
}

impl Probabilities {
    /// p_own - p_sibling: zero where the classes of the group cannot be told apart.
    #[must_use]
    pub fn contrast(&self) -> Option<f64> {
        self.sibling.map(|sibling| self.own - sibling)
    }
}

impl Group {
    /// The groups of a model, by falling count.
    #[must_use]
    pub fn all(ufm: &Ufm) -> Vec<Self> {
        let weight = |class: usize| ufm.class_weights().map_or(1.0, |weights| weights[class]);
        let mut all: Vec<Self> = Vec::new();
        for equal in ufm.class_counts().into_iter().flat_map(ClassCounts::groups) {
            let first = all.len();
            for &class in equal.classes {
                match all[first..].iter_mut().find(|group| group.weight == weight(class)) {
                    Some(group) => group.classes.push(class),
                    None => all.push(Self { count: equal.count, weight: weight(class), classes: vec![class] }),
                }
            }
        }
        all
    }

    /// A name for columns of a file: `500x2` are two classes of 500, `500x2@3` those of them that begin with class 3.
    #[must_use]
    pub fn name(&self, all: &[Self]) -> String {
        let name = format!("{}x{}", self.count, self.classes.len());
        let is_split = all.iter().filter(|other| other.count == self.count).count() > 1;
        if is_split { format!("{name}@{}", self.classes[0]) } else { name }
    }

    /// Averages over the group of a table of means, K × K: row r of column k is what samples of class k give class r.
    #[must_use]
    pub fn average(&self, means: MatRef<'_, f64>) -> Probabilities {
        let mean = |entries: Vec<f64>| entries.iter().sum::<f64>() / entries.len() as f64;
        let own = mean(self.classes.iter().map(|&k| means[(k, k)]).collect());
        let pairs = self.classes.iter().flat_map(|&k| self.classes.iter().map(move |&r| (r, k)));
        let siblings: Vec<f64> = pairs.filter(|(r, k)| r != k).map(|at| means[at]).collect();
        Probabilities { own, sibling: (!siblings.is_empty()).then(|| mean(siblings)) }
    }
}

/// Turns the outputs z of a sample into what its target is compared with, u = δ z + ι - m_k e_k or the softmax of that.
pub fn compare(ufm: &Ufm, class: usize, outputs: &mut [f64]) {
    for (r, z) in outputs.iter_mut().enumerate() {
        *z *= ufm.logit_scales().map_or(1.0, |scales| scales[r]);
        *z += ufm.logit_shifts().map_or(0.0, |shifts| shifts[r]);
    }
    outputs[class] -= ufm.margins().map_or(0.0, |margins| margins[class]);
    if ufm.loss() == Loss::CrossEntropy {
        let largest = outputs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for u in outputs.iter_mut() {
            *u = (*u - largest).exp();
        }
        let total: f64 = outputs.iter().sum();
        for p in outputs.iter_mut() {
            *p /= total;
        }
    }
}

#[cfg(test)]
mod tests {
    use neural_collapse::{ClassWeights, Layer, faer::mat};

    use super::*;

    #[test]
    fn classes_of_one_count_and_one_weight_are_a_group() {
        let ufm = Ufm::new("5,9,5,5".parse::<ClassCounts>().unwrap(), [Layer::new(4, 1e-2)], 1e-2);
        let ufm = ufm.unwrap();
        let names = |ufm: &Ufm| {
            let all = Group::all(ufm);
            all.iter().map(|group| group.name(&all)).collect::<Vec<_>>()
        };
        assert_eq!(names(&ufm), ["9x1", "5x3"]);
        let weighted = ufm.with_class_weights(ClassWeights::Given(vec![1.0, 1.0, 2.0, 1.0])).unwrap();
        assert_eq!(names(&weighted), ["9x1", "5x2@0", "5x1@2"]);
    }

    #[test]
    fn own_and_sibling_are_averages_over_the_group() {
        let group = Group { count: 5, weight: 1.0, classes: vec![0, 2] };
        let means = mat![[0.5, 0.0, 0.25], [0.0, 1.0, 0.0], [0.125, 0.0, 0.75]];
        let found = group.average(means.as_ref());
        assert_eq!((found.own, found.sibling, found.contrast()), (0.625, Some(0.1875), Some(0.4375)));
        let single = Group { count: 9, weight: 1.0, classes: vec![1] };
        assert_eq!(single.average(means.as_ref()), Probabilities { own: 1.0, sibling: None });
    }
}
