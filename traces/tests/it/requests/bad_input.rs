//! What is wrong with a file of requests, and where, in one line.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use foretell_traces::requests::open;

use crate::fixture::file;

fn error_of(content: &[u8]) -> String {
    let (folder, path) = file("trace", content);
    let result =
        open(&path, None).and_then(|mut requests| requests.try_for_each(|request| request.map(drop)));
    let message = result.err().map_or_else(String::new, |error| error.to_string());
    message.replace(&format!("{}/", folder.path().display()), "")
}

fn check(content: &str, expected: &str) {
    assert_eq!(error_of(content.as_bytes()), expected, "for {content:?}");
}

const TOKENS: &str = "a whole number from 1 to 67108864";

#[test]
fn canonical() {
    let check_row = |row: &str, expected: &str| {
        let head = "arrival_s,prompt_tokens,output_tokens,session,block_tokens,prompt_blocks,output_blocks";
        check(&format!("{head}\n1.5,10,10,,,,\n{row}\n"), expected);
    };
    check_row("1.5,1,1,0,16,7,", "");
    check_row(
        "1.25,1,1,,,,",
        "trace:3: column \"arrival_s\": expected rows in order of arrival, at 1.5 s or later, got \"1.25\"",
    );
    for bad in ["-1", "NaN", "", "5e9"] {
        let expected = format!(
            "trace:3: column \"arrival_s\": expected a number of seconds from 0 to 4000000000, got {bad:?}"
        );
        check_row(&format!("{bad},1,1,,,,"), &expected);
    }
    for bad in ["0", "-1", "1.5", "", "67108865"] {
        check_row(
            &format!("2,{bad},1,,,,"),
            &format!("trace:3: column \"prompt_tokens\": expected {TOKENS}, got {bad:?}"),
        );
        check_row(
            &format!("2,1,{bad},,,,"),
            &format!("trace:3: column \"output_tokens\": expected {TOKENS}, got {bad:?}"),
        );
    }
    check_row(
        "2,33,1,,16,0-3,",
        "trace:3: column \"prompt_blocks\": expected at most 3 ids of blocks such as `7 12-40`, got \"0-3\"",
    );
    check_row(
        "2,33,1,,,0,",
        "trace:3: column \"prompt_blocks\": expected at most 0 ids of blocks such as `7 12-40`, got \"0\"",
    );
    check_row("1.5,33,15,0,16,7-8,9", "");
    check_row(
        "2,33,14,0,16,7-8,9",
        "trace:3: column \"output_blocks\": expected at most 0 ids of blocks such as `7 12-40`, got \"9\"",
    );
    check_row("2,33", "trace:3: expected 7 fields, got 2");
    check("arrival_s\n", "trace:1: column \"prompt_tokens\": missing; the header is \"arrival_s\"");
}

#[test]
fn headers() {
    check("", "trace:1: expected a header, got an empty file");
    check(
        "a,b\n",
        "trace:1: expected the header of a canonical, azure, burstgpt, vidur or vidur-run trace of requests, \
         got \"a,b\"",
    );
    check("{\"a\": 1}", "trace:1: expected the fields of a mooncake or llmservingsim trace");
    check("{\"a\"", "trace:1: EOF while parsing an object at character 4");
    check(
        "num_prefill_tokens,num_decode_tokens\n1,2\n",
        "trace:1: expected arrivals, got lengths only: take them as lengths of generated requests",
    );
}

#[test]
fn azure() {
    let check_rows = |rows: &str, expected: &str| {
        check(&format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}"), expected);
    };
    check_rows("2023-11-16 18:17:03,1,1\n2023-11-16 18:17:03,1,1\n", "");
    check_rows(
        "2023-11-16 18:17:03,1,1\n16.11.2023,1,1\n",
        "trace:3: column \"TIMESTAMP\": expected a time such as 2023-11-16 18:17:03.9799600 or \
         2024-05-10 00:00:00.009930+00:00, UTC if it names no offset, got \"16.11.2023\"",
    );
    check_rows(
        "2023-11-16 18:17:03,1,1\n2023-11-16 18:17:02,1,1\n",
        "trace:3: column \"TIMESTAMP\": expected rows in order of arrival, none before the first, \
         got \"2023-11-16 18:17:02\"",
    );
    check_rows(
        "2023-11-16 18:17:03,1,1\n2023-11-16 18:17:05,1,1\n2023-11-16 18:17:04,1,1\n",
        "trace:4: column \"TIMESTAMP\": expected rows in order of arrival, at 2 s or later, \
         got \"2023-11-16 18:17:04\"",
    );
    check_rows(
        "2023-11-16 18:17:03,1,many\n",
        "trace:2: column \"GeneratedTokens\": expected a whole number from 0 to 67108864, got \"many\"",
    );
}

