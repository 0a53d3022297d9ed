//! Places a job as close together as can be: the smallest tier first, and ranks in the order of the tree.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use foretell_framework::state::NetworkTopology;
use foretell_framework::{
    ClassId, ClusterState, DomainId, DomainTree, JobId, NodeId, PlaceFailure, PlaceJob, Plugins, Reason,
    TaskId, TaskStatus, Transaction,
};
use rand::Rng;

use crate::costs::PlacementCosts;
use crate::limit::Limit;
use crate::plan::{Division, divide};
use crate::slots::{ClassSlots, Slots};

/// The most domains of one tier that are tried for one job. The first one that has room for every class of tasks takes
/// nearly every job; others are for jobs whose classes get in each other's way.
const DOMAINS_TRIED: usize = 8;

/// How jobs are placed by [`ByDomain`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DomainPlacement {
    /// How tasks are divided over the parts of a domain.
    pub division: Division,
    /// What holds of jobs that say nothing of topology; `None` is a wish to be near each other.
    pub otherwise: Option<NetworkTopology>,
    /// What the network's rates make of being spread; `None` where only tiers are known.
    pub costs: Option<Arc<PlacementCosts>>,
}

/// Puts the tasks of a job into the domain of the lowest tier that holds them all; among domains of a tier into the
/// one with the least room. Inside, tasks are divided by [`Division`] and handed out in order of rank, domain by
/// domain and node by node, so that neighbours in rank are neighbours in the fabric.
///
/// With [`PlacementCosts`] what a job pays comes before all that: of all places where it fits it gets one that costs least, and of those
/// the one that the rules above choose. So it keeps off slow cards and does not cross slow links, unless it would have to wait; and
/// it is rather spread than slow where being spread costs less. Jobs that fit on one node pay nothing there.
///
/// A job that demands a tier is placed inside one domain of that tier or below, or not at all. What of a job is placed
/// already holds its place: the rest goes into the smallest domain around it that has room.
#[derive(Default)]
pub struct ByDomain {
    config: DomainPlacement,
    tree: DomainTree,
    slots: Slots,
}

/// The tasks of a job that wait, and where they may go.
struct Request {
    /// In order of rank.
    tasks: Vec<(TaskId, ClassId)>,
    /// Each class once, with its number of tasks, the one that asks for the most first.
    classes: Vec<(ClassId, u64)>,
    limit: Limit,
    /// The smallest domain that holds what is placed already.
    allocated: Option<DomainId>,
}

/// Where a job may be: all rooms that there are, or those that cost no more than so much.
enum Rooms<'a> {
    All(&'a Slots),
    Within(Vec<(ClassId, ClassSlots)>),
}

impl Rooms<'_> {
    fn get(&self, class: ClassId) -> Option<&ClassSlots> {
        match self {
            Self::All(slots) => slots.get(class),
            Self::Within(slots) => slots.iter().find(|(known, _)| *known == class).map(|(_, slots)| slots),
        }
    }

    /// Whether nobody who is inside may be outside too.
    fn is_closed(&self, domain: DomainId) -> bool {
        match self {
            Self::All(_) => false,
            Self::Within(slots) => slots.first().is_some_and(|(_, slots)| slots.is_closed(domain)),
        }
    }
}

impl ByDomain {
    /// With these settings.
    pub fn new(config: DomainPlacement) -> Self {
        Self { config, ..Self::default() }
    }

