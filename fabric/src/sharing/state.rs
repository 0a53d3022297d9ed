//! Flows, links, and the operations that change them.

use thiserror::Error;

use crate::network::{LinkId, LinkWeight};
use crate::sharing::solve::Scratch;

/// No link: what holds a flow at its cap.
pub(super) const NONE: u32 = u32::MAX;

/// Relative slack below which a link counts as full, and levels as equal: far above rounding, far below what matters.
pub(super) const TOLERANCE: f64 = 1e-12;

/// After so many changes, and at least one for each flow on it, a link's sums are taken afresh, so that rounding errors do not add up.
const CHANGES_MIN: u32 = 64;

/// A flow; dense from 0, and given to another flow after it was removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowId(pub(super) u32);

impl FlowId {
    /// Its number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What cannot be shared.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum SharingError {
    /// A quantity that must be a number in some range.
    #[error("{what} must be {range}, not {value}")]
    OutOfRange {
        /// Its name.
        what: &'static str,
        /// What it may be.
        range: &'static str,
        /// What was given.
        value: f64,
    },
    /// There is no such link.
    #[error("link {} is not one of {links}", .link.index())]
    UnknownLink {
        /// What was asked for.
        link: LinkId,
        /// How many there are.
        links: usize,
    },
    /// A flow that was never added or has been removed.
    #[error("there is no flow {}", .flow.index())]
    UnknownFlow {
        /// What was asked for.
        flow: FlowId,
    },
    /// Without links nothing but a cap bounds a flow.
    #[error("a flow over no links needs a finite cap")]
    Unbounded,
}

/// A flow on a link, seen from the link.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnLink {
    pub(super) flow: u32,
    /// Where the flow lists this link.
    entry: u32,
    pub(super) weight: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    /// What its flows would put on it at their caps, but for those without one.
    demand: f64,
    /// How many have no cap.
    uncapped: u32,
    /// Whether it was ever contended.
    known: bool,
    /// Where filling stopped at it: rate per share of the flows that it holds back. Infinite while it has room.
    pub(super) level: f64,
    /// Its place in the scratch buffers, if `mark` is the epoch.
    pub(super) mark: u64,
    pub(super) place: u32,
    pub(super) flows: Vec<OnLink>,
}

/// How near a link is to holding flows back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Contention {
    /// Its flows would not fill it at their caps: it is left alone.
    None,
    /// It has room: it is looked at after a solve.
    Roomy,
    /// It holds flows back: it is part of a solve.
    Tight,
}

/// What a link carries; apart from the rest, since it is all that a solve needs of roomy links.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) capacity: f64,
    /// What its flows put on it. Kept while it is contended.
    pub(super) used: f64,
    /// What they would put on it by the solve at hand, if `mark` is its number.
    pub(super) tried: f64,
    pub(super) mark: u64,
    changes: u32,
}

/// A link of a flow, seen from the flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) link: u32,
    /// Where the link lists this flow.
    position: u32,
    pub(super) weight: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) cap: f64,
    pub(super) share: f64,
    pub(super) rate: f64,
    /// Rate per share at which filling stopped it.
    pub(super) level: f64,
    /// The link that holds it back, or `NONE`.
    pub(super) bottleneck: u32,
    pub(super) live: bool,
    pub(super) entries: Vec<Entry>,
    /// So many entries from the first on are of links that may be contended; the others are of links that are not.
    pub(super) contended: u32,
}

/// Flows over links, at rates that are weighted max-min fair.
#[derive(Clone, Debug)]
pub struct Sharing {
    pub(super) links: Vec<Link>,
    pub(super) loads: Vec<Load>,
    pub(super) contention: Vec<Contention>,
    pub(super) flows: Vec<Flow>,
    free: Vec<u32>,
    pub(super) scratch: Scratch,
    /// Whether changes are only noted, to be solved for together.
    held: bool,
    /// Links that were given other capacities since then.
    recapacitated: Vec<u32>,
}

