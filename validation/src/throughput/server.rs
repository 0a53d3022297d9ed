//! Servers of FP8 models on H100, at maximum load and under a number of users.

use foretell_serving::memory::{Beside, VISIBLE_SHARE};
use foretell_serving::model::weights::Parallelism;
use foretell_serving::options::{AttentionKernels, Compilation, Weights};
use foretell_serving::policies::{Batcher, BlockPool, Capacity, State, TensorRtLlm};
use foretell_serving::{
    AnalyticLaw, Arrivals, Calibration, Engine, Model, Observer, Options, Outcome, Request, drive,
};

/// TensorRT-LLM's defaults (from memory).
const BLOCK_TOKENS: u32 = 32;
const MAX_SEQUENCES: u32 = 2048;
const MAX_TOKENS: u32 = 8192;

/// Of the memory that is free beside the model: published is 0.90 to 0.95, 0.9 is the default.
const CACHE_SHARE: f64 = 0.9;

/// Bytes of a weight, and of a number in the cache: NVIDIA's FP8 checkpoints ask for keys and values in 8 bits too (from memory; NIM's figures
/// at 250 users come to 86 sequences at once, for which two GPUs have no room otherwise).
const WEIGHT_BYTES: f64 = 1.0;
const CACHE_BYTES: f64 = 1.0;

const NS_PER_S: f64 = 1e9;

/// A model on H100s, in 8 bits.
pub(super) struct Server {
    law: AnalyticLaw,
    blocks: u32,
}

impl Server {
    pub(super) fn new(model: &str, gpus: u32) -> Result<Self, String> {
        let model = Model::named(model).map_err(|error| error.to_string())?;
        let calibration = Calibration::named("h100").map_err(|error| error.to_string())?;
        let parallelism = Parallelism::tensor(gpus);
        // Nothing is sent where there is but one.
        let link = calibration.link(gpus.max(2)).ok_or("no all-reduce of the H100 was timed")?;
        let options = Options {
            weights: Weights::Fp8,
            cache_number_bytes: CACHE_BYTES,
            attention: AttentionKernels::TwoCalls,
            compilation: Compilation::TensorRt,
            max_tokens: MAX_TOKENS,
            max_sequences: MAX_SEQUENCES,
            ..Options::default()
        };
        let law = AnalyticLaw::new(&model, parallelism, &calibration, &link, &options)
            .map_err(|error| error.to_string())?;
        let beside = Beside::estimate(&model, parallelism, MAX_TOKENS, MAX_SEQUENCES);
        let free = calibration.device.memory_bytes * VISIBLE_SHARE
            - model.weight_bytes(parallelism, WEIGHT_BYTES)
            - beside.activation_bytes
            - beside.other_bytes;
        let block = f64::from(BLOCK_TOKENS) * model.kv_bytes_per_token(parallelism, CACHE_BYTES);
        Ok(Self { law, blocks: (CACHE_SHARE * free / block) as u32 })
    }

    fn engine(&self, chunked_context: bool) -> Engine<AnalyticLaw> {
        let batcher: Box<dyn Batcher + Send> = Box::new(TensorRtLlm {
            capacity: Capacity::GuaranteedNoEvict,
            max_sequences: MAX_SEQUENCES,
            max_batched_tokens: MAX_TOKENS,
            chunked_context,
        });
        Engine::new(self.law.clone(), batcher, State::new(BlockPool::new(self.blocks, BLOCK_TOKENS)))
    }

    /// What becomes of requests of these lengths from so many users.
    fn outcomes(
        &self,
        chunked_context: bool,
        users: u32,
        requests: u32,
        lengths: (u32, u32),
    ) -> Result<Vec<Outcome>, String> {
        let mut arrivals = Closed { left: requests, sent: 0, due_ns: vec![0; users as usize], lengths };
        let mut done = [Done(Vec::with_capacity(requests as usize))];
        match drive(&mut [self.engine(chunked_context)], &mut arrivals, |_, _| 0, &mut done).first() {
            Some((request, rejection)) => Err(format!("request {request}: {rejection}")),
            None => Ok(std::mem::take(&mut done[0].0)),
        }
    }

