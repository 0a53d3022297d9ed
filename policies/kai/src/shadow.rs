//! What would become of a node if victims left it, reckoned beforehand: most trials cannot succeed, and need not be made.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use foretell_framework::ClassId;

use crate::config::Strategy;
use crate::lanes::Alike;
use crate::model::Model;
use crate::node::{ACTIVE, Node, PIPELINED, RELEASING, account_on};

/// No less than how many tasks of a class fit on each node, before anybody was told to stop.
pub(crate) struct Rooms {
    pub(crate) alike: Alike,
    by_node: Vec<i64>,
    total: i64,
    /// Nodes with any.
    open: Vec<usize>,
}

impl Rooms {
    pub(crate) fn new(model: &Model, alike: Alike) -> Self {
        let nodes = 0..model.nodes.len();
        let by_node: Vec<i64> = nodes.map(|node| model.room(&alike, node)).collect();
        let total = by_node.iter().fold(0_i64, |sum, &room| sum.saturating_add(room));
        let open = (0..by_node.len()).filter(|&node| by_node[node] > 0).collect();
        Self { alike, by_node, total, open }
    }

    /// The same once a node has changed.
    fn with(&self, node: usize, room: i64) -> i64 {
        self.total.saturating_sub(self.by_node[node]).saturating_add(room)
    }

    /// Whether there could be room now that some tasks have been told to stop.
    pub(crate) fn could_hold_without(&self, model: &Model, victims: &[usize]) -> bool {
        let mut nodes: Vec<usize> = victims.iter().filter_map(|&task| model.tasks[task].place.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let gained = |node: usize| model.room(&self.alike, node).saturating_sub(self.by_node[node]);
        let sum = nodes.into_iter().fold(self.total, |sum, node| sum.saturating_add(gained(node)));
        sum >= self.alike.count
    }
}

/// A node without its victims.
struct Shadow {
    node: Node,
    /// Victims that must find another place, by class.
    moving: Vec<(ClassId, i64)>,
    /// Whether nobody leaves other nodes with them.
    is_alone: bool,
}

/// Nodes as they would be if the victims chosen so far left them.
pub(crate) struct Shadows<'a> {
    /// A task of those for whom room is made, which are alike.
    task: usize,
    claim: &'a Rooms,
    gpu_sharing: Strategy,
    nodes: BTreeMap<usize, Shadow>,
    rooms: BTreeMap<ClassId, Rooms>,
}

impl<'a> Shadows<'a> {
    pub(crate) const fn new(task: usize, claim: &'a Rooms, gpu_sharing: Strategy) -> Self {
        Self { task, claim, gpu_sharing, nodes: BTreeMap::new(), rooms: BTreeMap::new() }
    }

    /// Counts victims that leave together. `must_move` says that they must find another place.
    pub(crate) fn add(&mut self, model: &Model, victims: &[usize], must_move: bool) {
        let first = victims.first().and_then(|&task| model.tasks[task].place.node);
        let is_alone = victims.iter().all(|&task| model.tasks[task].place.node == first);
        for &victim in victims {
            let task = &model.tasks[victim];
            let Some(node) = task.place.node else { continue };
            let shadow = self.nodes.entry(node).or_insert_with(|| Shadow {
                node: model.nodes[node].clone(),
                moving: Vec::new(),
                is_alone: true,
            });
            shadow.is_alone &= is_alone;
            account_on(&mut shadow.node, task, &task.place.groups, ACTIVE, -1);
            account_on(&mut shadow.node, task, &task.place.groups, RELEASING, 1);
            if must_move {
                let rooms = || Rooms::new(model, Alike::one(task));
                self.rooms.entry(task.class).or_insert_with(rooms);
                if let Some((_, count)) = shadow.moving.iter_mut().find(|(class, _)| *class == task.class) {
                    *count += 1;
                } else {
                    shadow.moving.push((task.class, 1));
                }
            }
        }
    }

    /// Nodes that could take tasks of a job in a trial without the victims on a node: the others had no room before.
    pub(crate) fn nodes_for(&self, model: &Model, tasks: &[usize], node: usize) -> Option<Vec<usize>> {
        let first = &model.tasks[*tasks.first()?];
        let entry = &model.jobs[first.job];
        let is_bound = entry.pod_sets.iter().any(|set| set.levels.is_some())
            || entry.group_sets.iter().any(|set| set.levels.is_some());
        let are_alike = tasks.iter().all(|&task| model.tasks[task].class == first.class);
        if is_bound || !are_alike || !self.nodes.get(&node).is_some_and(|shadow| shadow.is_alone) {
            return None;
        }
        let claims = first.class == model.tasks[self.task].class;
        let rooms = if claims { self.claim } else { self.rooms.get(&first.class)? };
        let others = rooms.open.iter().copied().filter(|&other| other != node);
        Some(others.chain([node]).collect())
    }

    /// Whether a trial without the victims on a node must fail: there is no room, or those who must move have none.
    pub(crate) fn is_hopeless(&mut self, model: &Model, node: usize) -> bool {
        let Some(shadow) = self.nodes.get_mut(&node).filter(|shadow| shadow.is_alone) else { return false };
        let claim = self.claim;
        let room = |shadow: &Node, alike: &Alike| model.room_on(shadow, alike, node);
        if claim.with(node, room(&shadow.node, &claim.alike)) < claim.alike.count {
            return true;
        }
        if claim.alike.count != 1 || claim.total > 0 {
            return false;
        }
        // The task goes here and nowhere else.
        let task = &model.tasks[self.task];
        let devices = shadow.node.devices_for(task, self.gpu_sharing).unwrap_or_default();
        let untouched = (0..).map(|index| u32::MAX - index);
        let groups: Vec<u32> =
            devices.into_iter().zip(untouched).map(|(name, new)| name.unwrap_or(new)).collect();
        account_on(&mut shadow.node, task, &groups, PIPELINED, 1);
        let lacks_room = shadow.moving.iter().any(|(class, count)| {
            self.rooms
                .get(class)
                .is_some_and(|rooms| rooms.with(node, room(&shadow.node, &rooms.alike)) < *count)
        });
        account_on(&mut shadow.node, task, &groups, PIPELINED, -1);
        lacks_room
    }
}
