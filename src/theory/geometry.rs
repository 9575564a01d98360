//! Norms and angles between classes at the minimizer, group by group.
//!
//! Classes of equal counts are interchangeable, so that the Gram matrices of the minimizer are constant on blocks: for classes k of group r and
//! l of group t
//!
//! ```text
//! (W W')_kl    =  Σ_j w_j² u_jr u_jt               +  w_r² (δ_kl - 1/m_r) δ_rt
//! (H̄'H̄)_kl     =  Σ_j h_j² v_jr v_jt / √(c_r c_t)  +  h_r²/c_r (δ_kl - 1/m_r) δ_rt
//! (W H̄)_kl     =  Σ_j z_j u_jr v_jt / √c_t         +  z_r/√c_r (δ_kl - 1/m_r) δ_rt
//! ```
//!
//! W = W_{L:1}; j runs over the directions between groups, and the second terms are those of the √c_r directions within group r. Without a bias there
//! are no directions between groups, and δ_kl - 1/m_r is δ_kl.

use std::sync::Arc;

use faer::{Col, Mat};

use super::{
    label_spectrum::Side,
    minimizer::{Direction, Fate, Minimizer, Tie},
    shrinkage::critical_q,
};
use crate::{
    classes::ClassCounts,
    error::Error,
    model::{Layer, Ufm},
    wide::Wide,
};

/// The geometry of the minimizer: R × R numbers for each Gram matrix, whatever the number of classes.
///
/// Cost: 6 R³ operations and 3 R² numbers, for R distinct counts.
///
/// # Example
///
/// Balanced classes are a simplex equiangular tight frame:
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm};
///
/// let ufm = Ufm::biased(ClassCounts::balanced(10, 500)?, [Layer::new(64, 5e-3)], 1e-4)?;
/// let geometry = ufm.minimizer()?.geometry()?;
/// let cosine = geometry.classifiers().cosine(0, 1).unwrap();
/// assert!((cosine + 1.0 / 9.0).abs() < 1e-15);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Geometry {
    classifiers: Gram,
    class_means: Gram,
    logits: Blocks,
    bias: Option<Vec<f64>>,
}

/// Inner products between classes.
///
/// A number that is not the same for all minimizers is `None`: a tie at a threshold leaves open whether a direction is there at all, and a width that
/// cuts through equal targets which classes of the group it separates.
#[derive(Clone, Debug)]
pub struct Gram(Blocks);

/// A K × K matrix that is constant on blocks of groups, but for the diagonal.
#[derive(Clone, Debug)]
struct Blocks {
    /// The group of every class.
    groups: Arc<[usize]>,
    /// Between groups and, without the part within groups, inside of them.
    between: Mat<f64>,
    /// What the directions within group r add on the diagonal and elsewhere in the group; `None` where it is ambiguous.
    within: Vec<Option<(f64, f64)>>,
    /// Whether no entry at all is the same for all minimizers.
    ambiguous: bool,
}

impl Blocks {
    fn by_group(&self, r: usize, t: usize, same: bool) -> Option<f64> {
        if self.ambiguous {
            return None;
        }
        let between = self.between[(r, t)];
        if r != t {
            return Some(between);
        }
        self.within[r].map(|(diagonal, elsewhere)| between + if same { diagonal } else { elsewhere })
    }

    fn entry(&self, k: usize, l: usize) -> Option<f64> {
        self.by_group(self.groups[k], self.groups[l], k == l)
    }
}

impl Gram {
    /// The inner product of classes `k` and `l`.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn inner_product(&self, k: usize, l: usize) -> Option<f64> {
        self.0.entry(k, l)
    }

    /// The inner product of a class of group `r` and one of group `t`, groups by falling count; `same` is whether they are one class.
    ///
    /// # Panics
    ///
    /// Where there is no such group.
    #[must_use]
    pub fn by_group(&self, r: usize, t: usize, same: bool) -> Option<f64> {
        self.0.by_group(r, t, same)
    }

    /// The norm of class `k`.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn norm(&self, k: usize) -> Option<f64> {
        self.inner_product(k, k).map(f64::sqrt)
    }

    /// The cosine of the angle between classes `k` and `l`: `None` also where one of them is zero.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn cosine(&self, k: usize, l: usize) -> Option<f64> {
        cosine(self.inner_product(k, l)?, self.norm(k)?, self.norm(l)?)
    }
}

