//! AdamW in double precision, and how far rounding may carry its result.

/// AdamW with the official settings, replayed from given gradients.
///
/// Loshchilov and Hutter, *Decoupled Weight Decay Regularization* (2019), algorithm 2:
///
/// ```text
/// m = 0.9 m + 0.1 g             v = 0.999 v + 0.001 g^2
/// r = (m / (1 - 0.9^t)) / (sqrt(v / (1 - 0.999^t)) + 1e-8)
/// p = (1 - 0.005 * 0.01) p - 0.005 r
/// ```
///
/// The ratio `r` divides gradients by their own size: where a gradient is near its rounding error,
/// two correct programs step by different amounts. How different follows from the equations. With
/// gradients off by at most `d`, `m / (1 - 0.9^t)` is a weighted mean of gradients, so it is off by
/// at most `d`; `sqrt(v / (1 - 0.999^t))` is a weighted root mean square, so it is as well (the
/// triangle inequality); hence `r` is off by at most `(1 + |r|) d / (sqrt(v / ..) + 1e-8)`, and
/// never by more than the two largest values that it can have.
#[derive(Debug, Clone)]
pub struct AdamwReplay {
    parameters: Vec<f64>,
    uncertainty: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    gradient_error: Vec<f64>,
    steps: i32,
}

const LEARNING_RATE: f64 = 5e-3;
const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;
const WEIGHT_DECAY: f64 = 0.01;
/// Roundings of single precision in one step: each of its few operations makes one.
const ROUNDING: f64 = 4.0 * f32::EPSILON as f64;

impl AdamwReplay {
    /// Starts from parameters, without moments.
    pub fn new(parameters: &[f32]) -> Self {
        let zeros = vec![0.0; parameters.len()];
        Self {
            parameters: parameters.iter().copied().map(f64::from).collect(),
            uncertainty: zeros.clone(),
            first: zeros.clone(),
            second: zeros.clone(),
            gradient_error: zeros,
            steps: 0,
        }
    }

    /// Forgets the moments and keeps the parameters, as adaptation does from image to image.
    pub fn reset_moments(&mut self) {
        for values in [&mut self.first, &mut self.second, &mut self.gradient_error] {
            values.fill(0.0);
        }
        self.steps = 0;
    }

    /// One step along `gradient`, each of whose elements may be off by its own `error`.
    pub fn step(&mut self, gradient: &[f32], error: &[f32]) {
        assert_eq!(gradient.len(), self.parameters.len(), "one gradient per parameter");
        assert_eq!(error.len(), self.parameters.len(), "one error per parameter");
        self.steps += 1;
        let corrections = [1.0 - BETAS.0.powi(self.steps), 1.0 - BETAS.1.powi(self.steps)];
        // By the Cauchy-Schwarz inequality no sequence of gradients has a larger ratio.
        let weights = (0..self.steps).map(|age| {
            let first = (1.0 - BETAS.0) * BETAS.0.powi(age) / corrections[0];
            first * first / ((1.0 - BETAS.1) * BETAS.1.powi(age) / corrections[1])
        });
        let largest_ratio = weights.sum::<f64>().sqrt();
        for index in 0..gradient.len() {
            let gradient = f64::from(gradient[index]);
            let (first, second) = (&mut self.first[index], &mut self.second[index]);
            *first += (gradient - *first) * (1.0 - BETAS.0);
            *second = *second * BETAS.1 + gradient * gradient * (1.0 - BETAS.1);
            let denominator = (*second / corrections[1]).sqrt() + EPSILON;
            let ratio = *first / corrections[0] / denominator;
            let gradient_error = &mut self.gradient_error[index];
            *gradient_error = gradient_error.max(error[index].into());
            let ratio_error = (1.0 + ratio.abs()) * *gradient_error / denominator;
            let step_error = LEARNING_RATE * ratio_error.min(2.0 * largest_ratio);

            let parameter = &mut self.parameters[index];
            let sizes = parameter.abs() + LEARNING_RATE * ratio.abs();
            *parameter = *parameter * (1.0 - LEARNING_RATE * WEIGHT_DECAY) - LEARNING_RATE * ratio;
            self.uncertainty[index] += step_error + ROUNDING * sizes;
        }
    }

    /// The parameters.
    pub fn parameters(&self) -> Vec<f32> {
        self.parameters.iter().map(|&parameter| parameter as f32).collect()
    }

    /// How far each parameter may be from another program's.
    pub fn uncertainty(&self) -> Vec<f32> {
        self.uncertainty.iter().map(|&uncertainty| uncertainty as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Recording, assert_within};

    #[test]
    fn the_replay_is_pytorchs_adamw() {
        let recording = Recording::open("adamw");
        let mut replay = AdamwReplay::new(&recording.floats("p0.init"));
        for step in 0..6 {
            if step == 3 {
                replay.reset_moments();
            }
            let gradient = recording.floats(&format!("step{step}.grad0"));
            replay.step(&gradient, &vec![0.0; gradient.len()]);
            let expected = recording.floats(&format!("step{step}.p0"));
            let uncertainty = replay.uncertainty();
            assert_within("replay", &replay.parameters(), &expected, &uncertainty);
            assert!(uncertainty.iter().all(|&uncertainty| uncertainty < 1e-5), "{uncertainty:?}");
        }
    }

    #[test]
    fn errors_of_gradients_weigh_as_the_gradients_are_small() {
        let error = 1e-6;
        let run = |gradient: f32| {
            let mut replay = AdamwReplay::new(&[0.0]);
            replay.step(&[gradient], &[error]);
            let mut other = AdamwReplay::new(&[0.0]);
            other.step(&[gradient + error], &[0.0]);
            let moved = (replay.parameters()[0] - other.parameters()[0]).abs();
            (replay.uncertainty()[0], moved)
        };
        for (gradient, most) in [(1.0, 2e-8), (1e-3, 2e-5), (-5e-7, 2e-2)] {
            let (uncertainty, moved) = run(gradient);
            assert!(moved <= uncertainty, "{gradient}: {moved} is over {uncertainty}");
            assert!(uncertainty <= most, "{gradient}: {uncertainty}");
        }
    }
}
