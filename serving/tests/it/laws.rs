//! What iterations take, by the law.

use foretell_serving::options::{AttentionKernels, Compilation, ExpertExchange, Pruning, Weights};
use foretell_serving::{
    AnalyticLaw, Batch, Calibration, Chunk, Link, LinkKind, Model, Options, Parallelism, StepLaw,
};
use proptest::prelude::*;

const NO_LINK: Link = Link::additive(LinkKind::NvLink, 1e11, 5e-6);

fn law_with(model: &str, split: Parallelism, options: &Options) -> AnalyticLaw {
    let calibration = Calibration::named("rtx-pro-6000").unwrap();
    AnalyticLaw::new(&Model::named(model).unwrap(), split, &calibration, &NO_LINK, options).unwrap()
}

fn law(model: &str, options: &Options) -> AnalyticLaw {
    law_with(model, Parallelism::default(), options)
}

fn decode(decodes: u32, each: u64) -> Batch<'static> {
    let context = u64::from(decodes) * each;
    Batch { decodes, decode_context_tokens: context, sampled: decodes, ..Batch::default() }
}

fn chunk(chunks: &[Chunk]) -> Batch<'_> {
    Batch { chunks, ..Batch::default() }
}

fn ms(law: &AnalyticLaw, batch: &Batch<'_>) -> f64 {
    (0..law.stages()).map(|stage| law.stage_ns(batch, stage)).sum::<f64>() / 1e6
}

/// Weights have to be read: 16 GB at 1.6 TB/s are 10 ms. A prompt of 2,048 tokens is 2 x 7.5e9 x 2048 operations: 61 ms at the peak.
#[test]
fn an_iteration_takes_what_its_bytes_and_operations_take() {
    let law = law("llama-3.1-8b", &Options::default());
    let one = ms(&law, &decode(1, 100));
    assert!((10.0..13.0).contains(&one), "{one} ms");
    let prompt = ms(&law, &chunk(&[Chunk { tokens: 2048, context_tokens: 0 }]));
    assert!((65.0..95.0).contains(&prompt), "{prompt} ms");
}

/// The most important effect of the reference: 128 sequences of 1,024 tokens take 405 us of attention a layer, and 672 with a chunk of 16.
#[test]
fn a_chunk_slows_what_decodes_beside_it() {
    let law = law("llama-3.1-8b", &Options::default());
    let seconds = |chunks: &[Chunk]| {
        let batch = Batch { chunks, ..decode(128, 1024) };
        law.attention().seconds(&batch, f64::INFINITY)
    };
    let (alone, beside) = (seconds(&[]), seconds(&[Chunk { tokens: 16, context_tokens: 0 }]));
    assert!((alone / 405e-6 - 1.0).abs() < 0.1, "{alone}");
    assert!((beside / 672e-6 - 1.0).abs() < 0.2, "{beside}");
}

#[test]
fn the_walk_of_one_long_sequence_bounds_a_call() {
    let law = law("llama-3.1-8b", &Options::default());
    // Measured: 1 sequence of 16,384 beside a chunk of 16: 364 us.
    let chunks = [Chunk { tokens: 16, context_tokens: 0 }];
    let seconds = law.attention().seconds(&Batch { chunks: &chunks, ..decode(1, 16384) }, f64::INFINITY);
    assert!((seconds / 364e-6 - 1.0).abs() < 0.1, "{seconds}");
}

