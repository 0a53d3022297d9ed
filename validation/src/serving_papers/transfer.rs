//! Mooncake (FAST'25): how long keys and values are on their way from one node to another.
//!
//! Its table is of Qwen3-8B over eight GPUs of a node with eight cards of 200 Gbit/s. Its bytes are in units of 1024: 147,456 of a token make 2.25 and 4.50 GB of the two longest prompts. The defaults of `disaggregation.transfer` were chosen by it, so that
//! it says that moves take what they are to take, not that they were predicted.

use std::path::Path;

use super::deployment::Deployment;
use super::judge::Line;
use crate::Error;

const PAPER: &str = "Mooncake";

/// Tokens and milliseconds.
const PUBLISHED_MS: [(u32, f64); 5] =
    [(128, 0.54), (1024, 1.50), (4096, 4.75), (16_384, 16.43), (32_768, 31.65)];

/// Prompts from so many tokens on are judged more strictly: before, it is latency that counts.
const LONG_TOKENS: u32 = 1024;
const LONG_PERCENT: f64 = 6.0;
const SHORT_PERCENT: f64 = 20.0;

/// H800 differ from H100 in their `NVLinks`, which do not matter between nodes.
const NODES: &str = "node_types = [{ name = \"roce\", cpus = 192, memory = \"2 TiB\", gpu = \"H100\", gpus = 8, nics = 8, nic_gbit_per_s = 200, network = \"roce\" }]\n\
                     nodes = [{ type = \"roce\", count = 2 }]";

/// One line for each length of prompts.
pub(super) fn lines(data: &Path) -> Result<Vec<Line>, Error> {
    PUBLISHED_MS.iter().map(|&(tokens, published_ms)| line(data, tokens, published_ms)).collect()
}

fn line(data: &Path, tokens: u32, published_ms: f64) -> Result<Line, Error> {
    let deployment = Deployment {
        cluster: NODES,
        service: "model = \"qwen3-8b\"\nreplicas = 2\ntensor_parallel = 8\n\
                  disaggregation = { prefill_replicas = 1 }"
            .to_owned(),
        // One at a time, so that none shares the way with another.
        requests: format!(
            "[service.requests.synthetic]\ncount = 10\narrival = {{ process = \"constant\", rate_per_s = 0.1 }}\n\
             prompt = {{ law = \"constant\", count = {tokens} }}\noutput = {{ law = \"constant\", count = 2 }}\nmax_model_tokens = 40960"
        ),
    };
    let ours_ms = deployment.served(data)?.handed_over.map_or(f64::NAN, |moves| 1e3 * moves.transfer_s);
    let percent = if tokens < LONG_TOKENS { SHORT_PERCENT } else { LONG_PERCENT };
    let case = format!("keys and values of {tokens} tokens");
    Ok(Line::figure(PAPER, case, "ms", (published_ms, ours_ms), percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_moved_in_the_time_that_was_published() {
        // No data are needed.
        let lines = lines(Path::new("")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(lines.len(), PUBLISHED_MS.len());
        for line in lines {
            assert!(line.passed(), "{line:?}");
        }
    }
}
