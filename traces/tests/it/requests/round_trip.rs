//! What is written reads back as it was.

use foretell_traces::requests::canonical::Writer;
use foretell_traces::requests::record::{MAX_ARRIVAL_NS, MAX_TOKENS};
use foretell_traces::requests::{RequestRecord, open};
use proptest::prelude::*;

prop_compose! {
    fn request()(
        arrival_ns in prop_oneof![0..=MAX_ARRIVAL_NS, 0..2_000_000_000_u64],
        (prompt_tokens, output_tokens) in (1..=MAX_TOKENS, 1..=MAX_TOKENS),
        session in prop::option::of(any::<u64>()),
        priority in any::<i32>(),
        model in "[a-zß猫 ,\"'|#;\\\\-]{0,12}",
        block_tokens in 0..=512_u32,
        blocks in prop::collection::vec(prop_oneof![0..5_u64, any::<u64>()], 0..20),
    ) -> RequestRecord {
        let most = prompt_tokens.checked_div(block_tokens).unwrap_or(0) as usize;
        let prompt_blocks = blocks.iter().copied().take(most).collect();
        let most = output_tokens.checked_div(block_tokens).unwrap_or(0) as usize;
        let output_blocks = blocks.into_iter().rev().take(most).collect();
        let model = model.into();
        RequestRecord {
            arrival_ns,
            prompt_tokens,
            output_tokens,
            session,
            priority,
            model,
            block_tokens,
            prompt_blocks,
            output_blocks,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_read_back(mut requests in prop::collection::vec(request(), 0..20), compressed in any::<bool>()) {
        requests.sort_by_key(|request| request.arrival_ns);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if compressed { "requests.csv.gz" } else { "requests.csv" });
        let mut writer = Writer::create(&path).unwrap();
        for request in &requests {
            writer.write(request).unwrap();
        }
        writer.finish().unwrap();
        let read: Vec<_> = open(&path, None).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read, requests);
    }
}

#[test]
fn invalid_requests_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.csv");
    let mut writer = Writer::create(&path).unwrap();
    let error = writer.write(&RequestRecord::new(0, 0, 1)).unwrap_err();
    assert_eq!(
        (error.line, error.column.as_deref(), error.message.as_str()),
        (Some(2), Some("prompt_tokens"), "expected a whole number from 1 to 67108864, got \"0\"")
    );
    drop(writer);
    assert!(!path.exists());
}
