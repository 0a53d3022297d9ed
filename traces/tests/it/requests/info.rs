//! Statistics of requests.

use foretell_traces::requests::{BlockInfo, RequestInfo, TokenCounts, open};

use crate::fixture::{file, published};

fn info(content: &str) -> RequestInfo {
    let (_folder, path) = file("requests.csv", content.as_bytes());
    RequestInfo::of(open(&path, None).unwrap()).unwrap()
}

#[test]
fn a_small_trace() {
    let info = info(
        "arrival_s,prompt_tokens,output_tokens,session,model,block_tokens,prompt_blocks,output_blocks\n\
         10,30,1,5,a,10,1-3,\n\
         12,45,8,5,a,10,1-2 7 3,9\n\
         12,10,8,,b,10,1,\n\
         18,51,2,6,a,10,1-2 7 3 9,\n\
         20,4,2,6,,,,\n",
    );
    let counts =
        |total, p50, p90, p99, max| Some(TokenCounts { total, mean: total as f64 / 5.0, p50, p90, p99, max });
    assert_eq!((info.requests, info.sessions), (5, 2));
    assert_eq!(info.prompt, counts(140, 30, 51, 51, 51));
    assert_eq!(info.output, counts(21, 2, 8, 8, 8));
    assert_eq!(info.models, [("a".into(), 3), ("".into(), 1), ("b".into(), 1)]);
    // 0, 2 (1 and 2: 3 is there, but not after 7), 0 (of another model) and all 5.
    assert_eq!(info.blocks, Some(BlockInfo { blocks: 13, hits: 7 }));
    assert_eq!(info.span_s().to_bits(), 10.0_f64.to_bits());
    assert_eq!(info.rate_per_s(), Some(0.4));
    // Gaps 2, 0, 6, 2: mean 2.5, variance (0.25 + 6.25 + 12.25 + 0.25) / 4.
    let variation = info.gaps.unwrap().coefficient_of_variation;
    assert!((variation - 4.75_f64.sqrt() / 2.5).abs() < 1e-12, "{variation}");
}

#[test]
fn no_requests() {
    let info = info("arrival_s,prompt_tokens,output_tokens\n");
    assert_eq!((info.requests, info.prompt, info.blocks, info.rate_per_s()), (0, None, None, None));
}

/// Mean, median and 99th percentile of prompts and answers as published, and the hit rate of blocks in per mille.
fn check_published(name: &str, prompt: [u32; 3], output: [u32; 3], blocks: Option<(u64, u64)>) {
    let Some(path) = published(&format!("serving/{name}.gz")) else { return };
    let info = RequestInfo::of(open(&path, None).unwrap()).unwrap();
    let figures = |counts: Option<TokenCounts>| {
        counts.map(|counts| [counts.mean.round() as u32, counts.p50, counts.p99])
    };
    assert_eq!((figures(info.prompt), figures(info.output)), (Some(prompt), Some(output)), "of {name}");
    let rate = info.blocks.map(|blocks| (blocks.blocks, (blocks.hit_rate() * 1000.0).round() as u64));
    assert_eq!(rate, blocks, "of {name}");
}

#[test]
fn published_traces() {
    check_published(
        "traces-azure2023/AzureLLMInferenceTrace_code.csv",
        [2048, 1469, 7436],
        [28, 13, 252],
        None,
    );
    check_published(
        "traces-azure2023/AzureLLMInferenceTrace_conv.csv",
        [1155, 1020, 4142],
        [211, 129, 601],
        None,
    );
    let mooncake = |name: &str| format!("mooncake-traces/{name}_trace.jsonl");
    check_published(
        &mooncake("conversation"),
        [12_035, 6909, 85_401],
        [343, 350, 1120],
        Some((288_500, 366)),
    );
    check_published(&mooncake("synthetic"), [15_325, 11_587, 66_458], [149, 69, 769], Some((121_877, 640)));
    let workload = "llmservingsim-vllm-groundtruth/workload_sharegpt-llama-3.1-8b-300-sps10.jsonl";
    check_published(workload, [857, 730, 2764], [653, 631, 784], Some((15_942, 77)));
}
