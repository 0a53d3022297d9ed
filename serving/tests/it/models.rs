//! Sizes of models against published ones.

use foretell_serving::model::weights::Parallelism;
use foretell_serving::model::{Model, ModelError};
use foretell_serving::{Batch, Chunk};

/// Billions of parameters as published, all and active; within 1 %.
#[test]
fn parameters_are_as_published() {
    for (name, total, active) in [
        ("llama-2-7b", 6.738, 6.738),
        ("llama-2-13b", 13.016, 13.016),
        ("llama-2-70b", 68.977, 68.977),
        ("llama-3-8b", 8.030, 8.030),
        ("llama-3.1-8b", 8.030, 8.030),
        ("llama-3-70b", 70.554, 70.554),
        ("llama-3.3-70b", 70.554, 70.554),
        ("llama-3.1-405b", 405.85, 405.85),
        ("codellama-34b", 33.744, 33.744),
        ("yi-34b", 34.389, 34.389),
        ("mistral-7b", 7.242, 7.242),
        ("qwen2-7b", 7.616, 7.616),
        ("qwen2.5-32b", 32.764, 32.764),
        ("qwen2.5-72b", 72.706, 72.706),
        ("qwen3-8b", 8.191, 8.191),
        ("qwen3-32b", 32.762, 32.762),
        ("qwen3-30b-a3b", 30.532, 3.345),
        ("qwen3-235b-a22b", 235.09, 22.19),
        ("mixtral-8x7b", 46.703, 12.879),
        ("mixtral-8x22b", 140.63, 39.15),
        ("gpt-oss-20b", 20.915, 4.187),
        ("gpt-oss-120b", 116.83, 5.711),
        ("deepseek-v3", 671.03, 37.55),
        ("deepseek-v2-lite", 15.706, 2.662),
        ("phi-2", 2.780, 2.780),
        ("internlm-20b", 20.09, 20.09),
        ("qwen-72b", 72.29, 72.29),
        ("bloom-176b", 176.25, 176.25),
        ("falcon-180b", 179.52, 179.52),
        ("opt-13b", 12.853, 12.853),
        ("opt-175b", 174.6, 174.6),
    ] {
        let model = Model::named(name).unwrap();
        let parts = model.parameters();
        for (what, found, published) in [("all", parts.total(), total), ("active", parts.active(), active)] {
            let error = (found / 1e9 / published - 1.0).abs();
            assert!(error < 0.01, "{name}, {what}: {} against {published} billions", found / 1e9);
        }
    }
}

#[test]
fn the_whole_catalogue_can_be_read() {
    let mut names = Model::names();
    assert!(names.len() >= 30);
    assert!(names.is_sorted());
    for name in names.drain(..) {
        Model::named(name).unwrap();
    }
}