impl Sharing {
    /// No flows, over links of these capacities; a failed link has none.
    pub fn new(capacities_gb_per_s: &[f64]) -> Result<Self, SharingError> {
        capacities_gb_per_s.iter().try_for_each(|&capacity| check_capacity(capacity))?;
        let link = Link {
            demand: 0.0,
            uncapped: 0,
            known: false,
            level: f64::INFINITY,
            mark: 0,
            place: 0,
            flows: Vec::new(),
        };
        let load = |&capacity: &f64| Load { capacity, used: 0.0, tried: 0.0, mark: 0, changes: 0 };
        let links = capacities_gb_per_s.len();
        Ok(Self {
            links: vec![link; links],
            loads: capacities_gb_per_s.iter().map(load).collect(),
            contention: vec![Contention::None; links],
            flows: Vec::new(),
            free: Vec::new(),
            scratch: Scratch::default(),
            held: false,
            recapacitated: Vec::new(),
        })
    }

    /// Notes changes from now on without solving for them; rates stay as they are, and new flows have none, until
    /// [`Sharing::release`]. Changes of one instant then cost one solve.
    pub fn hold(&mut self) {
        if !self.held {
            self.held = true;
            self.scratch.begin();
        }
    }

    /// Solves for all changes since [`Sharing::hold`]: [`Sharing::changed`] then tells of all of them together.
    pub fn release(&mut self) {
        if self.held {
            self.held = false;
            self.drop_removed();
            // Whoever filled them may have gone meanwhile, and others be too many all the same.
            for at in 0..self.recapacitated.len() {
                self.include_overfull(self.recapacitated[at]);
            }
            self.recapacitated.clear();
            self.settle();
        }
    }

    /// A link that had room and has too little now: all its flows are solved for.
    fn include_overfull(&mut self, id: u32) {
        let (link, load) = (&self.links[id as usize], &self.loads[id as usize]);
        let contended = self.contention[id as usize] != Contention::None;
        if contended && load.used > load.capacity && link.level.is_infinite() {
            self.contention[id as usize] = Contention::Tight;
            for at in 0..link.flows.len() {
                let flow = self.links[id as usize].flows[at].flow;
                self.include(flow);
            }
        }
    }

    fn begin(&mut self) {
        if !self.held {
            self.scratch.begin();
        }
    }

    fn solve(&mut self) {
        if !self.held {
            self.settle();
        }
    }

    /// Adds a flow that puts `weight` bytes on each link per byte of its rate. A link may come more than once. Rates per `share`
    /// are equal where flows compete; the cap may be infinite if there are links.
    pub fn add(
        &mut self,
        links: &[LinkWeight],
        cap_gb_per_s: f64,
        share: f64,
    ) -> Result<FlowId, SharingError> {
        self.check(links, cap_gb_per_s, share)?;
        self.begin();
        let id = self.free.pop().unwrap_or_else(|| {
            self.flows.push(Flow {
                cap: 0.0,
                share: 1.0,
                rate: 0.0,
                level: 0.0,
                bottleneck: NONE,
                live: false,
                entries: Vec::new(),
                contended: 0,
            });
            self.flows.len() as u32 - 1
        });
        let flow = &mut self.flows[id as usize];
        (flow.cap, flow.share, flow.rate, flow.level) = (cap_gb_per_s, share, 0.0, 0.0);
        (flow.bottleneck, flow.live) = (NONE, true);
        // First the links that may be contended: the others need not be looked at.
        for known in [true, false] {
            for hop in links {
                let link = &mut self.links[hop.link.index()];
                if link.known != known {
                    continue;
                }
                // If the link has come before, this flow is the last on it.
                if let Some(on) = link.flows.last_mut().filter(|on| on.flow == id) {
                    on.weight += hop.weight;
                    flow.entries[on.entry as usize].weight += hop.weight;
                } else {
                    let (entry, position) = (flow.entries.len() as u32, link.flows.len() as u32);
                    link.flows.push(OnLink { flow: id, entry, weight: hop.weight });
                    flow.entries.push(Entry { link: hop.link.index() as u32, position, weight: hop.weight });
                }
            }
            if known {
                flow.contended = flow.entries.len() as u32;
            }
        }
        for at in 0..self.flows[id as usize].entries.len() {
            let Entry { link, weight, .. } = self.flows[id as usize].entries[at];
            self.links[link as usize].demand_more(weight, cap_gb_per_s);
            self.demand_changed(link);
        }
        self.include(id);
        self.solve();
        Ok(FlowId(id))
    }

