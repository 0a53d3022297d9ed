//! Which links a flow takes.

use thiserror::Error;

use crate::network::{LinkId, LinkWeight, Network, NicId};

/// How flows choose among equal paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    /// Every queue pair of a flow goes one way, chosen at each switch by a hash: flows collide. The queue pairs carry
    /// equal parts (NCCL: `NCCL_IB_QPS_PER_CONNECTION` with `NCCL_IB_SPLIT_DATA_ON_QPS`).
    Ecmp {
        /// What the switches hash with.
        seed: u64,
        /// Queue pairs of a flow, at least 1.
        queue_pairs: u32,
    },
    /// Every packet takes the next free link (InfiniBand's adaptive routing, packet spraying): a flow is spread evenly over
    /// all healthy links that lead to its destination.
    Adaptive,
}

/// Why there is no route.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RouteError {
    /// The network has no such NIC.
    #[error("NIC {} is not one of the network's {nics}", .nic.index())]
    UnknownNic {
        /// What was asked for.
        nic: NicId,
        /// How many there are.
        nics: u32,
    },
    /// The network has no such node, or the node no such rail.
    #[error("node {node} with rail {rail} is not one of {nodes} nodes with {rails} rails")]
    UnknownRail {
        /// The node asked for.
        node: u32,
        /// The rail asked for.
        rail: u32,
        /// How many nodes there are.
        nodes: u32,
        /// How many rails there are.
        rails: u32,
    },
    /// A flow from a NIC to itself does not enter the network.
    #[error("NIC {} sends to itself", .nic.index())]
    SameNic {
        /// The NIC.
        nic: NicId,
    },
    /// Failed links leave no way.
    #[error("failed links leave no way from NIC {} to NIC {}", .source_nic.index(), .destination.index())]
    Unreachable {
        /// Where the flow begins.
        source_nic: NicId,
        /// Where it should end.
        destination: NicId,
    },
    /// A flow has at least one queue pair.
    #[error("a flow has at least one queue pair")]
    NoQueuePairs,
    /// A collective uses at least one rail.
    #[error("a collective uses at least one rail")]
    NoRails,
}

/// Where the two ends of a route hang.
#[derive(Clone, Copy)]
struct Ends {
    source_leaf: u32,
    destination_leaf: u32,
    source_pod: u32,
    destination_pod: u32,
}

