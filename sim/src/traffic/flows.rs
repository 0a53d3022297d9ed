//! The flows of running jobs.

use std::sync::Arc;

use foretell_fabric::network::{
    HealthError, LinkId, LinkTier, LinkWeight, LoadBuffers, Loads, Member, Network, RouteError, Routing,
};
use foretell_fabric::sharing::{FlowId, Sharing, SharingError};
use foretell_framework::JobId;
use slotmap::SecondaryMap;

use super::rails::Rails;
use super::{LinkChange, Pattern, Phases, StepLaw};

/// A flow that has this much less than it asks for is held back; above rounding.
const HELD_BACK: f64 = 1e-9;

/// How a job steps now.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stepping {
    /// What a step takes; infinite where links have failed and nothing gets through.
    pub step_s: f64,
    /// Whether others hold it back: alone on the links as they are it would be faster.
    pub is_held_back: bool,
    /// What it sends from leaves up to spines, bytes per second.
    pub leaf_bytes_per_s: f64,
    /// And from spines up to cores.
    pub spine_bytes_per_s: f64,
}

impl Stepping {
    /// On one node, or without a network.
    pub const fn local(step_s: f64) -> Self {
        Self { step_s, is_held_back: false, leaf_bytes_per_s: 0.0, spine_bytes_per_s: 0.0 }
    }
}

/// What a job puts on links.
struct Flow {
    law: Arc<StepLaw>,
    members: Vec<Member>,
    /// Bytes on each link for each byte of the bus.
    weights: Vec<LinkWeight>,
    /// Its bus bandwidth if nobody else sent anything; 0 if there is no way.
    alone_gb_per_s: f64,
    /// What it asks for.
    cap_gb_per_s: f64,
    id: Option<FlowId>,
    leaf_weight: f64,
    spine_weight: f64,
}

/// A network, and the jobs that send over it.
pub struct Traffic {
    network: Network,
    routing: Routing,
    phases: Phases,
    sharing: Sharing,
    rails: Rails,
    buffers: LoadBuffers,
    flows: SecondaryMap<JobId, Flow>,
    /// By flow.
    owners: Vec<Option<JobId>>,
    /// Jobs whose rate is another than when they were last asked for; may come more than once.
    changed: Vec<JobId>,
    /// Whether there are changes that were not solved for.
    is_held: bool,
    /// In order of time.
    pub(crate) link_changes: Vec<LinkChange>,
}

impl Traffic {
    /// Nobody sends on a network. Node number n of the cluster is node n of the network.
    pub fn new(network: Network, routing: Routing, phases: Phases) -> Result<Self, SharingError> {
        let sharing = Sharing::new(&network.capacities_gb_per_s())?;
        let rails = Rails::new(&network);
        Ok(Self {
            network,
            rails,
            routing,
            phases,
            sharing,
            buffers: LoadBuffers::default(),
            flows: SecondaryMap::new(),
            owners: Vec::new(),
            changed: Vec::new(),
            is_held: false,
            link_changes: Vec::new(),
        })
    }

    /// The same with every link counted by itself, where [`Traffic::new`] has one stand for those of all rails while they carry the same.
    /// The rates are the same; it takes longer.
    pub fn link_by_link(network: Network, routing: Routing, phases: Phases) -> Result<Self, SharingError> {
        let mut traffic = Self::new(network, routing, phases)?;
        traffic.rails.are_apart = true;
        Ok(traffic)
    }

    /// Links that change at given times while a simulation runs.
    #[must_use]
    pub fn with_link_changes(mut self, mut changes: Vec<LinkChange>) -> Self {
        changes.sort_by_key(|change| (change.at, change.link));
        self.link_changes = changes;
        self
    }

    /// The network.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// The rails nearest to devices of a node with so many GPUs: rail `d * rails / gpus` to device d.
    pub fn rails_of(&self, devices: impl Iterator<Item = usize>, gpus: u32) -> Vec<u32> {
        let rails = self.network.nics_per_node();
        let mut nearest: Vec<u32> = devices
            .map(|device| (device as u64 * u64::from(rails) / u64::from(gpus.max(1))) as u32)
            .map(|rail| rail.min(rails - 1))
            .collect();
        nearest.sort_unstable();
        nearest.dedup();
        nearest
    }

    /// A job sends from now on by this law, between these nodes in order of ranks. How fast it is and what that does to others is
    /// known after [`Traffic::take_changed`].
    pub fn place(&mut self, job: JobId, law: Arc<StepLaw>, members: Vec<Member>) {
        self.remove(job);
        if members.len() < 2 || !law.communicates() {
            return;
        }
        let Some(weights) = self.weights(&law, &members) else { return };
        self.add(job, law, members, weights);
    }

