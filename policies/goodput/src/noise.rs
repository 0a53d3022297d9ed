//! How much an example teaches: the noise of gradients.

/// Norms of a gradient, as measured while training with some batch size. Their ratio is the gradient noise scale: batches
/// much below it lose nothing by growing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GradientNoise {
    /// Squared norm of the mean gradient.
    pub squared: f64,
    /// Total variance of the gradient of a batch of the initial size.
    pub variance: f64,
}

impl GradientNoise {
    /// Steps of the initial batch size that one step of a batch `scale` times as large is worth: between 1 and `scale`
    /// where `scale` is at least 1. Pollux (OSDI'21), its eq. 3 in terms of `AdaScale`'s gain.
    pub fn gain(&self, scale: f64) -> f64 {
        let denominator = self.variance / scale + self.squared;
        if denominator > 0.0 { (self.variance + self.squared) / denominator } else { 1.0 }
    }
}
