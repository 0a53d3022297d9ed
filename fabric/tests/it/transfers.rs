//! When transfers end: cases worked out by hand, and iterations skipped against iterations simulated.

use std::collections::BTreeMap;

use foretell_fabric::network::{LinkId, LinkWeight};
use foretell_fabric::sharing::{Completion, TransferError, TransferId, TransferSpec, Transfers};
use proptest::prelude::*;

const LINK: [LinkWeight; 1] = [LinkWeight::new(LinkId::new(0), 1.0)];

/// 1,000 bytes at up to 10 bytes a ns over link 0, once, at once.
const ONCE: TransferSpec<'_> =
    TransferSpec { links: &LINK, cap_gb_per_s: 10.0, share: 1.0, bytes: 1000.0, wait_ns: 0, iterations: 1 };

fn both(capacities: &[f64]) -> [Transfers; 2] {
    [Transfers::new(capacities).unwrap(), Transfers::event_by_event(capacities).unwrap()]
}

fn next(transfers: &mut Transfers) -> Option<Completion> {
    while transfers.next_ns().is_some() {
        if let Some(completion) = transfers.step().unwrap() {
            return Some(completion);
        }
    }
    None
}

fn times(transfers: &mut Transfers) -> Vec<u64> {
    std::iter::from_fn(|| next(transfers)).map(|completion| completion.time_ns).collect()
}

#[test]
fn transfers_end_when_they_should() {
    let check = |capacity: f64, specs: &[TransferSpec<'_>], expected: &[u64]| {
        for mut transfers in both(&[capacity]) {
            for spec in specs {
                transfers.start(spec).unwrap();
            }
            assert_eq!(times(&mut transfers), expected);
        }
    };
    check(10.0, &[ONCE], &[100]);
    check(3.0, &[ONCE], &[334]);
    // The wait comes first; no bytes take no time.
    check(10.0, &[TransferSpec { wait_ns: 50, ..ONCE }], &[150]);
    check(10.0, &[TransferSpec { wait_ns: 50, bytes: 0.0, iterations: 3, ..ONCE }], &[150]);
    check(10.0, &[TransferSpec { wait_ns: 50, iterations: 4, ..ONCE }], &[600]);
    // Two share the link; the shorter one leaves at 100 when 500 bytes of each have flowed.
    check(10.0, &[ONCE, TransferSpec { bytes: 500.0, ..ONCE }], &[100, 150]);
    // The second comes at 50: it finds 500 bytes of the first left, both at 5, until 150.
    check(10.0, &[ONCE, TransferSpec { wait_ns: 50, ..ONCE }], &[150, 200]);
    // Jobs that compute 100 and 150 and send 100: from 150 to 250 both send, the second on to 300; then each sends while the other
    // computes, the first from 350 and 550, the second from 450 and 700.
    let job = TransferSpec { wait_ns: 100, iterations: 3, ..ONCE };
    check(10.0, &[job, TransferSpec { wait_ns: 150, iterations: 3, ..ONCE }], &[650, 800]);
}

#[test]
fn a_failed_link_holds_a_transfer_until_it_is_whole() {
    for mut transfers in both(&[10.0]) {
        let transfer = transfers.start(&ONCE).unwrap();
        assert_eq!(transfers.advance(40).unwrap(), None);
        transfers.set_capacity(LinkId::new(0), 0.0).unwrap();
        assert_eq!(transfers.next_ns(), None);
        assert_eq!(transfers.advance(1000).unwrap(), None);
        transfers.set_capacity(LinkId::new(0), 20.0).unwrap();
        assert_eq!(transfers.advance(5000).unwrap(), Some(Completion { time_ns: 1060, transfer }));
        assert_eq!(transfers.cancel(transfer), Err(TransferError::UnknownTransfer { transfer }));
        assert_eq!(transfers.advance(5), Err(TransferError::Past { time_ns: 5, now_ns: 1060 }));
    }
}