    /// A job sends no more; that others are faster for it is known after [`Traffic::take_changed`].
    pub fn remove(&mut self, job: JobId) {
        let Some(flow) = self.flows.remove(job) else { return };
        if let Some(id) = flow.id {
            self.unshare(id);
            self.rails.leave(&self.network, &flow.weights);
        }
    }

    /// Takes a flow from the links.
    fn unshare(&mut self, id: FlowId) {
        self.owners[id.index()] = None;
        self.hold();
        // The flow was added, so that it is there to be removed.
        let _removed = self.sharing.remove(id);
    }

    /// Puts a flow on the links that count.
    fn share(&mut self, job: JobId, weights: &[LinkWeight], cap_gb_per_s: f64) -> Option<FlowId> {
        self.hold();
        let counts = |hop: &&LinkWeight| self.rails.counts(&self.network, hop.link);
        let counting: Vec<LinkWeight> = weights.iter().filter(counts).copied().collect();
        let id = self.sharing.add(&counting, cap_gb_per_s, 1.0).ok()?;
        if self.owners.len() <= id.index() {
            self.owners.resize(id.index() + 1, None);
        }
        self.owners[id.index()] = Some(job);
        Some(id)
    }

    /// From now on every link of these groups counts.
    fn part(&mut self, groups: &[u32]) {
        if groups.is_empty() {
            return;
        }
        let crosses = |hop: &LinkWeight| {
            self.network.rail_group(hop.link).is_some_and(|(group, _)| groups.contains(&group))
        };
        let crossing = self.flows.iter().filter(|(_, flow)| flow.weights.iter().any(crosses));
        let jobs: Vec<JobId> = crossing.map(|(job, _)| job).collect();
        for job in jobs {
            let Some(flow) = self.flows.get_mut(job) else { continue };
            let (Some(id), cap_gb_per_s) = (flow.id.take(), flow.cap_gb_per_s) else { continue };
            let weights = std::mem::take(&mut flow.weights);
            self.unshare(id);
            let id = self.share(job, &weights, cap_gb_per_s);
            if let Some(flow) = self.flows.get_mut(job) {
                (flow.id, flow.weights) = (id, weights);
            }
        }
    }

    /// What a step of a job that sends would take if nobody else did; `None` for one that does not send.
    pub fn alone_s(&self, job: JobId) -> Option<f64> {
        self.flows.get(job).map(|flow| flow.law.step_s(flow.alone_gb_per_s))
    }

    /// How a job that sends steps, as of the last [`Traffic::take_changed`]; `None` for one that does not.
    pub fn stepping(&self, job: JobId) -> Option<Stepping> {
        let flow = self.flows.get(job)?;
        let law = &*flow.law;
        let Some(id) = flow.id else {
            return Some(Stepping { is_held_back: false, ..Stepping::local(f64::INFINITY) });
        };
        let rate = self.sharing.rate_gb_per_s(id);
        let alone_s = law.step_s(flow.alone_gb_per_s);
        let is_held_back = rate < flow.cap_gb_per_s * (1.0 - HELD_BACK);
        let step_s = match self.phases {
            _ if !is_held_back => alone_s,
            Phases::Interleaved => alone_s.max(law.bytes / (rate * 1e9)),
            Phases::Synchronised => law.step_s(rate),
        };
        let bytes_per_s = law.bytes / step_s;
        Some(Stepping {
            step_s,
            is_held_back: step_s > alone_s * (1.0 + HELD_BACK),
            leaf_bytes_per_s: bytes_per_s * flow.leaf_weight,
            spine_bytes_per_s: bytes_per_s * flow.spine_weight,
        })
    }

