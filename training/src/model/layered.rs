//! Sizes of models that are blocks one after the other.

/// Blocks one after the other, and tables that rows are looked up in.
#[derive(Clone, PartialEq, Debug)]
pub struct Layered {
    /// In the order of the forward pass.
    pub blocks: Vec<Block>,
    /// Embedding tables that are split over the GPUs; rows go to who needs them by all-to-all.
    pub table_parameters: f64,
    /// Bytes of looked-up rows for each sample.
    pub row_bytes_per_sample: f64,
}

/// Layers that are looked at together.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub parameters: f64,
    /// Operations forward for each sample, multiplications and additions.
    pub forward_flops: f64,
    /// Of those, in 3 x 3 convolutions with a stride of 1.
    pub three_by_three_flops: f64,
    /// Numbers that it puts out for each sample, in all its layers.
    pub activations: f64,
    /// Kernels forward.
    pub kernels: f64,
}

impl Layered {
    /// All parameters that every GPU has.
    pub fn dense_parameters(&self) -> f64 {
        self.blocks.iter().map(|block| block.parameters).sum()
    }

    /// All parameters.
    pub fn parameters(&self) -> f64 {
        self.dense_parameters() + self.table_parameters
    }

    /// Operations forward for each sample.
    pub fn forward_flops(&self) -> f64 {
        self.blocks.iter().map(|block| block.forward_flops).sum()
    }

    /// Numbers that all its layers put out for each sample.
    pub fn activations(&self) -> f64 {
        self.blocks.iter().map(|block| block.activations).sum()
    }
}
