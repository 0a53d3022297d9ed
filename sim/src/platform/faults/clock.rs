//! When parts fail.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use foretell_fabric::network::Network;
use foretell_framework::{ClusterState, NodeId, Time};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};

use super::{Fault, FaultKind, Faults, Place, RepairSpread};
use crate::engine::Streams;

/// Words of a random stream that are kept for one fault: the samplers take three of 64 bits nearly always, and where they took
/// more than there are, a fault would share some with the next.
const WORDS_PER_FAULT: u128 = 64;

/// The fault of a part that comes next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Next {
    at: Time,
    /// The node, or which of the switches or links of its kind.
    part: u32,
    kind: FaultKind,
    /// How many of this part came before.
    count: u32,
}

/// When the parts of all nodes fail next. A part is what is of one kind on one node.
pub(in crate::platform) struct FaultClock {
    streams: Streams,
    next: BinaryHeap<Reverse<Next>>,
}

/// A fault that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::platform) struct Due {
    pub(in crate::platform) kind: FaultKind,
    /// The node, or which of the switches or links of its kind.
    pub(in crate::platform) part: u32,
    /// How long it stays broken.
    pub(in crate::platform) repair: Time,
    /// Which of the things that it may hit, as a share of them.
    pub(in crate::platform) which: u32,
}

impl FaultClock {
    /// The parts of a cluster and its fabric, all as new.
    pub(in crate::platform) fn new(
        seed: u64,
        faults: &Faults,
        state: &ClusterState,
        network: Option<&Network>,
    ) -> Self {
        let mut clock = Self { streams: Streams::new(seed), next: BinaryHeap::new() };
        for kind in FaultKind::ALL.into_iter().filter(|&kind| faults.rate(kind).per_node_s > 0.0) {
            if kind.is_of_fabric() {
                let parts = network.map_or(0, |network| kind.parts(network));
                (0..parts).for_each(|part| clock.push_after(faults, Time::ZERO, part, kind, 0));
                continue;
            }
            for (node, entry) in state.nodes().iter().enumerate() {
                if kind != FaultKind::Gpu || entry.spec.gpus > 0 {
                    clock.push_after(faults, Time::ZERO, node as u32, kind, 0);
                }
            }
        }
        clock
    }

    const fn stream_name(kind: FaultKind) -> &'static str {
        match kind {
            FaultKind::Node => "node faults",
            FaultKind::Gpu => "gpu faults",
            FaultKind::Nic => "nic faults",
            FaultKind::Link => "link faults",
            FaultKind::Software => "software faults",
            FaultKind::LeafLink => "leaf link faults",
            FaultKind::SpineLink => "spine link faults",
            FaultKind::LeafSwitch => "leaf switch faults",
            FaultKind::SpineSwitch => "spine switch faults",
            FaultKind::CoreSwitch => "core switch faults",
        }
    }

    /// The numbers of one fault, whatever was drawn before.
    fn random(&self, part: u32, kind: FaultKind, count: u32) -> ChaCha8Rng {
        let mut random = self.streams.stream(Self::stream_name(kind), u64::from(part));
        random.set_word_pos(u128::from(count) * WORDS_PER_FAULT);
        random
    }

    fn push_after(&mut self, faults: &Faults, from: Time, part: u32, kind: FaultKind, count: u32) {
        let gap: f64 = Exp1.sample(&mut self.random(part, kind, count));
        let at = from + Time::from_s(gap / faults.rate(kind).per_node_s);
        self.next.push(Reverse(Next { at, part, kind, count }));
    }

    /// When the next one comes.
    pub(in crate::platform) fn next_at(&self) -> Option<Time> {
        self.next.peek().map(|Reverse(next)| next.at)
    }

    /// Takes the next one.
    pub(in crate::platform) fn pop(&mut self, faults: &Faults) -> Option<Due> {
        let Reverse(Next { at, part, kind, count }) = self.next.pop()?;
        self.push_after(faults, at, part, kind, count + 1);
        let mut random = self.random(part, kind, count);
        // The gap.
        let _: f64 = Exp1.sample(&mut random);
        let which = random.random();
        let repair = faults.rate(kind).repair;
        let factor = match repair.spread {
            RepairSpread::Fixed => 1.0,
            RepairSpread::Exponential => Exp1.sample(&mut random),
            RepairSpread::LogNormal(sigma) => {
                let deviation: f64 = StandardNormal.sample(&mut random);
                // So that the mean is one.
                (sigma * deviation - sigma * sigma / 2.0).exp()
            }
        };
        let repair = Time::from_s(repair.mean.as_s() * factor);
        Some(Due { kind, part, repair, which })
    }

    /// Passes over those that came before.
    pub(in crate::platform) fn skip_until(&mut self, faults: &Faults, now: Time) {
        while self.next_at().is_some_and(|at| at < now) {
            self.pop(faults);
        }
    }
}