#[test]
fn names_of_the_hub_are_known() {
    for (name, expected) in [
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3-70B", "llama-3-70b"),
        ("meta-llama/Llama-2-70b-hf", "llama-2-70b"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "qwen3-30b-a3b"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
    ] {
        assert_eq!(Model::named(name).unwrap().name, expected);
    }
    assert!(matches!(Model::named("no-such"), Err(ModelError::Unknown { .. })));
}

/// Bytes of keys and values of a token on each GPU, counted by hand.
#[test]
fn keys_and_values() {
    for (name, tensor, pipeline, expected) in [
        // 2 x 32 layers x 8 heads x 128 x 2 bytes.
        ("llama-3.1-8b", 1, 1, 131_072),
        ("llama-3.1-8b", 2, 1, 65_536),
        // No fewer than one head on a GPU.
        ("llama-3.1-8b", 16, 1, 16_384),
        ("llama-2-70b", 2, 2, 2 * 40 * 4 * 128 * 2),
        // 61 layers x (512 + 64) x 2 bytes, on every GPU whole.
        ("deepseek-v3", 1, 1, 70_272),
        ("deepseek-v3", 8, 1, 70_272),
    ] {
        let model = Model::named(name).unwrap();
        let split = Parallelism { tensor, pipeline, ..Parallelism::default() };
        assert_eq!(model.kv_bytes_per_token(split, 2.0) as u64, expected, "{name} {tensor} {pipeline}");
    }
}

#[test]
fn weights_on_each_gpu() {
    let bytes =
        |name: &str, split: Parallelism, of: f64| Model::named(name).unwrap().weight_bytes(split, of) / 1e9;
    let whole = bytes("llama-3.1-8b", Parallelism::default(), 2.0);
    assert!((whole - 16.06).abs() < 0.01, "{whole}");
    let half = bytes("llama-3.1-8b", Parallelism::tensor(2), 2.0);
    assert!((half - 8.03).abs() < 0.01, "{half}");
    // In 8 bits the embedding and the projection on the vocabulary (1.05 billions) stay as they are.
    let eight = bytes("llama-3.1-8b", Parallelism::default(), 1.0);
    assert!((eight - (6.98 + 2.0 * 1.05)).abs() < 0.02, "{eight}");
    // Two GPUs with half of the experts each, and all else twice: 48 layers x 64 experts x 3 x 2048 x 768.
    let split = Parallelism { data: 2, expert: 2, ..Parallelism::default() };
    let shared = bytes("qwen3-30b-a3b", split, 2.0);
    let experts = 48.0 * 64.0 * 3.0 * 2048.0 * 768.0 * 2.0 / 1e9;
    let all = bytes("qwen3-30b-a3b", Parallelism::default(), 2.0);
    assert!((shared - (all - experts)).abs() < 0.01, "{shared} {all} {experts}");
}

#[test]
fn layers_of_stages() {
    let model = Model::named("llama-3.1-405b").unwrap();
    for (pipeline, expected) in [(1, vec![126]), (4, vec![31, 32, 32, 31]), (5, vec![25, 25, 25, 26, 25])] {
        let split = Parallelism { pipeline, ..Parallelism::default() };
        assert_eq!(split.stage_layers(&model), expected);
    }
}

#[test]
fn errors_name_the_field() {
    let base = r#""model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 32000"#;
    for (more, expected) in [
        ("", "config.json: `num_attention_heads` is missing"),
        (
            r#", "num_attention_heads": "many""#,
            "config.json: `num_attention_heads` should be a whole number, found \"many\"",
        ),
        (r#", "num_attention_heads": 32"#, "config.json: `intermediate_size` is missing"),
        (r#", "num_attention_heads": 0"#, "config.json: `num_attention_heads` should be at least 1, found 0"),
        (
            r#", "num_attention_heads": 32, "num_key_value_heads": 5, "intermediate_size": 1"#,
            "config.json: `num_key_value_heads` = 5 should divide the 32 query heads",
        ),
        (
            r#", "num_attention_heads": 32, "intermediate_size": 1, "num_experts": 4, "num_experts_per_tok": 8"#,
            "config.json: `num_experts_per_tok` = 8 is more than the 4 experts",
        ),
    ] {
        let error = Model::from_config("x", &format!("{{{base}{more}}}")).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let error = Model::from_config("x", "[1]").unwrap_err();
    assert_eq!(error.to_string(), "config.json: should be an object");
}

#[test]
fn models_that_cannot_be_split() {
    let model = Model::named("llama-3.1-8b").unwrap();
    for (split, expected) in [
        (Parallelism::tensor(3), "`tensor` = 3 should divide the 32 query heads"),
        (Parallelism { expert: 2, ..Parallelism::default() }, "`expert` = 2 but llama-3.1-8b has no experts"),
        (
            Parallelism { pipeline: 33, ..Parallelism::default() },
            "`pipeline` = 33 is more than the 32 layers",
        ),
    ] {
        assert_eq!(split.check(&model).unwrap_err().to_string(), expected);
    }
}

/// Operations and bytes counted by hand.
#[test]
fn work_of_iterations() {
    let near =
        |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 2e-3, "{found} {expected}");
    // 8.03e9 parameters, of which 525e6 are the embedding; the projection on the vocabulary is for one token.
    let llama = Model::named("llama-3.1-8b").unwrap();
    let chunks = [Chunk { tokens: 1000, context_tokens: 0 }];
    let prompt = llama.work(&Batch { chunks: &chunks, sampled: 1, ..Batch::default() }, 2.0, 2.0);
    let layers = 8.030e9 - 2.0 * 525.3e6;
    near(prompt.flops, 2.0 * (layers * 1000.0 + 525.3e6) + 32.0 * 4.0 * 4096.0 * 1000.0 * 500.5);
    near(prompt.bytes, 2.0 * (layers + 525.3e6) + 131_072.0 * 1000.0);
    // 10 sequences that decode at 100 tokens, with the token of this iteration.
    let batch = Batch { decodes: 10, decode_context_tokens: 1000, sampled: 10, ..Batch::default() };
    let decode = llama.work(&batch, 1.0, 1.0);
    near(decode.flops, 20.0 * (layers + 525.3e6) + 32.0 * 4.0 * 4096.0 * 1010.0);
    near(decode.bytes, layers + 2.0 * 525.3e6 + 65_536.0 * 1010.0);
    // One token reads 8 of 128 experts: what is active, less the embedding.
    let experts = Model::named("qwen3-30b-a3b").unwrap();
    let one = experts.work(&Batch { decodes: 1, sampled: 1, ..Batch::default() }, 2.0, 2.0);
    near(one.bytes, 2.0 * (experts.parameters().active() - experts.parameters().embedding));
    // A window bounds what is seen.
    let windowed = Model::named("mistral-7b").unwrap();
    let at = |context| {
        let batch = Batch { decodes: 1, decode_context_tokens: context, sampled: 1, ..Batch::default() };
        windowed.work(&batch, 2.0, 2.0).bytes
    };
    near(at(20_000), at(4096));
}