    fn request(&mut self, state: &ClusterState, plugins: &mut Plugins, job: JobId) -> Option<Request> {
        if !self.tree.is_current(state) {
            self.tree.refresh(state);
            self.slots.clear();
        }
        let entry = state.job(job)?;
        let mut tasks = Vec::new();
        let mut placed = Vec::new();
        for &id in entry.tasks() {
            let Some(task) = state.task(id) else { continue };
            match task.placement() {
                Some(placement) if task.status().is_placed() => placed.push(placement.node),
                None if task.status() == TaskStatus::Waiting => tasks.push((id, task.class)),
                _ => {}
            }
        }
        let mut classes: Vec<(ClassId, u64)> = Vec::new();
        for &(_, class) in &tasks {
            match classes.iter_mut().find(|(known, _)| *known == class) {
                Some((_, count)) => *count += 1,
                None => classes.push((class, 1)),
            }
        }
        classes.sort_by_key(|&(class, count)| {
            let spec = state.class_spec(class);
            Reverse((count * spec.gpus.total_milli(), count * spec.requests.cpu_milli))
        });
        for &(class, _) in &classes {
            self.slots.refresh(state, plugins, &self.tree, class);
        }
        let topology = entry.spec.gang.as_ref().and_then(|gang| gang.network_topology.as_ref());
        let limit = match Limit::new(state, topology.or(self.config.otherwise.as_ref())) {
            Limit::Unspoken => Limit::Wish,
            limit => limit,
        };
        Some(Request { tasks, classes, limit, allocated: self.tree.common_of(placed) })
    }

    /// Domains around what is placed already, smallest first; the largest allowed one if nothing is.
    fn scopes(&self, request: &Request, rooms: &Rooms<'_>) -> Vec<DomainId> {
        let Some(scope) = request.limit.scope(&self.tree, request.allocated) else { return Vec::new() };
        let mut scopes: Vec<_> = match request.allocated {
            Some(allocated) => self.tree.ancestors(allocated).collect(),
            None => [scope].into(),
        };
        let end = scopes.iter().position(|&domain| domain == scope).unwrap_or(0);
        let closed = scopes.iter().position(|&domain| request.allocated.is_some() && rooms.is_closed(domain));
        scopes.truncate(end.min(closed.unwrap_or(end)) + 1);
        scopes
    }

    /// The domains of one tier inside a scope that have room for every class, the least roomy first.
    fn candidates(
        &self,
        request: &Request,
        rooms: &Rooms<'_>,
        scope: DomainId,
        domains: &[DomainId],
    ) -> Vec<DomainId> {
        let room = |class, domain| rooms.get(class).map_or(0, |slots| slots.in_domain(domain));
        let mut candidates: Vec<_> = domains
            .iter()
            .copied()
            .filter(|&domain| request.classes.iter().all(|&(class, count)| room(class, domain) >= count))
            .filter(|&domain| self.tree.contains(scope, domain))
            .collect();
        if let Some(&(main, _)) = request.classes.first() {
            candidates.sort_by_key(|&domain| room(main, domain));
        }
        candidates.truncate(DOMAINS_TRIED);
        candidates
    }

    /// Places every task where it costs least, or none.
    fn place_whole(
        &self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        request: &Request,
    ) -> bool {
        let costs = self.config.costs.as_deref();
        let is_one = request.tasks.len() == 1 && request.allocated.is_none();
        let limits = costs.filter(|_| !is_one).map_or(&[][..], |costs| costs.limits(&self.tree));
        if costs.is_some() && !is_one && self.place_on_one(transaction, plugins, random, request) {
            return true;
        }
        let within = limits.iter().take(limits.len().saturating_sub(1)).any(|&limit| {
            let of = |&(class, _): &(ClassId, u64)| {
                Some((class, costs?.within(&self.tree, self.slots.get(class)?, limit)))
            };
            let rooms = Rooms::Within(request.classes.iter().filter_map(of).collect());
            self.place_in(transaction, plugins, random, request, &rooms)
        });
        within || self.place_in(transaction, plugins, random, request, &Rooms::All(&self.slots))
    }

