//! The network: six hidden layers with ReLU, a layer whose output is the feature, and the linear layers of the theory.

use anyhow::{Result, anyhow};
use burn::{
    module::{Module, Param},
    nn::Linear,
    tensor::{Device, Tensor, TensorData, activation::relu},
};
use neural_collapse::{
    faer::{Mat, MatRef, linalg::solvers::Qr},
    rand::{Rng, RngExt, SeedableRng, rngs::Xoshiro256PlusPlus},
};
use rand_distr::{Distribution, StandardNormal};

/// Hidden layers with ReLU: a 6-layer MLP, as in Liu 2024, section 5.
const HIDDEN: usize = 6;

/// The sizes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Numbers of an image.
    pub inputs: usize,
    /// The width of every layer, d_1 = ... = d_L among them.
    pub width: usize,
    /// Linear layers L.
    pub layers: usize,
    /// Classes K.
    pub classes: usize,
    /// Whether the last layer has a bias.
    pub bias: bool,
    /// Whether there is a ReLU after the layer that makes the features.
    pub relu_features: bool,
}

/// A multilayer perceptron whose last layers are linear.
///
/// ```text
/// x  →  6 × (linear, ReLU)  →  linear  =  h  →  W_1  →  ...  →  W_L + b
/// ```
///
/// The features h have signs, as the free variables of the theory do, unless a ReLU after them is asked for. burn keeps
/// weights as inputs × outputs by rows, which is W_l by columns.
#[derive(Module, Debug)]
pub struct Network {
    backbone: Vec<Linear>,
    head: Vec<Linear>,
    /// Layers of the backbone with a ReLU after them.
    #[module(skip)]
    rectified: usize,
}

impl Shape {
    /// The number of weights, where it can be counted.
    #[must_use]
    pub fn weights(&self) -> Option<usize> {
        let square = self.width.checked_mul(self.width)?.checked_mul(HIDDEN + self.layers - 1)?;
        let ends = self.width.checked_mul(self.inputs.checked_add(self.classes)?)?;
        square.checked_add(ends)
    }

    /// A network whose linear layers are orthogonal, with a bias of zero, and whose other layers are uniform within
    /// ± 1/√inputs, as PyTorch's are. The seed decides, not the device.
    #[must_use]
    pub fn start(&self, seed: u64, device: &Device) -> Network {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let inputs = |l: usize| if l == 0 { self.inputs } else { self.width };
        let backbone = (0..=HIDDEN).map(|l| uniform(inputs(l), self.width, device, &mut rng)).collect();
        let outputs = |l: usize| if l + 1 == self.layers { self.classes } else { self.width };
        let mut head: Vec<_> = (0..self.layers).map(|l| orthogonal(self.width, outputs(l), device, &mut rng)).collect();
        if let (true, Some(last)) = (self.bias, head.last_mut()) {
            last.bias = Some(Param::from_data(TensorData::zeros::<f32, _>([self.classes]), device));
        }
        Network { backbone, head, rectified: HIDDEN + usize::from(self.relu_features) }
    }
}

impl Network {
    /// The features of a batch of images, B × D to B × d_1.
    #[must_use]
    pub fn features(&self, mut signal: Tensor<2>) -> Tensor<2> {
        for (l, layer) in self.backbone.iter().enumerate() {
            signal = layer.forward(signal);
            if l < self.rectified {
                signal = relu(signal);
            }
        }
        signal
    }

    /// The outputs W_{L:1} h + b for a batch of features, B × d_1 to B × K.
    #[must_use]
    pub fn outputs(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.iter().fold(features, |signal, layer| layer.forward(signal))
    }

    /// The transposes of W_1 .. W_L, in the graph of gradients.
    pub fn linear_weights(&self) -> impl Iterator<Item = Tensor<2>> {
        self.head.iter().map(|layer| layer.weight.val())
    }

    /// W_1 .. W_L, copied.
    ///
    /// # Errors
    ///
    /// Where the device fails.
    pub fn linear_layers(&self) -> Result<Vec<Mat<f64>>> {
        self.linear_weights().map(|weight| matrix(weight.inner())).collect()
    }

    /// The bias b, if there is one, in the graph of gradients.
    #[must_use]
    pub fn last_bias(&self) -> Option<Tensor<1>> {
        self.head.last()?.bias.as_ref().map(Param::val)
    }

