//! Adapters of a service's model.

use foretell_serving::adapters::{AdapterLinks, AdapterTargets};
use foretell_traces::generate::GenerateError;
use foretell_traces::requests::generate::{Choices, Popularity};

use super::Resolver;
use crate::file::{BatcherFile, LoraFile, LoraLoadingFile, LoraTargetsFile, ServiceFile};
use crate::service::Lora;

impl Resolver<'_, '_> {
    pub(super) fn lora(&mut self, path: &str, service: &ServiceFile, seed: u64) -> Option<Lora> {
        let file = service.lora.as_ref()?;
        let path = format!("{path}.lora");
        let alone = service.pipeline_parallel == 1 && service.data_parallel == 1;
        if service.engine.batcher != BatcherFile::Vllm || !alone {
            let message = "expected `engine.batcher = \"vllm\"`, one stage and no `data_parallel` beside it";
            self.problem(&path, message, None);
        }
        if let Some(host) = file.max_cpu_loras.filter(|&host| host < file.max_loras) {
            let message = format!(
                "expected at least `max_loras` ({}): adapters on the GPUs are among them, got {host}",
                file.max_loras
            );
            self.problem(&format!("{path}.max_cpu_loras"), message, None);
        }
        if file.adapters.is_none() && service.requests.trace.is_none() {
            let message = "expected `adapters` where requests are drawn: a column `model` is that of a trace";
            self.problem(&path, message, None);
        }
        let LoraFile { zipf_exponent, base_share, .. } = *file;
        let drawn = file.adapters.map(|count| Popularity { count, zipf_exponent, none_share: base_share });
        if let Some(Err(GenerateError { field, expected, got })) =
            drawn.map(|popularity| Choices::new(&popularity, seed))
        {
            self.problem(&format!("{path}.{field}"), format!("expected {expected}, got {got}"), None);
        }
        Some(Lora {
            drawn,
            rank: file.rank,
            targets: match file.targets {
                LoraTargetsFile::Attention => AdapterTargets::Attention,
                LoraTargetsFile::All => AdapterTargets::All,
            },
            max_loras: file.max_loras,
            max_cpu_loras: file.max_cpu_loras.unwrap_or(file.max_loras),
            overlapped: file.loading == LoraLoadingFile::Overlapped,
            links: AdapterLinks {
                host_bytes_per_s: file.host_gb_per_s * 1e9,
                storage_bytes_per_s: file.storage_gb_per_s * 1e9,
                storage_latency_ns: file.storage_latency_ms * 1e6,
            },
        })
    }
}
