//! Facts of the published request traces.

use foretell_traces::requests::{RequestFormat, RequestRecord, open, read_lengths};

use crate::fixture::published;

fn read(name: &str, format: RequestFormat) -> Option<Vec<RequestRecord>> {
    let path = published(&format!("serving/{name}.gz"))?;
    assert_eq!(RequestFormat::detect(&path), Ok(Some(format)), "of {name}");
    let mut requests = open(&path, None).unwrap();
    let all = requests.by_ref().collect::<Result<_, _>>().unwrap();
    assert_eq!(requests.skipped(), 0, "of {name}");
    Some(all)
}

/// Requests, whole seconds until the last one, and tokens of all prompts and answers.
fn check(name: &str, format: RequestFormat, expected: (usize, u64, u64, u64)) {
    let Some(requests) = read(name, format) else { return };
    let last_s = requests.last().map_or(0, |request| request.arrival_ns / 1_000_000_000);
    let prompts = requests.iter().map(|request| u64::from(request.prompt_tokens)).sum();
    let outputs = requests.iter().map(|request| u64::from(request.output_tokens)).sum();
    assert_eq!((requests.len(), last_s, prompts, outputs), expected, "of {name}");
}

#[test]
fn totals() {
    use RequestFormat::{Azure, LlmServingSim, Mooncake, Vidur, VidurRun};
    check("traces-azure2023/AzureLLMInferenceTrace_code.csv", Azure, (8819, 3435, 18_059_974, 245_896));
    check("traces-azure2023/AzureLLMInferenceTrace_conv.csv", Azure, (19_366, 3501, 22_361_870, 4_088_665));
    check("mooncake-traces/conversation_trace.jsonl", Mooncake, (12_031, 3536, 144_793_823, 4_122_048));
    check("mooncake-traces/synthetic_trace.jsonl", Mooncake, (3993, 1022, 61_194_628, 595_432));
    let workload =
        |model: &str| format!("llmservingsim-vllm-groundtruth/workload_sharegpt-{model}-300-sps10.jsonl");
    check(&workload("llama-3.1-8b"), LlmServingSim, (300, 29, 257_239, 195_753));
    check(&workload("qwen3-32b"), LlmServingSim, (300, 29, 258_691, 199_486));
    let run = |name: &str| format!("vidur-run-llama2-70b-a100-tp2pp2/r70_{name}.requests.csv");
    check(&run("sarathi_1000_1.0"), VidurRun, (1000, 983, 1_165_186, 219_959));
    check(&run("sarathi_5000_1.0"), VidurRun, (5000, 4725, 5_683_776, 1_059_068));
    check("trace-vidur-arxiv/splitwise_conv.csv", Vidur, (19_366, 3501, 22_361_870, 4_088_665));
}

#[test]
fn lengths_of_arxiv() {
    let Some(path) = published("serving/trace-vidur-arxiv/arxiv_summarization.csv.gz") else { return };
    let lengths = read_lengths(&path, None).unwrap();
    let total: u64 = lengths.iter().map(|lengths| u64::from(lengths.prompt_tokens)).sum();
    assert_eq!((lengths.len(), total), (28_257, 73_131_321));
}

/// Vidur's copy of Azure's trace has the same requests.
#[test]
fn vidur_has_azures_requests() {
    let Some(azure) = read("traces-azure2023/AzureLLMInferenceTrace_conv.csv", RequestFormat::Azure) else {
        return;
    };
    let Some(vidur) = read("trace-vidur-arxiv/splitwise_conv.csv", RequestFormat::Vidur) else { return };
    for (azure, vidur) in azure.iter().zip(&vidur) {
        assert_eq!(azure.lengths(), vidur.lengths());
        assert!(azure.arrival_ns.abs_diff(vidur.arrival_ns) < 1000, "{azure:?} {vidur:?}");
    }
}
