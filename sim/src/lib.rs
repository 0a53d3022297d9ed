//! foretell's simulation library: no files, no printing.

pub mod engine;
pub mod event;
pub mod explain;
pub mod log;
pub mod platform;
pub mod traffic;

pub use foretell_fabric as fabric;
pub use foretell_framework as framework;