#[test]
fn a_lower_cap_counts_from_now_on() {
    for mut transfers in both(&[10.0]) {
        let transfer = transfers.start(&TransferSpec { iterations: 2, ..ONCE }).unwrap();
        assert_eq!(transfers.advance(150).unwrap(), None);
        assert_eq!(transfers.iterations_left(transfer), 1);
        transfers.set_cap(transfer, 2.0).unwrap();
        assert_eq!(times(&mut transfers), [400]);
        assert_eq!(transfers.iterations_left(transfer), 0);
    }
}

#[test]
fn steady_iterations_are_not_simulated() {
    // Two jobs of a million iterations that the link carries side by side; at 10^6 ns a third crowds it for 10 iterations.
    let job = TransferSpec { wait_ns: 70, iterations: 1_000_000, ..ONCE };
    let run = |mut transfers: Transfers| {
        transfers.start(&job).unwrap();
        transfers.start(&TransferSpec { cap_gb_per_s: 7.0, iterations: 100_000, ..job }).unwrap();
        transfers.advance(1_000_000).unwrap();
        transfers.start(&TransferSpec { cap_gb_per_s: 9.0, iterations: 10, ..job }).unwrap();
        let times = times(&mut transfers);
        (times, transfers.events())
    };
    let [skipped, simulated] = both(&[20.0]).map(run);
    assert_eq!(skipped.0, simulated.0);
    assert_eq!(simulated.1, 2 * (1_000_000 + 100_000 + 10));
    assert!(skipped.1 < 100, "{} events", skipped.1);
}

#[test]
fn what_is_no_transfer_is_refused() {
    let mut transfers = Transfers::new(&[1.0]).unwrap();
    let mut check = |spec: TransferSpec<'_>, message: &str| {
        assert_eq!(transfers.start(&spec).unwrap_err().to_string(), message);
    };
    check(TransferSpec { iterations: 0, ..ONCE }, "a transfer has at least one iteration");
    check(TransferSpec { bytes: -1.0, ..ONCE }, "a transfer's bytes must be finite and not negative, not -1");
    check(TransferSpec { cap_gb_per_s: f64::INFINITY, ..ONCE }, "a transfer's cap must be finite, not inf");
    for capacity in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(transfers.set_capacity(LinkId::new(0), capacity).is_err());
    }
    assert!(transfers.set_capacity(LinkId::new(1), 1.0).is_err());
    assert_eq!((transfers.next_ns(), times(&mut transfers)), (None, vec![]));
}

const LINKS: usize = 5;

#[derive(Clone, Debug)]
enum Action {
    Start { links: Vec<(usize, f64)>, cap: f64, bytes: f64, wait_ns: u64, iterations: u64 },
    Cancel(usize),
    Cap(usize, f64),
    Capacity(usize, f64),
}

fn action() -> impl Strategy<Value = (u64, Action)> {
    let links = prop::collection::vec((0..LINKS, prop::sample::select(vec![0.5, 1.0, 2.0])), 1..4);
    let start = (links, 1.0..20.0_f64, 1e3..1e5_f64, 0..20_000_u64, 1..60_u64).prop_map(
        |(links, cap, bytes, wait_ns, iterations)| Action::Start { links, cap, bytes, wait_ns, iterations },
    );
    let action = prop_oneof![
        6 => start,
        1 => any::<usize>().prop_map(Action::Cancel),
        1 => (any::<usize>(), 1.0..20.0_f64).prop_map(|(transfer, cap)| Action::Cap(transfer, cap)),
        2 => (0..LINKS, prop_oneof![Just(0.0), Just(30.0), 1.0..60.0_f64])
            .prop_map(|(link, capacity)| Action::Capacity(link, capacity)),
    ];
    (0..300_000_u64, action)
}

/// Transfers under test, by the order in which they were started.
struct Run {
    transfers: Transfers,
    live: BTreeMap<TransferId, usize>,
    ended: BTreeMap<usize, u64>,
}

impl Run {
    fn advance(&mut self, time_ns: u64) {
        while let Some(completion) = self.transfers.advance(time_ns).unwrap() {
            let label = self.live.remove(&completion.transfer).unwrap();
            self.ended.insert(label, completion.time_ns);
        }
    }