impl Due {
    /// The fault of a node with so many GPUs.
    pub(in crate::platform) const fn fault(&self, gpus: u32) -> Fault {
        let device = match self.kind {
            FaultKind::Gpu => Some(self.pick(gpus)),
            _ => None,
        };
        let place = Place::Node(NodeId::new(self.part as usize));
        Fault { kind: self.kind, place, device, repair: self.repair }
    }

    /// One of so many.
    pub(in crate::platform) const fn pick(&self, count: u32) -> u32 {
        ((self.which as u64 * count as u64) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use foretell_framework::NodeSpec;

    use super::super::{FaultRate, Repair};
    use super::*;

    fn cluster(nodes: usize) -> ClusterState {
        let mut state = ClusterState::new();
        let model = state.gpu_model("H100").ok();
        for index in 0..nodes {
            let spec = NodeSpec { gpus: 8, gpu_model: model, ..NodeSpec::new(format!("node-{index}")) };
            state.add_node(spec).expect("the node is valid");
        }
        state
    }

    fn faults(per_1000_node_days: [f64; 5], repair: Repair) -> Faults {
        let rate = |of_kind: f64| FaultRate { per_node_s: of_kind / 86.4e6, repair };
        Faults { rates: per_1000_node_days.map(rate), ..Faults::default() }
    }

    /// Faults up to `end_s` on so many nodes.
    fn drawn(nodes: usize, faults: &Faults, end_s: f64) -> Vec<(Time, Due)> {
        let mut clock = FaultClock::new(7, faults, &cluster(nodes), None);
        let next = |_: usize| {
            let at = clock.next_at().filter(|&at| at < Time::from_s(end_s))?;
            Some((at, clock.pop(faults)?))
        };
        (0..).map_while(next).collect()
    }

    const HOUR: Repair =
        Repair { mean: Time::from_nanos(3_600_000_000_000), spread: RepairSpread::Exponential };

    #[test]
    fn as_many_come_as_the_rates_say() {
        // 2,048 nodes for 54 days: 110,592 node-days. Poisson: within four standard deviations.
        let rates = [0.4, 2.4, 0.05, 0.3, 0.6];
        let found = drawn(2048, &faults(rates, HOUR), 54.0 * 86_400.0);
        for (kind, rate) in FaultKind::ALL.into_iter().zip(rates) {
            let count = found.iter().filter(|(_, due)| due.kind == kind).count() as f64;
            let expected = rate * 110.592;
            assert!((count - expected).abs() < 4.0 * expected.sqrt(), "{kind:?}: {count}, not {expected}");
        }
        assert!(found.is_sorted_by_key(|&(at, _)| at));
        let mean_s = found.iter().map(|(_, due)| due.repair.as_s()).sum::<f64>() / found.len() as f64;
        assert!((mean_s - 3600.0).abs() < 4.0 * 3600.0 / (found.len() as f64).sqrt(), "{mean_s}");
        let devices: std::collections::BTreeSet<_> =
            found.iter().filter_map(|(_, due)| due.fault(8).device).collect();
        assert!(devices.into_iter().eq(0..8));
    }

    #[test]
    fn another_node_or_kind_shifts_nobodys_draws() {
        let some = drawn(16, &faults([3.0, 0.0, 0.0, 0.0, 2.0], HOUR), 1e9);
        let more = drawn(20, &faults([3.0, 5.0, 1.0, 0.0, 2.0], HOUR), 1e9);
        let is_old = |(_, due): &&(Time, Due)| {
            due.part < 16 && matches!(due.kind, FaultKind::Node | FaultKind::Software)
        };
        let still: Vec<_> = more.iter().filter(is_old).copied().collect();
        assert!(some.len() > 500);
        assert_eq!(still, some);
    }

    #[test]
    fn what_spreads_keeps_its_mean() {
        for (spread, sigma) in [(RepairSpread::Fixed, 0.0), (RepairSpread::LogNormal(0.8), 0.95)] {
            let repair = Repair { spread, ..HOUR };
            let found = drawn(64, &faults([10.0, 0.0, 0.0, 0.0, 0.0], repair), 2e9);
            let count = found.len() as f64;
            let mean_s = found.iter().map(|(_, due)| due.repair.as_s()).sum::<f64>() / count;
            assert!((mean_s - 3600.0).abs() <= 4.0 * 3600.0 * sigma / count.sqrt(), "{spread:?}: {mean_s}");
        }
    }
}