    /// Takes a flow away. Its id may be given to another.
    pub fn remove(&mut self, flow: FlowId) -> Result<(), SharingError> {
        let id = self.find(flow)?;
        self.begin();
        let mut entries = std::mem::take(&mut self.flows[id as usize].entries);
        let Flow { cap, rate, .. } = self.flows[id as usize];
        for entry in &entries {
            let link = &mut self.links[entry.link as usize];
            link.flows.swap_remove(entry.position as usize);
            if let Some(moved) = link.flows.get(entry.position as usize) {
                self.flows[moved.flow as usize].entries[moved.entry as usize].position = entry.position;
            }
            self.loads[entry.link as usize].used -= entry.weight * rate;
            link.demand_less(entry.weight, cap);
            if link.level.is_finite() {
                self.let_go(entry.link);
            }
            self.demand_changed(entry.link);
        }
        entries.clear();
        let flow = &mut self.flows[id as usize];
        flow.entries = entries;
        flow.live = false;
        self.free.push(id);
        self.solve();
        Ok(())
    }

    /// Gives a flow another cap.
    pub fn set_cap(&mut self, flow: FlowId, cap_gb_per_s: f64) -> Result<(), SharingError> {
        let id = self.find(flow)?;
        check_cap(cap_gb_per_s, self.flows[id as usize].entries.is_empty())?;
        self.begin();
        let Flow { cap: before, rate, bottleneck, .. } = self.flows[id as usize];
        self.flows[id as usize].cap = cap_gb_per_s;
        for at in 0..self.flows[id as usize].entries.len() {
            let Entry { link, weight, .. } = self.flows[id as usize].entries[at];
            self.links[link as usize].demand_less(weight, before);
            self.links[link as usize].demand_more(weight, cap_gb_per_s);
            self.demand_changed(link);
        }
        if bottleneck == NONE || cap_gb_per_s < rate {
            self.include(id);
        }
        self.solve();
        Ok(())
    }

    /// Gives a link another capacity: none when it fails.
    pub fn set_capacity(&mut self, link: LinkId, capacity_gb_per_s: f64) -> Result<(), SharingError> {
        let links = self.links.len();
        if link.index() >= links {
            return Err(SharingError::UnknownLink { link, links });
        }
        check_capacity(capacity_gb_per_s)?;
        self.begin();
        let id = link.index() as u32;
        self.loads[link.index()].capacity = capacity_gb_per_s;
        if self.links[link.index()].level.is_finite() {
            self.let_go(id);
        }
        self.demand_changed(id);
        if self.held {
            self.recapacitated.push(id);
        } else {
            self.include_overfull(id);
        }
        self.solve();
        Ok(())
    }

    /// The rate of a flow; 0 if there is none.
    pub fn rate_gb_per_s(&self, flow: FlowId) -> f64 {
        self.flows.get(flow.index()).filter(|flow| flow.live).map_or(0.0, |flow| flow.rate)
    }

    /// Flows whose rate the last operation changed, the one just added among them.
    pub fn changed(&self) -> &[FlowId] {
        &self.scratch.changed
    }

    /// How many flows the last operation solved for, changed or not: what it cost.
    pub const fn solved(&self) -> usize {
        self.scratch.solved()
    }

    /// What flows put on a link.
    pub fn load_gb_per_s(&self, link: LinkId) -> f64 {
        self.links.get(link.index()).map_or(0.0, |link| link.sum_used(&self.flows))
    }

    /// Whether a link holds flows back.
    pub fn is_saturated(&self, link: LinkId) -> bool {
        self.links.get(link.index()).is_some_and(|link| link.level.is_finite())
    }

    /// The flow's number, if there is such a flow.
    fn find(&self, flow: FlowId) -> Result<u32, SharingError> {
        let live = self.flows.get(flow.index()).is_some_and(|flow| flow.live);
        if live { Ok(flow.0) } else { Err(SharingError::UnknownFlow { flow }) }
    }

    /// Whether a flow could be added.
    pub(super) fn check(&self, links: &[LinkWeight], cap: f64, share: f64) -> Result<(), SharingError> {
        check_cap(cap, links.is_empty())?;
        check_positive("a flow's share", share)?;
        for hop in links {
            if hop.link.index() >= self.links.len() {
                return Err(SharingError::UnknownLink { link: hop.link, links: self.links.len() });
            }
            check_positive("a flow's weight on a link", hop.weight)?;
        }
        Ok(())
    }