    fn find(&self, label: usize) -> Option<TransferId> {
        self.live.iter().find(|live| *live.1 == label).map(|live| *live.0)
    }

    fn act(&mut self, action: &Action, label: usize) {
        match action {
            Action::Start { links, cap, bytes, wait_ns, iterations } => {
                let hops: Vec<LinkWeight> = links
                    .iter()
                    .map(|&(link, weight)| LinkWeight::new(LinkId::new(link as u32), weight))
                    .collect();
                let (cap_gb_per_s, bytes, wait_ns, iterations) = (*cap, *bytes, *wait_ns, *iterations);
                let spec =
                    TransferSpec { links: &hops, cap_gb_per_s, share: 1.0, bytes, wait_ns, iterations };
                let transfer = self.transfers.start(&spec).unwrap();
                self.live.insert(transfer, label);
            }
            Action::Cancel(target) => {
                if let Some(transfer) = self.find(target % label.max(1)) {
                    self.transfers.cancel(transfer).unwrap();
                    self.live.remove(&transfer);
                }
            }
            Action::Cap(target, cap) => {
                if let Some(transfer) = self.find(target % label.max(1)) {
                    self.transfers.set_cap(transfer, *cap).unwrap();
                }
            }
            Action::Capacity(link, capacity) => {
                self.transfers.set_capacity(LinkId::new(*link as u32), *capacity).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn skipping_gives_what_simulating_gives(actions in prop::collection::vec(action(), 1..25)) {
        let [skipped, simulated] = both(&[30.0; LINKS]).map(|transfers| {
            let mut run = Run { transfers, live: BTreeMap::new(), ended: BTreeMap::new() };
            let mut time_ns = 0;
            for (label, (wait_ns, action)) in actions.iter().enumerate() {
                time_ns += wait_ns;
                run.advance(time_ns);
                run.act(action, label);
            }
            for link in 0..LINKS {
                run.transfers.set_capacity(LinkId::new(link as u32), 30.0).unwrap();
            }
            run.advance(1 << 40);
            prop_assert!(run.live.is_empty());
            Ok(run)
        });
        let (skipped, simulated) = (skipped?, simulated?);
        prop_assert!(skipped.transfers.events() <= simulated.transfers.events());
        let labels = |run: &Run| run.ended.keys().copied().collect::<Vec<usize>>();
        prop_assert_eq!(labels(&skipped), labels(&simulated));
        // Rounding may differ by a ns at each change of a rate.
        for (one, other) in skipped.ended.iter().zip(&simulated.ended) {
            prop_assert!(one.1.abs_diff(*other.1) <= 20, "{:?} and {:?}", one, other);
        }
    }
}

/// Without bytes and without a wait all iterations are over at once, however many there are.
#[test]
fn nothing_to_move_takes_no_time() {
    for mut transfers in [Transfers::new(&[100.0]).unwrap(), Transfers::event_by_event(&[100.0]).unwrap()] {
        let links = [LinkWeight::new(LinkId::new(0), 1.0)];
        let spec = TransferSpec {
            links: &links,
            cap_gb_per_s: 1e18,
            share: 1.0,
            bytes: 0.0,
            wait_ns: 0,
            iterations: 1 << 40,
        };
        let nothing = transfers.start(&spec).unwrap();
        let waits = transfers.start(&TransferSpec { wait_ns: 3, iterations: 5, ..spec }).unwrap();
        let done = |transfers: &mut Transfers| {
            transfers.advance(100).unwrap().map(|done| (done.time_ns, done.transfer))
        };
        assert_eq!(done(&mut transfers), Some((0, nothing)));
        // What moves nothing takes nothing from others.
        let moves = TransferSpec { bytes: 1000.0, iterations: 1, cap_gb_per_s: 100.0, ..spec };
        let moves = transfers.start(&moves).unwrap();
        assert_eq!(done(&mut transfers), Some((10, moves)));
        assert_eq!(done(&mut transfers), Some((15, waits)));
    }
}