/// Vectors on top of each other may have a cosine that rounds beyond 1.
fn cosine(product: f64, first: f64, second: f64) -> Option<f64> {
    (first > 0.0 && second > 0.0).then(|| (product / first / second).clamp(-1.0, 1.0))
}

impl Geometry {
    /// Inner products of the rows of W_{L:1}, the classifiers.
    #[must_use]
    pub fn classifiers(&self) -> &Gram {
        &self.classifiers
    }

    /// Inner products of class means.
    #[must_use]
    pub fn class_means(&self) -> &Gram {
        &self.class_means
    }

    /// The logit of class `k`, without the bias, for a sample of class `l`: the inner product of classifier k and class mean l.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn logit(&self, k: usize, l: usize) -> Option<f64> {
        self.logits.entry(k, l)
    }

    /// By how much a sample of class `k` scores higher for its own class than for class `l`, bias included.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn logit_gap(&self, k: usize, l: usize) -> Option<f64> {
        let bias = self.bias.as_ref().map_or(0.0, |bias| bias[k] - bias[l]);
        Some(self.logit(k, k)? - self.logit(l, k)? + bias)
    }

    /// Self-duality: the cosine of the angle between the classifier and the class mean of class `k`, 1 where they are parallel, as they always are
    /// for balanced classes.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn self_duality(&self, k: usize) -> Option<f64> {
        cosine(self.logit(k, k)?, self.classifiers.norm(k)?, self.class_means.norm(k)?)
    }
}

impl Minimizer {
    /// Norms and angles between classes.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] where the targets have no groups: a matrix, or labels that are smoothed without a bias;
    /// [`Error::TooLarge`] where R × R numbers do not fit in memory.
    pub fn geometry(&self) -> Result<Geometry, Error> {
        let spectrum = self.label_spectrum()?;
        let classes = spectrum.classes();
        let mut group_of = vec![0; classes.classes()];
        for (r, group) in classes.groups().enumerate() {
            group.classes.iter().for_each(|&class| group_of[class] = r);
        }
        let groups: Arc<[usize]> = group_of.into();
        let roots: Vec<f64> = classes.groups().map(|group| (group.count as f64).sqrt()).collect();

        let kept = || self.directions().iter().zip(self.levels()).filter(|(direction, _)| direction.fate == Fate::Kept);
        let between = || kept().filter(|(direction, _)| direction.group.is_none());
        let levels: Vec<usize> = between().map(|(_, &level)| level).collect();
        let left = spectrum.entries_by_group(&levels, Side::Left)?;
        let mut right = spectrum.entries_by_group(&levels, Side::Right)?;
        for (r, root) in roots.iter().enumerate() {
            right.row_mut(r).iter_mut().for_each(|entry| *entry /= root);
        }
        // A tie of a direction between groups leaves all entries open.
        let ambiguous = self
            .ties()
            .iter()
            .any(|tie| matches!(tie, Tie::Threshold { direction } if self.directions()[*direction].group.is_none()));
        let blocks =
            |a: &Mat<f64>, b: &Mat<f64>, value: &dyn Fn(&Direction) -> f64, scale: &dyn Fn(f64) -> f64| Blocks {
                groups: groups.clone(),
                between: a
                    * between().map(|(direction, _)| value(direction)).collect::<Col<f64>>().as_diagonal()
                    * b.transpose(),
                within: roots
                    .iter()
                    .enumerate()
                    .map(|(r, &root)| self.within(r, classes, |direction| value(direction) * scale(root)))
                    .collect(),
                ambiguous,
            };
        Ok(Geometry {
            classifiers: Gram(blocks(&left, &left, &|direction| direction.product.powi(2), &|_| 1.0)),
            class_means: Gram(blocks(&right, &right, &|direction| direction.feature.powi(2), &|root| {
                (root * root).recip()
            })),
            logits: blocks(&left, &right, &|direction| direction.prediction, &f64::recip),
            bias: self.bias().map(|bias| bias.iter().copied().collect()),
        })
    }

    /// What the directions within group `r` add to the diagonal of its block, and elsewhere in the block.
    fn within(&self, r: usize, classes: &ClassCounts, value: impl Fn(&Direction) -> f64) -> Option<(f64, f64)> {
        let own = || self.directions().iter().enumerate().filter(move |(_, direction)| direction.group == Some(r));
        let tied = self.ties().iter().any(|&tie| {
            let (Tie::Threshold { direction } | Tie::Width { direction }) = tie;
            own().any(|(i, _)| i == direction)
        });
        if tied {
            return None;
        }
        let kept = own().map(|(_, direction)| direction).find(|direction| direction.fate == Fate::Kept);
        let value = kept.map_or(0.0, value);
        let m = classes.group(r).multiplicity() as f64;
        Some(if self.ufm().has_bias() { (value * ((m - 1.0) / m), -value / m) } else { (value, 0.0) })
    }

