//! Models that take turns on the GPUs of a replica.

use foretell_serving::turns::TurnOptions;
use foretell_traces::requests::generate::Popularity;

use super::Resolver;
use crate::file::{ServiceFile, SwapFile};
use crate::scenario::NodeGroup;
use crate::service::{Service, Swap};

impl Resolver<'_, '_> {
    pub(super) fn swap(
        &mut self,
        path: &str,
        service: &ServiceFile,
        first: &Service,
        file: &SwapFile,
        seed: u64,
        nodes: &[NodeGroup],
    ) -> Option<Swap> {
        let path = format!("{path}.swap");
        let alone = service.disaggregation.is_none() && service.rollout.is_none() && service.lora.is_none();
        let copies = service.router.copies() || service.kv_store.is_some();
        if !alone || service.data_parallel > 1 || copies {
            let message = "expected no `lora`, `disaggregation`, `rollout`, `kv_store`, `data_parallel` and router `mooncake` beside it";
            self.problem(&path, message, None);
        }
        let mut models = Vec::new();
        for (index, name) in file.models.iter().enumerate() {
            let own = ServiceFile { model: name.clone(), swap: None, lora: None, ..service.clone() };
            let requests = Some(first.requests.clone());
            models.push(self.replicas(&format!("{path}.models[{index}]"), &own, requests, seed, nodes)?);
        }
        let count = models.len() as u32 + 1;
        let drawn = Popularity { count, zipf_exponent: file.zipf_exponent, none_share: 0.0 };
        let ns = |seconds: f64| (seconds * 1e9).round() as u64;
        Some(Swap {
            drawn: service.requests.trace.is_none().then_some(drawn),
            models,
            options: TurnOptions {
                turn_ns: ns(file.turn_s),
                host_models: file.host_models.unwrap_or(count) as usize,
            },
            host_bytes_per_s: file.host_gb_per_s * 1e9,
            storage_bytes_per_s: file.storage_gb_per_s * 1e9,
            start_ns: ns(file.start_s),
        })
    }
}
