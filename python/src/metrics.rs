//! The numbers of neural collapse from an accumulator, and from layers if they are given.

use neural_collapse::{
    ClassCounts, Error, Layer, Ufm,
    faer::{Col, ColRef, Mat, Scale},
    linalg::dense_svd,
    metrics::{
        FeatureStatistics, FrameDistances, ImpliedDecays, Nc1Convention, effective_rank, frame_distances, row_sum,
        self_duality,
    },
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    accumulator::Accumulator,
    dict,
    errors::{refuse, refused},
    matrices,
    output::{array2, decays, frame},
    threads::detached,
};

/// Classes beyond which distances from frames, which take K^2 numbers, are left out.
const MOST_FRAMED: usize = 8192;
/// Classes beyond which Gram matrices are not kept for a figure.
const MOST_DRAWN: usize = 2048;

/// The last layers of a network.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// W_1 .. W_L.
    pub(crate) weights: Vec<Mat<f64>>,
    pub(crate) bias: Option<Col<f64>>,
    /// W_{L:1}, K x d.
    pub(crate) product: Mat<f64>,
}

impl Network {
    pub(crate) fn new(weights: &Bound<'_, PyAny>, bias: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let weights = matrices::layers(weights)?;
        let product = weights[1..].iter().fold(weights[0].clone(), |product, layer| layer * product);
        let bias = bias.map(|bias| matrices::bias(bias, product.nrows())).transpose()?;
        Ok(Self { weights, bias, product })
    }

    pub(crate) fn check_shape(&self, classes: usize, width: usize) -> PyResult<()> {
        let (rows, cols) = self.product.shape();
        if (rows, cols) == (classes, width) {
            return Ok(());
        }
        let transposed = if (cols, rows) == (classes, width) { ": is it the transpose?" } else { "" };
        Err(refuse(format!(
            "weights: {rows} x {cols} given, {classes} classes and features of width {width} need {classes} x \
             {width}{transposed}"
        )))
    }

    /// Whether the first layer reads features of this width.
    pub(crate) fn check_width(&self, width: usize) -> PyResult<()> {
        let (rows, cols) = self.weights[0].shape();
        if cols == width {
            return Ok(());
        }
        let transposed = if rows == width { ": is it the transpose?" } else { "" };
        Err(refuse(format!(
            "weights: {rows} x {cols} given, features of width {width} need a layer that reads {width} numbers{transposed}"
        )))
    }

    pub(crate) fn bias(&self) -> Option<ColRef<'_, f64>> {
        self.bias.as_ref().map(Col::as_ref)
    }
}

/// Singular values of one block, by falling value.
#[derive(Debug)]
pub(crate) struct Spectrum {
    pub(crate) block: String,
    pub(crate) values: Vec<f64>,
    effective_rank: Option<f64>,
}

/// Classifiers and class means, with what the theory of balanced classes asks of them.
#[derive(Debug)]
pub(crate) struct Classes {
    classifiers: Option<FrameDistances>,
    means: Option<FrameDistances>,
    self_duality: Option<f64>,
    /// Gram matrices, K x K, if they are few enough for a figure.
    classifier_gram: Option<Mat<f64>>,
    mean_gram: Option<Mat<f64>>,
}

impl Classes {
    /// Of classifiers, K x d, and class means about their center, d x K.
    pub(crate) fn new(classifiers: Option<&Mat<f64>>, means: &Mat<f64>) -> Result<Self, Error> {
        let few = means.ncols() <= MOST_FRAMED;
        let drawn = means.ncols() <= MOST_DRAWN;
        let framed = classifiers.filter(|_| few).map(|classifiers| frame_distances(classifiers.transpose()));
        let dual = classifiers.map(|classifiers| self_duality(classifiers.as_ref(), means.as_ref()));
        Ok(Self {
            classifiers: framed.transpose()?,
            means: few.then(|| frame_distances(means.as_ref())).transpose()?,
            self_duality: dual.transpose()?.flatten(),
            classifier_gram: classifiers.filter(|_| drawn).map(|classifiers| classifiers * classifiers.transpose()),
            mean_gram: drawn.then(|| means.transpose() * means),
        })
    }

    pub(crate) fn frames<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        Ok(dict!(py, {
            "classifiers": self.classifiers.as_ref().map(|distances| frame(py, distances)).transpose()?,
            "means": self.means.as_ref().map(|distances| frame(py, distances)).transpose()?,
            "self_duality": self.self_duality,
        }))
    }

    pub(crate) fn grams<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let array = |gram: &Option<Mat<f64>>| gram.as_ref().map(|gram| array2(py, gram.as_ref())).transpose();
        Ok(dict!(py, { "classifiers": array(&self.classifier_gram)?, "means": array(&self.mean_gram)? }))
    }
}

/// What statistics and layers tell without a look at single samples.
#[derive(Debug)]
pub(crate) struct Measured {
    nc1: [Option<f64>; 4],
    trace_ratio: Option<f64>,
    class_distance_normalized_variance: Option<f64>,
    feature_mean: Option<f64>,
    row_sum: Option<f64>,
    classes: Classes,
    plain_means: Option<FrameDistances>,
    pub(crate) spectra: Vec<Spectrum>,
}