/// What an option does, as the ratio of iterations: of one sequence that decodes, and of a prompt of 4,096 tokens.
#[test]
fn options_have_their_effects() {
    let base = Options::default();
    let plain = law("llama-3.1-8b", &base);
    let (one, prompt) = (decode(1, 100), [Chunk { tokens: 4096, context_tokens: 0 }]);
    for (what, options, decoding, prefill) in [
        ("int4", Options { weights: Weights::Int4, ..base.clone() }, 0.28..0.45, 0.95..1.05),
        ("fp8", Options { weights: Weights::Fp8, ..base.clone() }, 0.5..0.8, 0.5..0.8),
        (
            "half",
            Options { pruning: Pruning::Structured { share: 0.5 }, ..base.clone() },
            0.5..0.65,
            0.5..0.7,
        ),
        ("2 of 4", Options { pruning: Pruning::TwoOfFour, ..base.clone() }, 0.55..0.7, 0.5..0.7),
        ("unfused", Options { attention: AttentionKernels::Unfused, ..base.clone() }, 1.0..1.2, 1.5..4.0),
        ("engine", Options { compilation: Compilation::TensorRt, ..base.clone() }, 0.96..1.0, 0.85..0.999),
        ("overhead", Options { step_overhead_us: 1000.0, ..base.clone() }, 1.05..1.12, 1.0..1.01),
    ] {
        let changed = law("llama-3.1-8b", &options);
        let ratio = |batch: &Batch<'_>| ms(&changed, batch) / ms(&plain, batch);
        let (found_one, found_prompt) = (ratio(&one), ratio(&chunk(&prompt)));
        assert!(decoding.contains(&found_one), "{what}: {found_one}");
        assert!(prefill.contains(&found_prompt), "{what}: {found_prompt}");
    }
}

#[test]
fn the_interpreter_bounds_small_iterations() {
    let options = Options { compilation: Compilation::Eager, ..Options::default() };
    // 28 layers of 32 us and 126 us.
    let small = law("qwen2-7b", &Options { weights: Weights::Int4, ..options.clone() });
    assert!(ms(&small, &decode(1, 10)) * 1e3 >= 28.0 * 32.0 + 126.0);
    // phi-2 on this GPU: 3.5 ms of weights are more than 1.15 ms.
    let eager = ms(&law("phi-2", &options), &decode(1, 10));
    let graphs = ms(&law("phi-2", &Options::default()), &decode(1, 10));
    assert!((eager / graphs - 1.0).abs() < 1e-3, "{eager} {graphs}");
}

#[test]
fn more_gpus_and_stages() {
    let whole = law("qwen3-32b", &Options::default());
    let half = law_with("qwen3-32b", Parallelism::tensor(2), &Options::default());
    let batch = decode(16, 1000);
    let ratio = ms(&half, &batch) / ms(&whole, &batch);
    assert!((0.5..0.62).contains(&ratio), "{ratio}");
    let split = Parallelism { pipeline: 4, ..Parallelism::default() };
    let staged = law_with("qwen3-32b", split, &Options::default());
    assert_eq!(staged.stages(), 4);
    // All stages together take what one GPU takes, and what is sent three times.
    let sent = 3.0 * NO_LINK.send_s(16.0 * 5120.0 * 2.0) * 1e3;
    assert!((ms(&staged, &batch) - ms(&whole, &batch) - sent).abs() < 1e-6);
}

#[test]
fn experts_are_shared_by_a_group() {
    let split = Parallelism { data: 2, expert: 2, ..Parallelism::default() };
    let group = law_with("qwen3-30b-a3b", split, &Options::default());
    let batch = decode(64, 500);
    // Alone, it is taken that the other replica computes as much.
    assert_eq!(group.stage_ns(&batch, 0).to_bits(), group.grouped_stage_ns(&batch, 0, 128).to_bits());
    let more = group.grouped_stage_ns(&batch, 0, 64 + 2048);
    assert!(more > 1.2 * group.stage_ns(&batch, 0), "{more}");
    // Half of the experts are read: less than on one GPU that has all.
    let one = law("qwen3-30b-a3b", &Options::default());
    assert!(group.stage_ns(&batch, 0) < 0.8 * one.stage_ns(&batch, 0));
}

/// Sending tokens to their experts alone pays where there are many GPUs: 8 experts a token, on 2 GPUs it is more to send, on 16 less.
#[test]
fn tokens_are_gathered_or_sent() {
    let tokens = [Chunk { tokens: 4096, context_tokens: 0 }];
    for (gpus, sent_is_less) in [(2, false), (16, true)] {
        let split = Parallelism { data: gpus, expert: gpus, ..Parallelism::default() };
        let with = |expert_exchange| {
            let options = Options { expert_exchange, ..Options::default() };
            ms(&law_with("qwen3-30b-a3b", split, &options), &chunk(&tokens))
        };
        let (gathered, sent) = (with(ExpertExchange::Gather), with(ExpertExchange::AllToAll));
        assert_eq!(sent < gathered, sent_is_less, "{gpus}: {sent} {gathered}");
    }
}

