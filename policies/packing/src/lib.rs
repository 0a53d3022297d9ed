//! Placement policies that pack GPUs: the baselines and the method of the FGD study (USENIX ATC'23), binpack and
//! spread. All but [`RandomNode`] are scores; the node with the highest score is taken.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod allocated;
mod best_fit;
mod binpack;
mod dot_product;
mod fgd;
mod gpu_clustering;
mod gpu_packing;
mod largest;
mod memo;
mod random;
mod strategy_fit;

pub use allocated::{GpuAllocated, Preference, WorstFitGpus};
pub use best_fit::BestFit;
pub use binpack::WeightedBinpack;
pub use dot_product::DotProduct;
pub use fgd::{Fgd, FgdGpus};
pub use gpu_clustering::GpuClustering;
pub use gpu_packing::GpuPacking;
pub use random::{RandomGpus, RandomNode};
pub use strategy_fit::{ResourceStrategyFit, ScarceResources};
