//! What an error can be about.

use std::fmt;

/// A block of the variables of a model: one weight matrix, the features or the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Block {
    /// The weights of a linear layer by its position from 0: `Weights(0)` is the paper's W₁.
    Weights(usize),
    /// The product W_{L:1} = W_L ··· W_1.
    Product,
    /// The features H.
    Features,
    /// The bias b.
    Bias,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights(layer) => write!(f, "W_{}", layer + 1),
            Self::Product => write!(f, "the product W_L...W_1"),
            Self::Features => write!(f, "the features H"),
            Self::Bias => write!(f, "the bias b"),
        }
    }
}