    /// Tokens generated a second where all requests are there from the beginning. Prompts may be read in parts: some are longer than an iteration.
    pub(super) fn maximum_load(&self, requests: u32, lengths: (u32, u32)) -> Result<f64, String> {
        let outcomes = self.outcomes(true, requests, requests, lengths)?;
        let end_ns = outcomes.iter().map(|outcome| outcome.last_token_ns).max().unwrap_or(0);
        Ok(f64::from(requests) * f64::from(lengths.1) * NS_PER_S / end_ns as f64)
    }

    /// Milliseconds to the first token, milliseconds between tokens, and tokens generated a second under so many users. The beginning, where all
    /// send at once, does not count. Prompts are read whole, as by default.
    pub(super) fn users(&self, users: u32, lengths: (u32, u32)) -> Result<[f64; 3], String> {
        let outcomes = self.outcomes(false, users, (BEGIN + MEASURED + END) * users, lengths)?;
        // In the order in which they were done.
        let first = (BEGIN * users) as usize;
        let begin_ns = outcomes[first - 1].last_token_ns;
        let measured = &outcomes[first..first + (MEASURED * users) as usize];
        let end_ns = measured.last().map_or(begin_ns, |last| last.last_token_ns);
        let count = measured.len() as f64;
        let mean_ms = |of: &dyn Fn(&Outcome) -> u64| {
            measured.iter().map(|outcome| of(outcome) as f64 / 1e6).sum::<f64>() / count
        };
        let tokens = f64::from(lengths.1);
        Ok([
            mean_ms(&|outcome| outcome.first_token_ns - outcome.arrival_ns),
            mean_ms(&|outcome| outcome.last_token_ns - outcome.first_token_ns) / (tokens - 1.0),
            count * tokens * NS_PER_S / (end_ns - begin_ns) as f64,
        ])
    }
}

/// Requests of each user before those that are measured, of these, and after them.
const BEGIN: u32 = 4;
const MEASURED: u32 = 4;
const END: u32 = 1;

/// Users of whom each sends its next request once the last is answered.
struct Closed {
    left: u32,
    sent: u32,
    /// When those who have no answer to wait for send, the last of them first.
    due_ns: Vec<u64>,
    lengths: (u32, u32),
}

impl Arrivals for Closed {
    fn next_ns(&mut self) -> Option<u64> {
        self.due_ns.last().copied().filter(|_| self.left > 0)
    }

    fn take(&mut self) -> Option<Request<'_>> {
        let arrival_ns = self.due_ns.pop()?;
        self.left -= 1;
        self.sent += 1;
        let (prompt_tokens, output_tokens) = self.lengths;
        Some(Request {
            index: self.sent - 1,
            arrival_ns,
            prompt_tokens,
            output_tokens,
            limit_tokens: output_tokens,
            priority: 0,
            adapter: 0,
            block_keys: &[],
        })
    }

    fn done(&mut self, _request: u32, now_ns: u64) {
        // Nobody is done before those that were: the earliest stay last.
        self.due_ns.insert(0, now_ns);
    }
}

/// What became of requests, in the order in which they were done.
struct Done(Vec<Outcome>);

impl Observer for Done {
    fn finished(&mut self, outcome: &Outcome) {
        self.0.push(*outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_as_many_as_they_are() {
        let server = Server::new("llama-3.1-8b", 1).unwrap();
        for users in [1, 7, 40] {
            let (prompt, answer) = (500, 50);
            let [first_ms, inter_ms, tokens_per_s] = server.users(users, (prompt, answer)).unwrap();
            // Little's law: as each has a request under way at any time, requests a second times their time are the users.
            let each_s = (first_ms + inter_ms * f64::from(answer - 1)) / 1e3;
            let under_way = tokens_per_s / f64::from(answer) * each_s;
            assert!((under_way / f64::from(users) - 1.0).abs() < 0.05, "{users}: {under_way}");
        }
    }

    #[test]
    fn all_tokens_count_at_maximum_load() {
        // One request alone: its tokens over its time.
        let server = Server::new("llama-3.1-8b", 1).unwrap();
        let alone = server.maximum_load(1, (100, 100)).unwrap();
        let [first_ms, inter_ms, _] = server.users(1, (100, 100)).unwrap();
        let expected = 100.0 / ((first_ms + 99.0 * inter_ms) / 1e3);
        assert!((alone / expected - 1.0).abs() < 1e-6, "{alone} {expected}");
        assert!(server.maximum_load(64, (100, 100)).unwrap() > 20.0 * alone);
        assert!(server.maximum_load(1, (10_000_000, 1)).is_err());
    }
}