    /// Solves for all that has begun, ended and changed since this was last asked for. Returns the jobs whose rate that changed, each
    /// once.
    pub fn take_changed(&mut self) -> Vec<JobId> {
        if std::mem::take(&mut self.is_held) {
            self.sharing.release();
            let owners = &self.owners;
            let of = |id: &FlowId| owners.get(id.index()).copied().flatten();
            self.changed.extend(self.sharing.changed().iter().filter_map(of));
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed.retain(|&job| self.flows.contains_key(job));
        changed
    }

    /// Whether there may be such jobs.
    pub const fn has_changed(&self) -> bool {
        self.is_held || !self.changed.is_empty()
    }

    /// Links have so much of their capacity left from now on: nothing if they fail, all if they are whole again. Flows
    /// find new ways where some failed or came back.
    pub fn change_links(&mut self, changes: &[(LinkId, f64)]) -> Result<(), HealthError> {
        let mut reroutes = false;
        for &(link, factor) in changes {
            let before = self.network.capacity_gb_per_s(link);
            if factor <= 0.0 {
                self.network.fail(link)?;
            } else {
                self.network.degrade(link, factor)?;
            }
            let now = self.network.capacity_gb_per_s(link);
            if let Some(group) = self.rails.changed(&self.network, link) {
                self.part(&[group]);
            }
            reroutes |= (before <= 0.0) != (now <= 0.0);
            self.hold();
            // The network has just as many links as are shared.
            let _known = self.sharing.set_capacity(link, now);
        }
        let is_changed = |hop: &LinkWeight| changes.iter().any(|&(link, _)| link == hop.link);
        let jobs: Vec<JobId> = self.flows.keys().collect();
        for job in jobs {
            let Some(flow) = self.flows.get(job) else { continue };
            if !reroutes && !flow.weights.iter().any(is_changed) {
                continue;
            }
            let (law, members) = (Arc::clone(&flow.law), flow.members.clone());
            let Some(weights) = self.weights(&law, &members) else { continue };
            let alone = self.alone(&law, &weights);
            let flow = &self.flows[job];
            let is_same = alone.to_bits() == flow.alone_gb_per_s.to_bits() && weights == flow.weights;
            if !is_same {
                self.remove(job);
                self.add(job, law, members, weights);
            }
        }
        Ok(())
    }

    /// What a job puts on links; nothing if there is no way, `None` if not all its nodes are in the network.
    fn weights(&mut self, law: &StepLaw, members: &[Member]) -> Option<Vec<LinkWeight>> {
        let buffers = std::mem::take(&mut self.buffers);
        let mut loads = Loads::with_buffers(&self.network, self.routing, buffers);
        let found = match law.pattern {
            Pattern::Ring => loads.ring_of(members),
            Pattern::AllToAll => loads.all_to_all_of(members),
        };
        self.buffers = loads.into_buffers();
        let mut weights = match found {
            Ok(weights) => weights,
            Err(RouteError::Unreachable { .. }) => Vec::new(),
            Err(_) => return None,
        };
        // NICs do not bind a job below what is measured of it alone.
        let is_nic = |hop: &&LinkWeight| self.network.tier(hop.link) == LinkTier::Nic;
        let asks = |hop: &LinkWeight| {
            hop.weight * law.sent * law.cap_gb_per_s / self.network.nominal_gb_per_s(hop.link)
        };
        let most = weights.iter().filter(is_nic).map(asks).fold(1.0, f64::max);
        for hop in &mut weights {
            hop.weight *= law.sent / most;
        }
        Some(weights)
    }

    /// The bus bandwidth of a job if nobody else sent anything.
    fn alone(&self, law: &StepLaw, weights: &[LinkWeight]) -> f64 {
        let most = weights.iter().map(|hop| self.network.capacity_gb_per_s(hop.link) / hop.weight);
        if weights.is_empty() { 0.0 } else { most.fold(law.cap_gb_per_s, f64::min) }
    }

    fn add(&mut self, job: JobId, law: Arc<StepLaw>, members: Vec<Member>, weights: Vec<LinkWeight>) {
        let alone_gb_per_s = self.alone(&law, &weights);
        let cap_gb_per_s = match self.phases {
            Phases::Interleaved => law.bytes / 1e9 / law.step_s(alone_gb_per_s),
            Phases::Synchronised => alone_gb_per_s,
        };
        let mut id = None;
        if alone_gb_per_s > 0.0 {
            let parted = self.rails.enter(&self.network, &weights);
            self.part(&parted);
            id = self.share(job, &weights, cap_gb_per_s);
        } else {
            self.changed.push(job);
        }
        // Even links lead up: what crosses a tier counts once.
        let upward = |tier: LinkTier| {
            let on_tier =
                weights.iter().filter(|hop| hop.link.index() % 2 == 0 && self.network.tier(hop.link) == tier);
            on_tier.map(|hop| hop.weight).sum()
        };
        let (leaf_weight, spine_weight) = (upward(LinkTier::Leaf), upward(LinkTier::Spine));
        let flow =
            Flow { law, members, weights, alone_gb_per_s, cap_gb_per_s, id, leaf_weight, spine_weight };
        self.flows.insert(job, flow);
    }

    /// What happens in one instant is solved for together.
    fn hold(&mut self) {
        self.is_held = true;
        self.sharing.hold();
    }
}
