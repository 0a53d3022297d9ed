//! Which nodes of a domain the tasks of a job go to.

use alloc::vec::Vec;

use foretell_framework::{DomainId, DomainTree, NodeId};

use crate::slots::ClassSlots;

/// How the tasks of a job are divided over the parts of a domain when one part does not hold them all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Division {
    /// Over as few parts as can be: the roomiest are filled, and the last is the tightest that holds the rest.
    #[default]
    BestFit,
    /// Over as few parts as can be, to each the same number as far as there is room.
    Balanced,
}

/// A part of a domain: a smaller domain, or a node of its own.
#[derive(Clone, Copy)]
enum Part {
    Domain(DomainId),
    Node(NodeId),
}

/// Numbers of tasks per node, in the order of the tree, so that tasks handed out in order of rank fill it domain by
/// domain and node by node. `None` if the domain does not hold them.
pub fn divide(
    tree: &DomainTree,
    slots: &ClassSlots,
    domain: DomainId,
    tasks: u64,
    division: Division,
) -> Option<Vec<(NodeId, u32)>> {
    if slots.in_domain(domain) < tasks {
        return None;
    }
    let mut plan = Vec::new();
    divide_into(tree, slots, domain, tasks, division, &mut plan);
    Some(plan)
}

fn divide_into(
    tree: &DomainTree,
    slots: &ClassSlots,
    domain: DomainId,
    tasks: u64,
    division: Division,
    plan: &mut Vec<(NodeId, u32)>,
) {
    let own = tree.own_nodes(domain).iter().map(|&node| (Part::Node(node), u64::from(slots.on_node(node))));
    let smaller = tree.children(domain).iter().map(|&child| (Part::Domain(child), slots.for_outside(child)));
    let parts: Vec<_> = own.chain(smaller).filter(|&(_, room)| room > 0).collect();
    let rooms: Vec<u64> = parts.iter().map(|&(_, room)| room).collect();
    for (&(part, _), amount) in parts.iter().zip(shares(&rooms, tasks, division)) {
        match part {
            _ if amount == 0 => {}
            Part::Node(node) => plan.push((node, amount as u32)),
            Part::Domain(child) => divide_into(tree, slots, child, amount, division, plan),
        }
    }
}

/// What each part gets, in their order. The rooms hold the tasks.
fn shares(rooms: &[u64], tasks: u64, division: Division) -> Vec<u64> {
    let mut shares = alloc::vec![0; rooms.len()];
    // Roomiest first, the first of the domain among equals.
    let mut order: Vec<usize> = (0..rooms.len()).collect();
    order.sort_by_key(|&part| core::cmp::Reverse(rooms[part]));
    let mut left = tasks;
    match division {
        Division::BestFit => {
            for (position, &part) in order.iter().enumerate() {
                if rooms[part] < left {
                    shares[part] = rooms[part];
                    left -= rooms[part];
                    continue;
                }
                let rest = &order[position..];
                let tightest = rest.iter().copied().filter(|&part| rooms[part] >= left);
                if let Some(last) = tightest.min_by_key(|&part| rooms[part]) {
                    shares[last] = left;
                }
                break;
            }
        }
        Division::Balanced => {
            let mut room = 0;
            let fewest = order.iter().take_while(|&&part| {
                let more = room < tasks;
                room += rooms[part];
                more
            });
            let count = fewest.count();
            // The smallest decides first: what it cannot take, the others share. Each of them has at least its room, so
            // rounding up never leaves more than they hold.
            for (position, &part) in order[..count].iter().enumerate().rev() {
                shares[part] = left.div_ceil(position as u64 + 1).min(rooms[part]);
                left -= shares[part];
            }
        }
    }
    shares
}
