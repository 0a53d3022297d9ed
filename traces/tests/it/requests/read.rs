//! Every format's rows, read from a few lines.

use foretell_traces::requests::{Lengths, RequestFormat, RequestRecord, open, read_lengths};

use crate::fixture::file;

/// The format that this is told to be, its requests, and how many rows were skipped.
fn read(content: &str) -> (Option<RequestFormat>, Vec<RequestRecord>, u64) {
    let (_folder, path) = file("trace", content.as_bytes());
    let mut requests = open(&path, None).unwrap();
    let all = requests.by_ref().collect::<Result<_, _>>().unwrap();
    (RequestFormat::detect(&path).unwrap(), all, requests.skipped())
}

fn check(content: &str, format: RequestFormat, expected: &[RequestRecord], skipped: u64) {
    assert_eq!(read(content), (Some(format), expected.to_vec(), skipped), "for {content:?}");
    // The same with the format named.
    let (_folder, path) = file("trace", content.as_bytes());
    let all: Vec<_> = open(&path, Some(format)).unwrap().map(Result::unwrap).collect();
    assert_eq!(all, expected);
}

fn of_model(arrival_ns: u64, prompt: u32, output: u32, model: &str) -> RequestRecord {
    RequestRecord { model: model.into(), ..RequestRecord::new(arrival_ns, prompt, output) }
}

#[test]
fn azure() {
    let expected = [
        RequestRecord::new(0, 4808, 10),
        RequestRecord::new(52_000_000, 3180, 8),
        RequestRecord::new(86_400_000_000_100, 7, 1),
    ];
    let of_2023 = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
         2023-11-16 18:17:03.9799600,4808,10\r\n\
         2023-11-16 18:17:04.0319600,3180,8\r\n\
         2023-11-16 18:17:04.0319600,3180,0\r\n\
         2023-11-17 18:17:03.9799601,7,1";
    check(of_2023, RequestFormat::Azure, &expected, 1);
    let of_2024 = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
         2024-05-10 00:00:00+00:00,4808,10\n\
         2024-05-10 02:00:00.052+02:00,3180,8\n\
         2024-05-11 00:00:00.0000001+00:00,7,1\n";
    check(of_2024, RequestFormat::Azure, &expected, 0);
}

#[test]
fn burstgpt() {
    let first = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
         5,ChatGPT,472,18,490,Conversation log\n\
         45,GPT-4,1087,230,1317,API log\n\
         118,ChatGPT,417,0,417,API log\n\
         118.25,ChatGPT,417,276,693,Conversation log\n";
    let second = 1_000_000_000;
    let expected = [
        of_model(5 * second, 472, 18, "ChatGPT"),
        of_model(45 * second, 1087, 230, "GPT-4"),
        of_model(118 * second + second / 4, 417, 276, "ChatGPT"),
    ];
    check(first, RequestFormat::BurstGpt, &expected, 1);
    let second_release = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
         5,b7,1.5,ChatGPT,472,18,490,Conversation log\n\
         45,,2,GPT-4,1087,230,1317,API log\n\
         50,a1,2,GPT-4,1,1,2,Conversation log\n\
         55,b7,2,GPT-4,1,1,2,Conversation log\n";
    let (_, requests, skipped) = read(second_release);
    let sessions: Vec<_> = requests.iter().map(|request| request.session).collect();
    assert_eq!((sessions, skipped), (vec![Some(0), None, Some(1), Some(0)], 0));
}

#[test]
fn vidur() {
    let expected = [RequestRecord::new(0, 374, 44), RequestRecord::new(5_892_655_000, 396, 109)];
    let trace = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,374,44\n5.8926549999999995,396,109\n";
    check(trace, RequestFormat::Vidur, &expected, 0);
    let run = "Request Id,request_inter_arrival_delay,request_num_prefill_tokens,request_num_decode_tokens,\
               request_e2e_time\n\
               0,0.0,374,44,1.5\n1,5.8926549999999995,396,109,2.5\n2,0.1,1,1,\n";
    let expected = [&expected[..], &[RequestRecord::new(5_992_655_000, 1, 1)]].concat();
    check(run, RequestFormat::VidurRun, &expected, 0);
}

#[test]
fn mooncake_and_llmservingsim() {
    let with_blocks = |arrival_ns, prompt, output, block_tokens, blocks: &[u64]| RequestRecord {
        block_tokens,
        prompt_blocks: blocks.into(),
        ..RequestRecord::new(arrival_ns, prompt, output)
    };
    let mooncake = "{\"timestamp\": 0, \"input_length\": 1100, \"output_length\": 5, \"hash_ids\": [0, 1, 2]}\n\n\
         {\"timestamp\": 3000, \"input_length\": 513, \"output_length\": 0, \"hash_ids\": [0, 3]}\n\
         {\"hash_ids\": [0, 4], \"timestamp\": 3000.5, \"input_length\": 600, \"output_length\": 1}";
    let expected =
        [with_blocks(0, 1100, 5, 512, &[0, 1, 2]), with_blocks(3_000_500_000, 600, 1, 512, &[0, 4])];
    check(mooncake, RequestFormat::Mooncake, &expected, 1);
    let workload = "{\"arrival_time_ns\":46926808,\"input_toks\":33,\"output_toks\":5,\"block16_hash_ids\":[9,10]}\r\n\
         {\"arrival_time_ns\":46926809,\"input_toks\":3,\"output_toks\":7}\r\n";
    let expected = [with_blocks(46_926_808, 33, 5, 16, &[9, 10]), with_blocks(46_926_809, 3, 7, 16, &[])];
    check(workload, RequestFormat::LlmServingSim, &expected, 0);
}

#[test]
fn canonical() {
    let content = "prompt_tokens,output_tokens,arrival_s,model,session,priority,block_tokens,prompt_blocks,output_blocks\n\
         10,20,1.000000001,,,,,,\n33,15,2,m,7,-1,16,5 7,9\n";
    let full = RequestRecord {
        session: Some(7),
        priority: -1,
        block_tokens: 16,
        prompt_blocks: [5, 7].into(),
        output_blocks: [9].into(),
        ..of_model(2_000_000_000, 33, 15, "m")
    };
    check(content, RequestFormat::Canonical, &[RequestRecord::new(1_000_000_001, 10, 20), full], 0);
}

#[test]
fn lengths_of_any_file() {
    let check = |content: &str, expected: &[(u32, u32)]| {
        let (_folder, path) = file("lengths.csv", content.as_bytes());
        let lengths = expected
            .iter()
            .map(|&(prompt_tokens, output_tokens)| Lengths { prompt_tokens, output_tokens })
            .collect();
        assert_eq!(read_lengths(&path, None), Ok(lengths), "for {content:?}");
    };
    check("num_prefill_tokens,num_decode_tokens,pd_ratio\n3772,54,69.85\n1,2,0.5\n", &[(3772, 54), (1, 2)]);
    check("arrival_s,prompt_tokens,output_tokens\n1,3,4\n", &[(3, 4)]);
    check("{\"timestamp\":1,\"input_length\":5,\"output_length\":6,\"hash_ids\":[]}", &[(5, 6)]);
}

#[test]
fn other_files_are_no_requests() {
    for content in
        ["job_id,submit_s,duration_s,gpus_per_task\n", "num_prefill_tokens,num_decode_tokens\n", "{}"]
    {
        let (_folder, path) = file("trace", content.as_bytes());
        assert_eq!(RequestFormat::detect(&path), Ok(None), "for {content:?}");
    }
}