    /// Places every task of a job whose tasks are alike on the one node with the least room for them, where it pays nothing, or none.
    fn place_on_one(
        &self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        request: &Request,
    ) -> bool {
        let (&[(class, count)], None) = (&*request.classes, request.allocated) else { return false };
        let scope = request.limit.scope(&self.tree, None);
        let (Some(scope), Some(slots)) = (scope, self.slots.get(class)) else { return false };
        let room = |node: NodeId| u64::from(slots.on_node(node));
        let mut nodes: Vec<NodeId> =
            self.tree.nodes(scope).iter().copied().filter(|&node| room(node) >= count).collect();
        nodes.sort_by_key(|&node| room(node));
        nodes.iter().take(DOMAINS_TRIED).any(|&node| {
            let before = transaction.savepoint();
            let mut cursor = Cursor { class, plan: [(node, count as u32)].into(), position: 0 };
            let is_placed =
                request.tasks.iter().all(|&(task, _)| cursor.place(transaction, plugins, random, task));
            if !is_placed {
                transaction.rollback_to(before);
            }
            is_placed
        })
    }

    /// Places every task in the smallest domain whose rooms hold them, or none.
    fn place_in(
        &self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        request: &Request,
        rooms: &Rooms<'_>,
    ) -> bool {
        let Some(highest) = request.limit.highest_tier(&self.tree) else { return false };
        for scope in self.scopes(request, rooms) {
            let tiers = self.tree.tiers().take_while(|&(tier, _)| tier <= highest.min(self.tree.tier(scope)));
            for (_, domains) in tiers {
                for domain in self.candidates(request, rooms, scope, domains) {
                    let before = transaction.savepoint();
                    if self.fill(transaction, plugins, random, request, rooms, domain) == request.tasks.len()
                    {
                        return true;
                    }
                    transaction.rollback_to(before);
                }
            }
        }
        false
    }

    /// Places tasks in order of rank in a domain until one finds no room; says how many.
    fn fill(
        &self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        request: &Request,
        rooms: &Rooms<'_>,
        domain: DomainId,
    ) -> usize {
        let Some(&(main, count)) = request.classes.first() else { return 0 };
        let Some(slots) = rooms.get(main) else { return 0 };
        let count = count.min(slots.in_domain(domain));
        let Some(plan) = divide(&self.tree, slots, domain, count, self.config.division) else { return 0 };
        let mut main = Cursor { class: main, plan, position: 0 };
        // Other classes go along the same nodes, then wherever in the domain there is room.
        let along: Vec<NodeId> = main.plan.iter().map(|&(node, _)| node).collect();
        let mut others: Vec<Cursor> = Vec::new();
        for (placed, &(task, class)) in request.tasks.iter().enumerate() {
            let cursor = if class == main.class {
                &mut main
            } else if let Some(known) = others.iter().position(|cursor| cursor.class == class) {
                &mut others[known]
            } else {
                let nodes = along.iter().chain(self.tree.nodes(domain));
                let plan = nodes.map(|&node| (node, u32::MAX)).collect();
                others.push(Cursor { class, plan, position: 0 });
                others.last_mut().expect("just pushed")
            };
            if !cursor.place(transaction, plugins, random, task) {
                return placed;
            }
        }
        request.tasks.len()
    }

    /// The allowed domain with the most room for the class that asks for the most, and that room.
    fn roomiest(&self, request: &Request) -> Option<(DomainId, u64)> {
        let highest = request.limit.highest_tier(&self.tree)?;
        let scope = request.limit.scope(&self.tree, request.allocated)?;
        let slots = self.slots.get(request.classes.first()?.0)?;
        let tiers = self.tree.tiers().take_while(|&(tier, _)| tier <= highest);
        let domains = tiers.flat_map(|(_, domains)| domains).copied();
        let inside = domains.filter(|&domain| self.tree.contains(scope, domain));
        inside
            .map(|domain| (domain, slots.in_domain(domain)))
            .min_by_key(|&(domain, room)| (Reverse(room), self.tree.tier(domain)))
    }
}

/// Where the next task of a class goes.
struct Cursor {
    class: ClassId,
    /// Nodes and how many more tasks each is to take.
    plan: Vec<(NodeId, u32)>,
    position: usize,
}