    /// Sees to it that the flows which a link holds back are solved again.
    fn let_go(&mut self, link: u32) {
        let mut any = false;
        for at in 0..self.links[link as usize].flows.len() {
            let flow = self.links[link as usize].flows[at].flow;
            if self.flows[flow as usize].bottleneck == link {
                self.include(flow);
                any = true;
            }
        }
        if !any {
            self.links[link as usize].level = f64::INFINITY;
        }
    }

    /// A link's demand or capacity is another: it may become contended or cease to be.
    fn demand_changed(&mut self, id: u32) {
        self.count_change(id);
        let (link, load) = (&self.links[id as usize], &mut self.loads[id as usize]);
        let contended = link.uncapped > 0 || link.demand > load.capacity * (1.0 + TOLERANCE);
        if !contended {
            self.contention[id as usize] = Contention::None;
            if link.level.is_finite() {
                self.let_go(id);
                self.links[id as usize].level = f64::INFINITY;
            }
            return;
        }
        if self.contention[id as usize] == Contention::None {
            load.used = link.sum_used(&self.flows);
        }
        if !link.known {
            let link = &mut self.links[id as usize];
            link.known = true;
            for on in &link.flows {
                let flow = &mut self.flows[on.flow as usize];
                flow.contended = flow.contended.max(on.entry + 1);
            }
        }
        self.weigh(id);
    }

    /// Whether a contended link is tight.
    pub(super) fn weigh(&mut self, id: u32) {
        let link = &self.links[id as usize];
        // A flow without a cap must be stopped by a link.
        let tight = link.uncapped > 0 || link.level.is_finite();
        self.contention[id as usize] = if tight { Contention::Tight } else { Contention::Roomy };
    }

    /// Takes a link's sums afresh after many changes.
    pub(super) fn count_change(&mut self, id: u32) {
        let (link, load) = (&mut self.links[id as usize], &mut self.loads[id as usize]);
        load.changes += 1;
        if load.changes >= CHANGES_MIN.max(link.flows.len() as u32) || link.flows.is_empty() {
            load.changes = 0;
            load.used = link.sum_used(&self.flows);
            link.demand = link.sum_demand(&self.flows);
        }
    }
}

/// What a flow may put on a link counts as without bound from here on, GB/s: the sum with what others may would lose theirs to rounding.
pub(super) const UNBOUNDED_GB_PER_S: f64 = 1e9;

/// What a flow may put on a link, if that has a bound.
pub(super) fn demand(weight: f64, cap: f64) -> Option<f64> {
    Some(weight * cap).filter(|&demand| demand < UNBOUNDED_GB_PER_S)
}

impl Link {
    fn demand_more(&mut self, weight: f64, cap: f64) {
        match demand(weight, cap) {
            Some(demand) => self.demand += demand,
            None => self.uncapped += 1,
        }
    }

    fn demand_less(&mut self, weight: f64, cap: f64) {
        match demand(weight, cap) {
            Some(demand) => self.demand -= demand,
            None => self.uncapped -= 1,
        }
    }

    fn sum_used(&self, flows: &[Flow]) -> f64 {
        self.flows.iter().map(|on| on.weight * flows[on.flow as usize].rate).sum()
    }

    fn sum_demand(&self, flows: &[Flow]) -> f64 {
        self.flows.iter().filter_map(|on| demand(on.weight, flows[on.flow as usize].cap)).sum()
    }
}

fn check_capacity(value: f64) -> Result<(), SharingError> {
    let good = (0.0..=UNBOUNDED_GB_PER_S).contains(&value);
    let range = "from 0 to 10^9 GB/s";
    if good { Ok(()) } else { Err(SharingError::OutOfRange { what: "a link's capacity", range, value }) }
}

fn check_cap(value: f64, without_links: bool) -> Result<(), SharingError> {
    if value.is_nan() || value < 0.0 {
        return Err(SharingError::OutOfRange { what: "a flow's cap", range: "not negative", value });
    }
    if without_links && value.is_infinite() { Err(SharingError::Unbounded) } else { Ok(()) }
}

fn check_positive(what: &'static str, value: f64) -> Result<(), SharingError> {
    let good = value.is_finite() && value > 0.0;
    if good { Ok(()) } else { Err(SharingError::OutOfRange { what, range: "positive and finite", value }) }
}