#[test]
fn vidur_and_burstgpt() {
    check(
        "request_inter_arrival_delay,request_num_prefill_tokens,request_num_decode_tokens\n0,1,1\n-0.5,1,1\n",
        "trace:3: column \"request_inter_arrival_delay\": expected a number of seconds from 0 to 4000000000, \
         got \"-0.5\"",
    );
    check(
        "request_inter_arrival_delay,request_num_prefill_tokens,request_num_decode_tokens\n3e9,1,1\n3e9,1,1\n",
        "trace:3: column \"request_inter_arrival_delay\": expected a sum of delays up to 4000000000 s, got \"3e9\"",
    );
    check(
        "arrived_at,num_prefill_tokens,num_decode_tokens\n1,1,1\n0,1,1\n",
        "trace:3: column \"arrived_at\": expected rows in order of arrival, at 1 s or later, got \"0\"",
    );
    check(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n1,m,-1,1,1,x\n",
        "trace:2: column \"Request tokens\": expected a whole number from 0 to 67108864, got \"-1\"",
    );
}

#[test]
fn json() {
    let check_field = |name: &str, value: &str, expected: &str| {
        let (mut timestamp, mut prompt, mut blocks) = ("1", "1024", "[7]");
        match name {
            "timestamp" => timestamp = value,
            "input_length" => prompt = value,
            _ => blocks = value,
        }
        let line = |timestamp: &str, prompt: &str, blocks: &str| {
            format!(
                "{{\"timestamp\": {timestamp}, \"input_length\": {prompt}, \"output_length\": 1, \
                 \"hash_ids\": {blocks}}}\n"
            )
        };
        check(&(line("1", "1024", "[7]") + &line(timestamp, prompt, blocks)), expected);
    };
    check_field("hash_ids", "[7, 8]", "");
    check_field(
        "timestamp",
        "0.5",
        "trace:2: column \"timestamp\": expected rows in order of arrival, at 0.001 s or later, got \"0.5\"",
    );
    check_field(
        "timestamp",
        "-1",
        "trace:2: column \"timestamp\": expected a number of milliseconds from 0 to 4000000000000, got \"-1\"",
    );
    check_field(
        "input_length",
        "99999999",
        "trace:2: column \"input_length\": expected a whole number from 0 to 67108864, got \"99999999\"",
    );
    check_field(
        "input_length",
        "-1",
        "trace:2: column \"input_length\": invalid value: integer `-1`, expected u64",
    );
    check_field(
        "hash_ids",
        "[7, 8, 9]",
        "trace:2: column \"hash_ids\": expected at most 2 blocks of the prompt, got \"3 blocks\"",
    );
    check_field(
        "hash_ids",
        "[7, \"a\"]",
        "trace:2: column \"hash_ids[1]\": invalid type: string \"a\", expected u64",
    );
    let first = "{\"timestamp\": 1, \"input_length\": 1, \"output_length\": 1}\n";
    let then = |line: &str, expected: &str| check(&format!("{first}{line}"), expected);
    then("{\"timestamp\": 1, \"input_length\": 1}", "trace:2: missing field `output_length` at character 35");
    then(
        "{\"timestamp\": 1, \"input_length\": 1, \"output_length\": 1, \"colour\": 1}",
        "trace:2: column \"colour\": unknown field `colour`, expected one of `timestamp`, `input_length`, \
         `output_length`, `hash_ids`",
    );
    then("{\"timestamp\": 1} x", "trace:2: missing field `input_length` at character 16");
    then(
        "{\"timestamp\": 1, \"input_length\": 1, \"output_length\": 1} x",
        "trace:2: trailing characters at character 57",
    );
    then("[]", "trace:2: invalid length 0, expected struct Mooncake with 4 elements at character 2");
    let long = format!("{first}{}", " ".repeat((1 << 20) + 1));
    assert_eq!(
        error_of(long.as_bytes()),
        "trace:2: expected rows of at most 1048576 bytes, got a longer one"
    );
}

#[test]
fn truncated_gzip() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for line in 0..2000 {
        writeln!(
            encoder,
            "{{\"timestamp\": {line}, \"input_length\": {}, \"output_length\": 1}}",
            line * 7 % 1000 + 1
        )
        .unwrap();
    }
    let whole = encoder.finish().unwrap();
    assert_eq!(error_of(&whole), "");
    let message = error_of(&whole[..whole.len() / 2]);
    assert!(message.ends_with("the compressed data end too early: the file is truncated"), "{message}");
}