impl Cursor {
    fn place(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        task: TaskId,
    ) -> bool {
        while let Some((node, left)) = self.plan.get_mut(self.position) {
            if *left > 0 && place_on(transaction, plugins, random, (task, self.class), *node) {
                *left -= 1;
                return true;
            }
            self.position += 1;
        }
        false
    }
}

fn place_on(
    transaction: &mut Transaction<'_>,
    plugins: &mut Plugins,
    random: &mut dyn Rng,
    (task, class): (TaskId, ClassId),
    node: NodeId,
) -> bool {
    let state = transaction.state();
    if plugins.filter_node(state, state.class_spec(class), node).is_err() {
        return false;
    }
    let gpus = plugins.pick_gpus(state, class, node, random);
    transaction.place(task, node, gpus).is_ok()
}

impl PlaceJob for ByDomain {
    fn name(&self) -> &'static str {
        "ByDomain"
    }

    fn place(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
    ) -> bool {
        let Some(request) = self.request(transaction.state(), plugins, job) else { return false };
        if request.tasks.is_empty() || self.place_whole(transaction, plugins, random, &request) {
            return true;
        }
        // A job that can run without some of its tasks takes what the roomiest domain has.
        let needs_all = transaction
            .state()
            .job(job)
            .is_none_or(|job| job.placed() + request.tasks.len() as u32 <= job.spec.min_member);
        if !needs_all && let Some((domain, _)) = self.roomiest(&request) {
            self.fill(transaction, plugins, random, &request, &Rooms::All(&self.slots), domain);
        }
        false
    }

    fn explain(
        &mut self,
        transaction: &mut Transaction<'_>,
        plugins: &mut Plugins,
        random: &mut dyn Rng,
        job: JobId,
    ) -> Reason {
        let Some(request) = self.request(transaction.state(), plugins, job) else { return Reason::NotTried };
        let Some(&(main, tasks)) = request.classes.first() else { return Reason::NotTried };
        if self.place_whole(transaction, plugins, random, &request) {
            return Reason::NotTried;
        }
        let state = transaction.state();
        let cluster_room = self.slots.get(main).map_or(0, |slots| slots.in_domain(self.tree.top()));
        if cluster_room >= tasks
            && let Some(tier) = demanded_tier(&request, &self.tree)
        {
            let roomiest = self.roomiest(&request);
            return Reason::NoDomain {
                tasks: tasks as u32,
                gpus: state.class_spec(main).gpus.count,
                tier,
                roomiest: roomiest.map(|(domain, _)| domain_name(state, domain).into()),
                room: roomiest.map_or(0, |(_, room)| room),
                cluster_room,
            };
        }
        // Too little room anywhere: the reason is the one that placing task by task would give.
        let min_member = state.job(job).map_or(0, |job| job.spec.min_member);
        for &(task, class) in &request.tasks {
            match plugins.place(transaction, task, random) {
                Ok(_) => {}
                Err(PlaceFailure::Illegal(error)) => return Reason::Illegal(error),
                Err(PlaceFailure::NoNode) => {
                    let placed = transaction.state().job(job).map_or(0, foretell_framework::Job::placed);
                    let rejections = plugins.rejections(transaction.state(), class);
                    return Reason::NoNode { placed, min_member, rejections };
                }
            }
        }
        Reason::NotTried
    }
}

/// The tier that a job demands, `None` if it demands none.
fn demanded_tier(request: &Request, tree: &DomainTree) -> Option<u32> {
    match request.limit {
        Limit::Tier(tier) => Some(tier.min(tree.tier(tree.top()))),
        Limit::UnknownTier => Some(0),
        Limit::Unspoken | Limit::Wish => None,
    }
}

fn domain_name(state: &ClusterState, domain: DomainId) -> &str {
    state.domains().get(domain.index()).map_or("the whole cluster", |domain| &domain.name)
}
