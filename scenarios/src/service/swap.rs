//! Models that take turns on the GPUs of a replica.

use foretell_serving::turns::TurnOptions;
use foretell_traces::requests::generate::Popularity;

use super::Service;

/// Models that take turns on the GPUs of a replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Swap {
    /// How often each is asked for; none where requests name them.
    pub drawn: Option<Popularity>,
    /// The service as it is with each of the further models.
    pub models: Vec<Service>,
    /// How they take turns.
    pub options: TurnOptions,
    /// From memory of the host to a GPU.
    pub host_bytes_per_s: f64,
    /// From storage to memory of the host, for all GPUs together.
    pub storage_bytes_per_s: f64,
    /// What a change takes beside moving weights.
    pub start_ns: u64,
}

impl Swap {
    /// From when a model's turn begins until it serves: from the host's memory, and from storage.
    pub(super) fn load_ns(&self, service: &Service) -> (u64, u64) {
        let weight_bytes = service.options.weights.bytes();
        let bytes = service.model.weight_bytes(service.parallelism, weight_bytes);
        let all = bytes * f64::from(service.parallelism.gpus());
        let host_ns = self.start_ns + (bytes / self.host_bytes_per_s * 1e9).round() as u64;
        (host_ns, host_ns + (all / self.storage_bytes_per_s * 1e9).round() as u64)
    }
}
