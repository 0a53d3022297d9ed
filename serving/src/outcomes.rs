//! What became of many requests, in little memory.

use std::collections::BTreeMap;

use crate::observer::Outcome;

/// Requests whose records are kept together.
const CHUNK: usize = 1024;

/// Bits of each part of a record, the lowest first: token counts, preemptions, the replica, and times from one to the next. Of a request that was answered at
/// least one token was generated, so that 0 stands for a record that is not there.
const WIDTHS: [u32; 9] = [22, 24, 24, 8, 20, 42, 40, 36, 40];

/// A record: [`WIDTHS`] together.
type Record = [u64; 4];

/// How many bits the time from a chunk's first arrival may have, with its sign.
const ARRIVAL_BITS: u32 = WIDTHS[5];

/// Requests one after another by their numbers.
#[derive(Clone, PartialEq, Debug)]
struct Chunk {
    /// An arrival from which those of all are counted.
    origin_ns: u64,
    records: Box<[Record]>,
}

/// What became of the requests of a fleet that were answered, with the replica of each, by number. A record is 32 bytes; the few that do not fit into one (a
/// phase of several minutes, millions of tokens) are kept as they are.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Outcomes {
    chunks: Vec<Option<Chunk>>,
    large: BTreeMap<u32, (u32, Outcome)>,
    len: usize,
}

/// A record as parts in the order of [`WIDTHS`]; none if it does not fit.
fn pack(replica: u32, outcome: &Outcome, origin_ns: u64) -> Option<Record> {
    let from_origin_ns = outcome.arrival_ns.wrapping_sub(origin_ns).wrapping_add(1 << (ARRIVAL_BITS - 1));
    let parts = [
        u64::from(outcome.output_tokens),
        u64::from(outcome.prompt_tokens),
        u64::from(outcome.cached_tokens),
        u64::from(outcome.preemptions),
        u64::from(replica),
        from_origin_ns,
        outcome.scheduled_ns.checked_sub(outcome.arrival_ns)?,
        outcome.first_token_ns.checked_sub(outcome.scheduled_ns)?,
        outcome.last_token_ns.checked_sub(outcome.first_token_ns)?,
    ];
    if parts[0] == 0 || parts.iter().zip(WIDTHS).any(|(&part, width)| part >> width > 0) {
        return None;
    }
    let mut record = [0; 4];
    let mut at = 0;
    for (part, width) in parts.into_iter().zip(WIDTHS) {
        let (word, shift) = ((at / 64) as usize, at % 64);
        record[word] |= part << shift;
        if shift + width > 64 {
            record[word + 1] |= part >> (64 - shift);
        }
        at += width;
    }
    Some(record)
}

/// The reverse of [`pack`]; none if there is no record.
fn unpack(record: &Record, request: u32, origin_ns: u64) -> Option<(u32, Outcome)> {
    let mut parts = [0; 9];
    let mut at = 0;
    for (part, width) in parts.iter_mut().zip(WIDTHS) {
        let (word, shift) = ((at / 64) as usize, at % 64);
        let mut bits = record[word] >> shift;
        if shift + width > 64 {
            bits |= record[word + 1] << (64 - shift);
        }
        *part = bits & ((1 << width) - 1);
        at += width;
    }
    let [output, prompt, cached, preemptions, replica, from_origin_ns, queue_ns, first_ns, rest_ns] = parts;
    let arrival_ns = origin_ns.wrapping_add(from_origin_ns).wrapping_sub(1 << (ARRIVAL_BITS - 1));
    let scheduled_ns = arrival_ns + queue_ns;
    let first_token_ns = scheduled_ns + first_ns;
    (output > 0).then(|| {
        let outcome = Outcome {
            request,
            arrival_ns,
            scheduled_ns,
            first_token_ns,
            last_token_ns: first_token_ns + rest_ns,
            prompt_tokens: prompt as u32,
            output_tokens: output as u32,
            cached_tokens: cached as u32,
            preemptions: preemptions as u32,
        };
        (replica as u32, outcome)
    })
}