/// Mixes a word into a hash: the finalizer of `SplitMix64` (Steele, Lea and Flood 2014).
const fn mix(hash: u64, word: u64) -> u64 {
    let mut mixed =
        hash.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_add(word.wrapping_mul(0xd134_2543_de82_ef95));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number below `count` from a hash.
const fn below(hash: u64, count: u32) -> u32 {
    (((hash >> 32) * count as u64) >> 32) as u32
}

impl Network {
    /// Adds to `route` the links that a flow between two NICs takes and the share of the flow on each. Every link comes once.
    pub fn route(
        &self,
        source_nic: NicId,
        destination: NicId,
        routing: Routing,
        route: &mut Vec<LinkWeight>,
    ) -> Result<(), RouteError> {
        let nics = self.clos.nics();
        for nic in [source_nic, destination] {
            if nic.0 >= nics {
                return Err(RouteError::UnknownNic { nic, nics });
            }
        }
        if source_nic == destination {
            return Err(RouteError::SameNic { nic: source_nic });
        }
        let unreachable = RouteError::Unreachable { source_nic, destination };
        let (up, down) = (self.nic_up(source_nic), self.nic_down(destination));
        if !self.healthy(up.0) || !self.healthy(down.0) {
            return Err(unreachable);
        }
        let (source_leaf, destination_leaf) = (self.leaf(source_nic).0, self.leaf(destination).0);
        let ends = Ends {
            source_leaf,
            destination_leaf,
            source_pod: source_leaf / self.clos.leaves_per_pod,
            destination_pod: destination_leaf / self.clos.leaves_per_pod,
        };
        let start = route.len();
        route.push(LinkWeight::new(up, 1.0));
        route.push(LinkWeight::new(down, 1.0));
        let found = if source_leaf == destination_leaf {
            Some(())
        } else {
            match routing {
                Routing::Adaptive => self.spread(ends, route),
                Routing::Ecmp { queue_pairs: 0, .. } => return Err(RouteError::NoQueuePairs),
                Routing::Ecmp { seed, queue_pairs } => {
                    let key = mix(mix(seed, u64::from(source_nic.0)), u64::from(destination.0));
                    self.hash_queue_pairs(ends, key, queue_pairs, route)
                }
            }
        };
        if found.is_none() {
            route.truncate(start);
            return Err(unreachable);
        }
        Ok(())
    }

    fn hash_queue_pairs(
        &self,
        ends: Ends,
        key: u64,
        queue_pairs: u32,
        route: &mut Vec<LinkWeight>,
    ) -> Option<()> {
        let start = route.len();
        let share = 1.0 / f64::from(queue_pairs);
        for queue_pair in 0..queue_pairs {
            self.hash_one(ends, mix(key, u64::from(queue_pair)), share, route)?;
        }
        if queue_pairs > 1 {
            route[start..].sort_unstable_by_key(|hop| hop.link);
            let mut kept = start;
            for next in start + 1..route.len() {
                if route[next].link == route[kept].link {
                    route[kept].weight += route[next].weight;
                } else {
                    kept += 1;
                    route[kept] = route[next];
                }
            }
            route.truncate(kept + 1);
        }
        Some(())
    }

    /// One way, chosen at each switch by the hash among the healthy links that lead to the destination.
    fn hash_one(&self, ends: Ends, key: u64, share: f64, route: &mut Vec<LinkWeight>) -> Option<()> {
        let clos = &self.clos;
        let mut take = |link| route.push(LinkWeight::new(LinkId(link), share));
        let up = self.pick(mix(key, 1), clos.leaf_uplinks(), |cable| {
            self.healthy(clos.leaf_link(ends.source_leaf, cable))
                && self.leads(ends, cable / clos.leaf_cables)
        })?;
        take(clos.leaf_link(ends.source_leaf, up));
        let spine = up / clos.leaf_cables;
        if ends.source_pod != ends.destination_pod {
            let up = self.pick(mix(key, 2), clos.spine_uplinks(), |cable| {
                self.healthy(clos.spine_link(ends.source_pod, spine, cable))
                    && self.core_leads(ends, spine, cable / clos.spine_cables)
            })?;
            take(clos.spine_link(ends.source_pod, spine, up));
            let first = up / clos.spine_cables * clos.spine_cables;
            let down = self.pick(mix(key, 3), clos.spine_cables, |cable| {
                self.healthy(clos.spine_link(ends.destination_pod, spine, first + cable) + 1)
            })?;
            take(clos.spine_link(ends.destination_pod, spine, first + down) + 1);
        }
        let first = spine * clos.leaf_cables;
        let down = self.pick(mix(key, 4), clos.leaf_cables, |cable| {
            self.healthy(clos.leaf_link(ends.destination_leaf, first + cable) + 1)
        })?;
        take(clos.leaf_link(ends.destination_leaf, first + down) + 1);
        Some(())
    }

    /// A number below `count` that passes, by the hash; all pass while nothing has failed.
    fn pick(&self, hash: u64, count: u32, passes: impl Fn(u32) -> bool) -> Option<u32> {
        if self.failed == 0 {
            return Some(below(hash, count));
        }
        let left = (0..count).filter(|&number| passes(number)).count() as u32;
        (left > 0)
            .then(|| (0..count).filter(|&number| passes(number)).nth(below(hash, left) as usize))
            .flatten()
    }

    /// Whether the spine of that number in the source's pod leads to the destination.
    fn leads(&self, ends: Ends, spine: u32) -> bool {
        let clos = &self.clos;
        let reaches_leaf = (0..clos.leaf_cables).any(|cable| {
            self.healthy(clos.leaf_link(ends.destination_leaf, spine * clos.leaf_cables + cable) + 1)
        });
        reaches_leaf
            && (ends.source_pod == ends.destination_pod
                || (0..clos.cores_per_spine).any(|core| {
                    self.core_leads(ends, spine, core)
                        && self.healthy_cables(core, |cable| clos.spine_link(ends.source_pod, spine, cable))
                            > 0
                }))
    }

    /// Whether a core above the spines of that number leads to the destination's pod.
    fn core_leads(&self, ends: Ends, spine: u32, core: u32) -> bool {
        self.healthy_cables(core, |cable| self.clos.spine_link(ends.destination_pod, spine, cable) + 1) > 0
    }

    /// How many of the cables to one core are healthy.
    fn healthy_cables(&self, core: u32, link: impl Fn(u32) -> u32) -> u32 {
        let cables = self.clos.spine_cables;
        (core * cables..(core + 1) * cables).filter(|&cable| self.healthy(link(cable))).count() as u32
    }

    /// Evenly over the healthy links that lead to the destination, at each switch.
    fn spread(&self, ends: Ends, route: &mut Vec<LinkWeight>) -> Option<()> {
        let clos = &self.clos;
        let up = |cable: &u32| self.healthy(clos.leaf_link(ends.source_leaf, *cable));
        let cables_of = |spine: u32| spine * clos.leaf_cables..(spine + 1) * clos.leaf_cables;
        let leading = |spine: &u32| self.failed == 0 || self.leads(ends, *spine);
        let all: usize =
            (0..clos.spines_per_pod).filter(leading).map(|spine| cables_of(spine).filter(up).count()).sum();
        let share = 1.0 / all as f64;
        for spine in (0..clos.spines_per_pod).filter(leading) {
            let before = route.len();
            for cable in cables_of(spine).filter(up) {
                route.push(LinkWeight::new(LinkId(clos.leaf_link(ends.source_leaf, cable)), share));
            }
            let of_spine = share * (route.len() - before) as f64;
            if of_spine <= 0.0 {
                continue;
            }
            if ends.source_pod != ends.destination_pod {
                self.spread_over_cores(ends, spine, of_spine, route);
            }
            let down = |cable: u32| clos.leaf_link(ends.destination_leaf, cable) + 1;
            let healthy = cables_of(spine).filter(|&cable| self.healthy(down(cable)));
            let part = of_spine / healthy.clone().count() as f64;
            route.extend(healthy.map(|cable| LinkWeight::new(LinkId(down(cable)), part)));
        }
        (all > 0).then_some(())
    }

    fn spread_over_cores(&self, ends: Ends, spine: u32, of_spine: f64, route: &mut Vec<LinkWeight>) {
        let clos = &self.clos;
        let up = |cable: u32| clos.spine_link(ends.source_pod, spine, cable);
        let down = |cable: u32| clos.spine_link(ends.destination_pod, spine, cable) + 1;
        let leading = (0..clos.cores_per_spine).filter(|&core| self.core_leads(ends, spine, core));
        let all: u32 = leading.clone().map(|core| self.healthy_cables(core, up)).sum();
        let share = of_spine / f64::from(all);
        for core in leading {
            let cables = core * clos.spine_cables..(core + 1) * clos.spine_cables;
            let before = route.len();
            let going_up = cables.clone().map(up).filter(|&link| self.healthy(link));
            route.extend(going_up.map(|link| LinkWeight::new(LinkId(link), share)));
            let of_core = share * (route.len() - before) as f64;
            if of_core <= 0.0 {
                continue;
            }
            let going_down = cables.map(down).filter(|&link| self.healthy(link));
            let part = of_core / going_down.clone().count() as f64;
            route.extend(going_down.map(|link| LinkWeight::new(LinkId(link), part)));
        }
    }
}