    /// The bias b, if there is one, copied.
    ///
    /// # Errors
    ///
    /// Where the device fails.
    pub fn bias(&self) -> Result<Option<Vec<f64>>> {
        let Some(bias) = self.last_bias() else { return Ok(None) };
        let values = numbers(bias.inner())?;
        Ok(Some(values.into_iter().map(f64::from).collect()))
    }
}

/// The numbers of a tensor, by rows.
///
/// # Errors
///
/// Where the device fails.
pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(|error| anyhow!("reading numbers from the device: {error}"))
}

/// The transpose of a tensor.
fn matrix(tensor: Tensor<2>) -> Result<Mat<f64>> {
    let [cols, rows] = tensor.dims();
    let numbers = numbers(tensor)?;
    let matrix = MatRef::from_column_major_slice(&numbers, rows, cols);
    Ok(Mat::from_fn(rows, cols, |i, j| f64::from(matrix[(i, j)])))
}

/// Weights and bias uniform within ± 1/√inputs: PyTorch's default, Kaiming-uniform with a = √5.
fn uniform(inputs: usize, outputs: usize, device: &Device, rng: &mut impl Rng) -> Linear {
    #[allow(clippy::cast_possible_truncation)]
    let bound = 1.0 / (inputs as f64).sqrt() as f32;
    let mut draw = |count: usize| (0..count).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0)).collect::<Vec<_>>();
    let weight = TensorData::new(draw(inputs * outputs), [inputs, outputs]);
    let bias = TensorData::new(draw(outputs), [outputs]);
    Linear { weight: Param::from_data(weight, device), bias: Some(Param::from_data(bias, device)) }
}

/// Orthonormal rows or columns, whichever are fewer, uniform among all: the Q of a Gaussian matrix, with the signs of
/// R (Mezzadri 2007), as PyTorch's `orthogonal_`. Without a bias.
fn orthogonal(inputs: usize, outputs: usize, device: &Device, rng: &mut impl Rng) -> Linear {
    let (long, short) = (inputs.max(outputs), inputs.min(outputs));
    let gaussian = Mat::<f64>::from_fn(long, short, |_, _| StandardNormal.sample(rng));
    let qr = Qr::new(gaussian.as_ref());
    let (q, r) = (qr.compute_thin_Q(), qr.thin_R());
    let entry = |i: usize, j: usize| {
        let (row, col) = if inputs >= outputs { (i, j) } else { (j, i) };
        q[(row, col)].copysign(q[(row, col)] * r[(col, col)])
    };
    #[allow(clippy::cast_possible_truncation)]
    let weight = (0..inputs).flat_map(|i| (0..outputs).map(move |j| (i, j))).map(|(i, j)| entry(i, j) as f32).collect();
    Linear { weight: Param::from_data(TensorData::new::<f32, _>(weight, [inputs, outputs]), device), bias: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_layers_start_orthogonal_and_the_seed_decides() {
        let shape = Shape { inputs: 5, width: 12, layers: 2, classes: 3, bias: true, relu_features: false };
        let network = shape.start(7, &Device::flex());
        let layers = network.linear_layers().unwrap();
        assert_eq!(layers.iter().map(|w| (w.nrows(), w.ncols())).collect::<Vec<_>>(), [(12, 12), (3, 12)]);
        for layer in &layers {
            let gram = layer * layer.transpose();
            // Twelve products of entries rounded to f32, whose squares add up to one.
            assert!(
                (gram - Mat::<f64>::identity(layer.nrows(), layer.nrows())).norm_max() < 2.0 * f64::from(f32::EPSILON)
            );
        }
        assert_eq!(network.bias().unwrap(), Some(vec![0.0; 3]));
        assert_eq!(layers, shape.start(7, &Device::flex()).linear_layers().unwrap());
        assert_ne!(layers, shape.start(8, &Device::flex()).linear_layers().unwrap());
        assert_eq!(network.num_params(), shape.weights().unwrap() + 7 * 12 + 3);
    }

    #[test]
    fn features_have_signs_unless_there_is_a_relu() {
        let device = Device::flex();
        let features = |relu_features: bool| {
            let shape = Shape { inputs: 4, width: 32, layers: 1, classes: 2, bias: false, relu_features };
            numbers(shape.start(0, &device).features(Tensor::ones([1, 4], &device))).unwrap()
        };
        let (signed, rectified) = (features(false), features(true));
        assert!(signed.iter().any(|&x| x > 0.0) && signed.iter().any(|&x| x < 0.0));
        assert_eq!(rectified, signed.into_iter().map(|x| x.max(0.0)).collect::<Vec<_>>());
    }
}