impl Measured {
    pub(crate) fn new(statistics: &FeatureStatistics, network: Option<&Network>) -> Result<Self, Error> {
        let counts = statistics.class_counts()?;
        let nc1 = |convention| if statistics.has_scatter() { statistics.nc1(convention) } else { Ok(None) };
        let product = network.map(|network| &network.product);
        let few = counts.classes() <= MOST_FRAMED;
        Ok(Self {
            nc1: [
                nc1(Nc1Convention::Global)?,
                nc1(Nc1Convention::UnweightedMean)?,
                nc1(Nc1Convention::WeightedClasses)?,
                nc1(Nc1Convention::Undivided)?,
            ],
            trace_ratio: statistics.trace_ratio()?,
            class_distance_normalized_variance: statistics.class_distance_normalized_variance()?,
            feature_mean: feature_mean(&statistics.weighted_means(), &counts),
            row_sum: product.map(|product| row_sum(product.as_ref())).transpose()?.flatten(),
            classes: Classes::new(product, &statistics.centered_means()?)?,
            plain_means: few.then(|| frame_distances(statistics.class_means())).transpose()?,
            spectra: spectra(statistics, network)?,
        })
    }

    /// The entries of the dictionary that `metrics` gives, and `measure` among others.
    pub(crate) fn fill(&self, dict: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = dict.py();
        let [paper, unweighted, weighted, undivided] = self.nc1;
        dict.set_item(
            "nc1",
            dict!(py, { "paper": paper, "unweighted": unweighted, "weighted": weighted, "undivided": undivided }),
        )?;
        dict.set_item("trace_ratio", self.trace_ratio)?;
        dict.set_item("cdnv", self.class_distance_normalized_variance)?;
        dict.set_item("row_sum", self.row_sum)?;
        dict.set_item("feature_mean", dict!(py, { "measured": self.feature_mean }))?;
        let plain = self.plain_means.as_ref().map(|distances| frame(py, distances)).transpose()?;
        dict.set_item("frames", dict!(py, { "measured": self.classes.frames(py)?, "uncentered_means": plain }))?;
        dict.set_item("grams", dict!(py, { "measured": self.classes.grams(py)? }))?;
        let all = PyDict::new(py);
        for spectrum in &self.spectra {
            let of = dict!(py, { "measured": &spectrum.values, "effective_rank": spectrum.effective_rank });
            all.set_item(&spectrum.block, of)?;
        }
        dict.set_item("singular_values", all)
    }
}

/// √N ‖h_G‖/‖H̄ D‖ of weighted class means H̄ D: the part of them along (√n_1 ... √n_K)/√N.
pub(crate) fn feature_mean(weighted_means: &Mat<f64>, counts: &ClassCounts) -> Option<f64> {
    let root = |k: usize| (counts.counts()[k] as f64 / counts.samples() as f64).sqrt();
    let size = weighted_means.norm_l2();
    // Operators of faer add up in an order that depends on the number of threads.
    let mut mean = Col::<f64>::zeros(weighted_means.nrows());
    for (k, column) in weighted_means.col_iter().enumerate() {
        mean += Scale(root(k)) * column;
    }
    (size > 0.0).then(|| mean.norm_l2() / size)
}

fn spectra(statistics: &FeatureStatistics, network: Option<&Network>) -> Result<Vec<Spectrum>, Error> {
    let of = |block: String, matrix: &Mat<f64>| {
        let values: Vec<f64> = dense_svd(matrix.as_ref())?.values.iter().copied().collect();
        Ok::<_, Error>(Spectrum { block, effective_rank: effective_rank(&values), values })
    };
    let mut all = Vec::new();
    if let Some(network) = network {
        all.push(of("product".into(), &network.product)?);
    }
    all.push(of("features".into(), &statistics.weighted_means())?);
    if let Some(network) = network.filter(|network| network.weights.len() > 1) {
        for (l, layer) in network.weights.iter().enumerate() {
            all.push(of(format!("layer {}", l + 1), layer)?);
        }
    }
    Ok(all)
}

/// The decays of squared loss that class means and scatter imply.
fn implied(statistics: &FeatureStatistics, network: &Network) -> Result<ImpliedDecays, Error> {
    let layers: Vec<Layer> = network.weights.iter().map(|layer| Layer::new(layer.ncols(), 1.0)).collect();
    let ufm = Ufm::new(statistics.class_counts()?, layers, 1.0)?.with_bias(network.bias.is_some());
    statistics.gradient(&ufm, network.weights.clone(), network.bias.clone())?.implied_decays()
}

/// The metrics of an accumulator as a dictionary.
#[pyfunction]
#[pyo3(signature = (accumulator, weights=None, bias=None))]
pub(crate) fn metrics<'py>(
    py: Python<'py>,
    accumulator: &Bound<'py, Accumulator>,
    weights: Option<&Bound<'py, PyAny>>,
    bias: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    if weights.is_none() && bias.is_some() {
        return Err(refuse("bias: given without weights: give both, or neither"));
    }
    let (statistics, counts) = accumulator.get().statistics(py)?;
    let network = weights.map(|weights| Network::new(weights, bias)).transpose()?;
    if let Some(network) = &network {
        let (width, classes) = statistics.class_means().shape();
        network.check_shape(classes, width)?;
    }
    let (measured, implied) = detached(py, || {
        let measured = Measured::new(&statistics, network.as_ref())?;
        let gathered = network.as_ref().filter(|_| statistics.has_scatter());
        Ok((measured, gathered.map(|network| implied(&statistics, network)).transpose()?))
    })?
    .map_err(refused)?;
    let dict = dict!(py, { "counts": counts, "implied": PyDict::new(py) });
    measured.fill(&dict)?;
    if let Some(implied) = &implied {
        dict.set_item("implied", dict!(py, { "squared": decays(py, implied)? }))?;
    }
    Ok(dict)
}