impl Outcomes {
    /// Takes in what became of a request at a replica, once for each request.
    pub fn insert(&mut self, replica: u32, outcome: &Outcome) {
        let (number, place) = (outcome.request as usize / CHUNK, outcome.request as usize % CHUNK);
        if self.chunks.len() <= number {
            self.chunks.resize(number + 1, None);
        }
        let chunk = self.chunks[number].get_or_insert_with(|| Chunk {
            origin_ns: outcome.arrival_ns,
            records: vec![[0; 4]; CHUNK].into_boxed_slice(),
        });
        self.len += 1;
        match pack(replica, outcome, chunk.origin_ns) {
            Some(record) => chunk.records[place] = record,
            None => drop(self.large.insert(outcome.request, (replica, *outcome))),
        }
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Replicas and outcomes, in the order of requests.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Outcome)> + Clone + '_ {
        self.chunks.iter().zip(0_u32..).flat_map(move |(chunk, number)| {
            chunk.iter().flat_map(move |chunk| {
                chunk.records.iter().zip(number * CHUNK as u32..).filter_map(move |(record, request)| {
                    let found = unpack(record, request, chunk.origin_ns);
                    if found.is_none() && !self.large.is_empty() {
                        self.large.get(&request).copied()
                    } else {
                        found
                    }
                })
            })
        })
    }
}

impl Extend<(u32, Outcome)> for Outcomes {
    fn extend<I: IntoIterator<Item = (u32, Outcome)>>(&mut self, outcomes: I) {
        for (replica, outcome) in outcomes {
            self.insert(replica, &outcome);
        }
    }
}

impl FromIterator<(u32, Outcome)> for Outcomes {
    fn from_iter<I: IntoIterator<Item = (u32, Outcome)>>(outcomes: I) -> Self {
        let mut all = Self::default();
        all.extend(outcomes);
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of which some need few bits and some many.
    fn sized(most_bits: u32) -> impl Strategy<Value = u64> {
        (0..=most_bits).prop_flat_map(|bits| 0..=((1_u128 << bits) - 1) as u64)
    }

    prop_compose! {
        fn outcome()(
            arrival_ns in sized(60),
            phases_ns in [sized(41), sized(37), sized(41)],
            tokens in [sized(32), sized(32), sized(32)],
            preemptions in sized(9),
        ) -> Outcome {
            let scheduled_ns = arrival_ns + phases_ns[0];
            Outcome {
                request: 0,
                arrival_ns,
                scheduled_ns,
                first_token_ns: scheduled_ns + phases_ns[1],
                last_token_ns: scheduled_ns + phases_ns[1] + phases_ns[2],
                prompt_tokens: tokens[0] as u32,
                output_tokens: tokens[1] as u32,
                cached_tokens: tokens[2] as u32,
                preemptions: preemptions as u32,
            }
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_is_what_went_in(
            given in prop::collection::btree_map(0_u32..5000, (sized(22), outcome()), 0..200),
        ) {
            let expected: Vec<(u32, Outcome)> = given
                .into_iter()
                .map(|(request, (replica, outcome))| (replica as u32, Outcome { request, ..outcome }))
                .collect();
            // In any order.
            let outcomes: Outcomes = expected.iter().rev().copied().collect();
            prop_assert_eq!(outcomes.len(), expected.len());
            prop_assert_eq!(outcomes.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn usual_requests_fit() {
        assert_eq!(WIDTHS.iter().sum::<u32>(), 256);
        let check = |replica: u32, outcome: &Outcome, origin_ns: u64, fits: bool| {
            let record = pack(replica, outcome, origin_ns);
            assert_eq!(record.is_some(), fits, "{outcome:?}");
            if let Some(record) = record {
                assert_eq!(unpack(&record, outcome.request, origin_ns), Some((replica, *outcome)));
            }
        };
        let hour_ns = 3_600_000_000_000;
        let usual = Outcome {
            request: 7,
            arrival_ns: 24 * hour_ns,
            scheduled_ns: 24 * hour_ns + 3,
            first_token_ns: 24 * hour_ns + 1_000_000_000,
            last_token_ns: 24 * hour_ns + 300_000_000_000,
            prompt_tokens: 1_000_000,
            output_tokens: 100_000,
            cached_tokens: 999_999,
            preemptions: 3,
        };
        check(999, &usual, usual.arrival_ns, true);
        check(999, &usual, usual.arrival_ns - hour_ns / 2, true);
        check(999, &usual, usual.arrival_ns + hour_ns / 2, true);
        check(999, &usual, usual.arrival_ns - hour_ns, false);
        check(1 << 20, &usual, usual.arrival_ns, false);
        check(0, &Outcome { output_tokens: 0, ..usual }, usual.arrival_ns, false);
    }
}