#[test]
fn a_window_bounds_what_is_read() {
    let windowed = law("mistral-7b", &Options::default());
    let open = law("mistral-7b-v0.3", &Options::default());
    let long = decode(8, 30_000);
    assert!(ms(&windowed, &long) < 0.8 * ms(&open, &long));
    let short = decode(8, 3_000);
    // Vocabularies of 32,000 and of 32,768.
    assert!((ms(&windowed, &short) / ms(&open, &short) - 1.0).abs() < 0.01);
}

fn models() -> impl Strategy<Value = AnalyticLaw> {
    let split = |data| Parallelism { data, expert: data, ..Parallelism::default() };
    prop_oneof![
        Just(("llama-3.1-8b", Parallelism::default())),
        Just(("mistral-7b", Parallelism::default())),
        Just(("gpt-oss-20b", Parallelism::default())),
        Just(("deepseek-v2-lite", Parallelism::tensor(2))),
        Just(("qwen3-30b-a3b", split(2))),
    ]
    .prop_map(|(name, split)| {
        law_with(name, split, &Options { sequence_overhead_us: 3.3, ..Options::default() })
    })
}

/// Without graphs an iteration takes a while, however little is computed: with a small model, until contexts are long.
fn eager() -> impl Strategy<Value = Options> {
    (0.0_f64..50.0).prop_map(|step_overhead_us| Options {
        compilation: Compilation::Eager,
        step_overhead_us,
        ..Options::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The quick way and the general way give the same bits.
    #[test]
    fn decoding_is_the_same_both_ways(law in models(), decodes in 0_u32..600, context in 0_u64..5_000_000) {
        let batch = Batch { decodes, decode_context_tokens: context, sampled: decodes, ..Batch::default() };
        prop_assert_eq!(law.decode_ns(decodes, context).to_bits(), law.stage_ns(&batch, 0).to_bits());
    }

    /// Lines go through what is reckoned iteration by iteration, as far as they hold; of those that begin where others end, too.
    #[test]
    fn lines_hold(
        law in prop_oneof![models(), eager().prop_map(|options| law("gpt-oss-20b", &options))],
        decodes in 1_u32..40, each in 1_u64..9000,
    ) {
        let (mut context, mut iterations) = (u64::from(decodes) * each, 0);
        while iterations < 3000 {
            let line = law.decode_line(decodes, context).unwrap();
            prop_assert!(line.count > 0 && line.growth_ns >= 0.0);
            for iteration in 0..line.count.min(1000) {
                let reckoned = law.decode_ns(decodes, context + u64::from(decodes) * u64::from(iteration));
                let on_line = line.first_ns + f64::from(iteration) * line.growth_ns;
                prop_assert!((on_line - reckoned).abs() <= 1e-9 * reckoned, "{iteration}: {on_line} for {reckoned}");
            }
            let next = u64::from(line.count.min(100_000));
            (context, iterations) = (context + u64::from(decodes) * next, iterations + next);
        }
    }

    /// More work takes no less.
    #[test]
    fn more_takes_longer(
        law in models(), decodes in 0_u32..200, context in 1_u64..1_000_000, tokens in 1_u32..3000, before in 0_u32..9000,
    ) {
        let time = |decodes: u32, context: u64, tokens: u32, before: u32| {
            let chunks = [Chunk { tokens, context_tokens: before }];
            law.stage_ns(&Batch { decodes, decode_context_tokens: context, chunks: &chunks, sampled: decodes, ..Batch::default() }, 0)
        };
        let base = time(decodes, context, tokens, before);
        let least = base * (1.0 - 1e-12);
        prop_assert!(base.is_finite() && base > 0.0);
        prop_assert!(time(decodes, context, tokens + 300, before) >= least);
        prop_assert!(time(decodes, context, tokens, before + 300) >= least);
        if decodes > 0 {
            prop_assert!(time(decodes, context + 1000, tokens, before) >= least);
        }
    }
}
