//! Factors, limits and preemption on small clusters, and configurations that say what is wrong with them.

mod configuration;
mod cycle;
mod shares;
