//! How many more tasks of a class each node and each domain would hold.

use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::{ClassId, ClusterState, DomainId, DomainTree, NodeId, Plugins, Stamp, TaskSpec};

/// Rooms of all classes that were asked for, repaired where nodes changed.
#[derive(Default)]
pub struct Slots {
    classes: Vec<Option<ClassSlots>>,
}

/// How many more tasks of one class each node and each domain would hold.
#[derive(Clone, Default)]
pub struct ClassSlots {
    seen: Stamp,
    nodes: Vec<u32>,
    domains: Vec<u64>,
    /// By domain, whether nobody who is inside may be outside too. Empty if there are none.
    closed: Vec<bool>,
}

impl Slots {
    /// Forgets everything: the tree has changed.
    pub fn clear(&mut self) {
        self.classes.clear();
    }

    /// The rooms for a class, brought up to date. What the filters of the plugins reject has none.
    pub fn refresh(
        &mut self,
        state: &ClusterState,
        plugins: &mut Plugins,
        tree: &DomainTree,
        class: ClassId,
    ) -> &ClassSlots {
        if self.classes.len() <= class.index() {
            self.classes.resize(class.index() + 1, None);
        }
        let slots = self.classes[class.index()].get_or_insert_default();
        let ranking = plugins.ranking(state, class);
        let spec = state.class_spec(class);
        let room = |node: NodeId| ranking.score(node).map_or(0, |_| room_on_node(state, spec, node));
        if slots.nodes.len() != state.nodes().len() || slots.seen < state.node_specs_changed() {
            *slots = ClassSlots { domains: vec![0; tree.len()], ..ClassSlots::default() };
            slots.nodes.extend(state.node_ids().map(room));
            for (index, &room) in slots.nodes.iter().enumerate() {
                slots.domains[tree.leaf(NodeId::new(index)).index()] += u64::from(room);
            }
            for domain in tree.children_first() {
                if let Some(parent) = tree.parent(domain) {
                    slots.domains[parent.index()] += slots.domains[domain.index()];
                }
            }
        } else {
            for node in state.changed_since(slots.seen) {
                let room = room(node);
                let before = core::mem::replace(&mut slots.nodes[node.index()], room);
                if before != room {
                    for domain in tree.ancestors(tree.leaf(node)) {
                        let total = &mut slots.domains[domain.index()];
                        *total = *total + u64::from(room) - u64::from(before);
                    }
                }
            }
        }
        slots.seen = state.stamp();
        slots
    }

    /// The rooms for a class as they were when last refreshed.
    pub fn get(&self, class: ClassId) -> Option<&ClassSlots> {
        self.classes.get(class.index())?.as_ref()
    }
}

impl ClassSlots {
    /// Rooms as given, one per node, for tests and for callers that count otherwise.
    pub fn from_nodes(tree: &DomainTree, nodes: Vec<u32>) -> Self {
        Self::from_parts(tree, nodes, Vec::new())
    }

    /// The same, where nobody may be inside of closed domains and outside too.
    pub(crate) fn from_parts(tree: &DomainTree, nodes: Vec<u32>, closed: Vec<bool>) -> Self {
        let mut slots = Self { seen: Stamp::ZERO, nodes, domains: vec![0; tree.len()], closed };
        for (index, &room) in slots.nodes.iter().enumerate() {
            slots.domains[tree.leaf(NodeId::new(index)).index()] += u64::from(room);
        }
        for domain in tree.children_first() {
            if let Some(parent) = tree.parent(domain) {
                slots.domains[parent.index()] += slots.for_outside(domain);
            }
        }
        slots
    }

    /// Tasks that a node would hold.
    pub fn on_node(&self, node: NodeId) -> u32 {
        self.nodes[node.index()]
    }

    /// Tasks that a domain would hold of a job that has others outside of it.
    pub(crate) fn for_outside(&self, domain: DomainId) -> u64 {
        if self.is_closed(domain) { 0 } else { self.in_domain(domain) }
    }

    /// Whether nobody who is inside may be outside too.
    pub(crate) fn is_closed(&self, domain: DomainId) -> bool {
        self.closed.get(domain.index()).copied().unwrap_or(false)
    }

    /// Tasks that the nodes of a domain would hold.
    pub fn in_domain(&self, domain: DomainId) -> u64 {
        self.domains[domain.index()]
    }
}

/// Tasks of this spec that fit on a node now, by what is free.
fn room_on_node(state: &ClusterState, task: &TaskSpec, node: NodeId) -> u32 {
    let entry = state.node(node);
    let slots = u64::from(entry.spec.max_tasks).saturating_sub(entry.tasks().len() as u64);
    // Two tasks that want one port, or keep away from their kind, do not share a node.
    let alone = !task.host_ports.is_empty() || !task.pod_affinity.anti_required.is_empty();
    let slots = if alone { slots.min(1) } else { slots };
    let fits = |free: u64, amount: u64| free.checked_div(amount).unwrap_or(u64::MAX);
    let extended =
        task.requests.all_extended().map(|(resource, amount)| fits(entry.extended_free(resource), amount));
    [
        fits(entry.cpu_free_milli(), task.requests.cpu_milli),
        fits(entry.memory_free_bytes(), task.requests.memory_bytes),
    ]
    .into_iter()
    .chain(extended)
    .chain([gpu_room(state.gpu_free_milli(node), task)])
    .fold(slots, u64::min) as u32
}

/// Tasks that the devices of a node hold. `n` tasks that take `count` different devices each fit exactly if the
/// devices, each counted for at most `n` shares, hold `n * count` shares.
fn gpu_room(free_milli: &[u32], task: &TaskSpec) -> u64 {
    let request = task.gpus;
    if request.count == 0 {
        return u64::MAX;
    }
    let shares = |free: u32| u64::from(free.checked_div(request.milli).unwrap_or(0));
    let count = u64::from(request.count);
    let mut tasks = free_milli.iter().map(|&free| shares(free)).sum::<u64>() / count;
    while free_milli.iter().map(|&free| shares(free).min(tasks)).sum::<u64>() < tasks * count {
        tasks -= 1;
    }
    tasks
}