    /// The factor by which all L + 1 decays together would have to grow for the classes of group `r` (by falling count) to share one classifier: minority
    /// collapse in the sense of Fang et al. 2021. `None` for a group of one class, and without a bias, where classes do not come to share a classifier
    /// before all of them vanish.
    ///
    /// Below 1 the group has collapsed already.
    ///
    /// `None` also where the targets have no groups, or not as many.
    #[must_use]
    pub fn coincidence_scale(&self, r: usize) -> Option<f64> {
        let own = self.directions().iter().find(|direction| direction.group == Some(r));
        own.filter(|_| self.ufm().has_bias()).map(|direction| direction.critical_scale)
    }

    /// The factor by which all L + 1 decays together would have to grow for the classifiers and class means of group `r` to be zero: with a bias, for
    /// the last direction that reaches the group to collapse.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] as [`Minimizer::geometry`].
    ///
    /// # Panics
    ///
    /// Where there is no such group.
    pub fn vanishing_scale(&self, r: usize) -> Result<f64, Error> {
        assert!(r < self.label_spectrum()?.classes().groups().len(), "there is no group {r}");
        let reaches = |direction: &&Direction| direction.group == Some(r) || direction.group.is_none();
        Ok(self.directions().iter().filter(reaches).map(|direction| direction.critical_scale).fold(0.0, f64::max))
    }
}

/// The imbalance ratio from which on the classifiers of minority classes collapse, in step profiles of `majority` classes of `count` samples and `minority`
/// classes of `count`/ρ: the least ρ ≥ 1 such that they have collapsed at ρ and at every larger ratio. Counts are taken as real numbers.
///
/// ```text
/// q = N (λ_H λ_1 ··· λ_L)^(1/(L+1)) (count/ρ)^(-L/(L+1)) = q_L,      N = count (majority + minority/ρ)
/// ```
///
/// 1 where they have collapsed at every ratio. The minority classes then share one classifier where there is a bias, and vanish where there is none.
///
/// # Errors
///
/// As [`Ufm::biased`] for counts and decays; [`Error::Domain`] unless there are majority classes and, with a bias in mind, two minority classes.
///
/// # References
///
/// Fang et al. 2021 for minority collapse and the question.
pub fn critical_imbalance_ratio(
    majority: usize,
    minority: usize,
    count: u64,
    layers: &[Layer],
    feature_decay: f64,
) -> Result<f64, Error> {
    let too_few = |argument, classes: usize, accepted| Error::Domain { argument, value: classes as f64, accepted };
    if majority < 1 {
        return Err(too_few("majority classes", majority, "at least 1"));
    }
    if minority < 2 {
        return Err(too_few("minority classes", minority, "at least 2"));
    }
    // The decays, the layers and the count are those of a model; the number of classes is not needed for it.
    let ufm = Ufm::biased(ClassCounts::balanced(1, count)?, layers, feature_decay)?;
    let (l, depth) = (ufm.depth() as f64, ufm.depth());
    let (count, majority, minority) = (count as f64, majority as f64, minority as f64);
    // ln q - ln q_L at ρ = e^s, from the logarithm at ρ = 1, where nothing overflows.
    let constant = Wide::new(count * (majority + minority))
        .times(ufm.decay_product().over(Wide::new(count).power(depth)).root(depth + 1));
    let at_one = constant.to_f64().ln() - critical_q(depth).ln();
    let excess =
        |s: f64| at_one + (majority + minority * (-s).exp()).ln() - (majority + minority).ln() + l / (l + 1.0) * s;
    // N falls with ρ at first: q is least at ρ = minority/(L majority), and rises from there on.
    let mut low = (minority / (l * majority)).ln().max(0.0);
    if excess(low) >= 0.0 {
        return Ok(1.0);
    }
    let mut high = low + 1.0;
    while excess(high) < 0.0 {
        high *= 2.0;
    }
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return Ok(high.exp());
        }
        (low, high) = if excess(middle) < 0.0 { (middle, high) } else { (low, middle) };
    }
}
