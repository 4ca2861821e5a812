//! The MLP's activation and its derivative.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, sigmoid};

use crate::config::{Activation, QUICK_GELU};
use crate::kernels;

impl Activation {
    /// Applies the activation elementwise.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        if let Some(activated) = kernels::activate(self, &x) {
            return activated;
        }
        match self {
            Activation::QuickGelu => sigmoid(x.clone() * QUICK_GELU) * x,
            Activation::Gelu => gelu(x),
        }
    }

    /// The gradient at `x` from the gradient at the output.
    pub fn pullback<const D: usize>(self, x: &Tensor<D>, gradient: Tensor<D>) -> Tensor<D> {
        kernels::activate_pullback(self, x, &gradient)
            .unwrap_or_else(|| gradient * self.derivative(x.clone()))
    }

    /// The derivative at `x`, elementwise.
    pub fn derivative<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Activation::QuickGelu => {
                let gate = sigmoid(x.clone() * QUICK_GELU);
                gate.clone() * ((x * (-gate + 1.0) * QUICK_GELU) + 1.0)
            }
            Activation::Gelu => {
                let normal_cdf = ((x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
                let normal_pdf = (x.clone().square() * -0.5).exp()
                    * (0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
                normal_cdf + x * normal_pdf
            }
        }
    }
}
