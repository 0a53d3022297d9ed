//! From shares and use to a factor between 0 and 1.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::config::{Account, User};

/// How shares become a factor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fairness {
    /// By the order of users in the tree of accounts, each level sorted by share over use (`FAIR_TREE`, the default).
    #[default]
    Tree,
    /// Two to the minus effective use over share (`NO_FAIR_TREE`).
    Classic,
}

/// An account and a user in it.
pub(crate) type Association = (Box<str>, Box<str>);

struct Node {
    shares: f64,
    usage: f64,
    children: Vec<usize>,
    user: Option<Association>,
}

/// The factor of every user with a share or with use. Who has neither is as one with a share of 1 who used nothing, and
/// is added by the caller with a use of zero.
pub fn fair_share(
    fairness: Fairness,
    accounts: &[Account],
    users: &[User],
    usage: &BTreeMap<(Box<str>, Box<str>), f64>,
) -> BTreeMap<(Box<str>, Box<str>), f64> {
    let nodes = tree(accounts, users, usage);
    let mut factors = BTreeMap::new();
    match fairness {
        Fairness::Tree => {
            let count = nodes.iter().filter(|node| node.user.is_some()).count();
            let mut rank = Rank { left: count, count: count as f64, factors: &mut factors };
            rank.visit(&nodes, vec![0]);
        }
        Fairness::Classic => {
            let total = nodes[0].usage;
            classic(&nodes, 0, 1.0, if total > 0.0 { 1.0 } else { 0.0 }, total, &mut factors);
        }
    }
    factors
}

/// The tree from the root, which is first.
fn tree(accounts: &[Account], users: &[User], usage: &BTreeMap<Association, f64>) -> Vec<Node> {
    let node = |shares: u32, user| Node { shares: f64::from(shares), usage: 0.0, children: Vec::new(), user };
    let mut nodes = vec![node(1, None)];
    let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
    for account in accounts {
        positions.insert(&account.name, nodes.len());
        nodes.push(node(account.shares, None));
    }
    let unlisted: Vec<&Association> = usage
        .keys()
        .filter(|(account, user)| !users.iter().any(|known| known.name == *user && known.account == *account))
        .collect();
    let listed = users.iter().map(|user| (&user.account, &user.name, user.shares));
    let unlisted = unlisted.into_iter().map(|(account, user)| (account, user, 1));
    for (account, user, shares) in listed.chain(unlisted) {
        let association = (account.clone(), user.clone());
        let used = usage.get(&association).copied().unwrap_or(0.0);
        let parent = positions.get(&**account).copied().unwrap_or(0);
        let position = nodes.len();
        nodes.push(Node { usage: used, ..node(shares, Some(association)) });
        nodes[parent].children.push(position);
    }
    for (index, account) in accounts.iter().enumerate() {
        let parent =
            account.parent.as_ref().and_then(|parent| positions.get(&**parent)).copied().unwrap_or(0);
        // An account is never its own ancestor: the parser sees to it that parents come first.
        if parent <= index {
            nodes[parent].children.push(index + 1);
        } else {
            nodes[0].children.push(index + 1);
        }
    }
    sum_usage(&mut nodes, 0);
    nodes
}

fn sum_usage(nodes: &mut [Node], node: usize) -> f64 {
    for child in nodes[node].children.clone() {
        let used = sum_usage(nodes, child);
        nodes[node].usage += used;
    }
    nodes[node].usage
}

/// The ranks of fair tree: the users of the sibling with the largest share over use come first.
struct Rank<'a> {
    /// Users that have no rank yet.
    left: usize,
    count: f64,
    factors: &'a mut BTreeMap<Association, f64>,
}

impl Rank<'_> {
    /// Gives ranks to what is below some accounts; several that are equal are taken as one.
    fn visit(&mut self, nodes: &[Node], parents: Vec<usize>) {
        let mut levels: Vec<(f64, usize)> = Vec::new();
        for parent in parents {
            let children = &nodes[parent].children;
            let shares: f64 = children.iter().map(|&child| nodes[child].shares).sum();
            let usage: f64 = children.iter().map(|&child| nodes[child].usage).sum();
            levels.extend(children.iter().map(|&child| {
                let Node { shares: own, usage: used, .. } = nodes[child];
                let level = if own <= 0.0 {
                    0.0
                } else if used <= 0.0 {
                    f64::INFINITY
                } else {
                    own / shares / (used / usage)
                };
                (level, child)
            }));
        }
        // Users before accounts where they are equal, so that no account's users fall between equal users.
        levels.sort_by(|&(level, node), &(other, other_node)| {
            other.total_cmp(&level).then_with(|| {
                let is_account = |node: usize| nodes[node].user.is_none();
                is_account(node).cmp(&is_account(other_node)).then(node.cmp(&other_node))
            })
        });
        let mut rest = levels.as_slice();
        while let Some(&(level, _)) = rest.first() {
            let alike =
                rest.iter().take_while(|(other, _)| other.total_cmp(&level) == Ordering::Equal).count();
            let (group, after) = rest.split_at(alike);
            let rank = self.left;
            for user in group.iter().filter_map(|&(_, node)| nodes[node].user.as_ref()) {
                self.factors.insert(user.clone(), rank as f64 / self.count);
                self.left -= 1;
            }
            let accounts: Vec<usize> =
                group.iter().map(|&(_, node)| node).filter(|&node| nodes[node].user.is_none()).collect();
            if !accounts.is_empty() {
                self.visit(nodes, accounts);
            }
            rest = after;
        }
    }
}

/// The classic factor of all users below a node of this normalised share and effective use.
fn classic(
    nodes: &[Node],
    node: usize,
    share: f64,
    effective: f64,
    total: f64,
    factors: &mut BTreeMap<Association, f64>,
) {
    let children = &nodes[node].children;
    let shares: f64 = children.iter().map(|&child| nodes[child].shares).sum();
    for &child in children {
        let Node { shares: own, usage, user, .. } = &nodes[child];
        let part = if shares > 0.0 { own / shares } else { 0.0 };
        let used = if total > 0.0 { usage / total } else { 0.0 };
        let effective = if node == 0 { used } else { used + (effective - used) * part };
        let share = share * part;
        match user {
            Some(association) => {
                let factor = if share > 0.0 { libm::pow(2.0, -effective / share) } else { 0.0 };
                factors.insert(association.clone(), factor);
            }
            None => classic(nodes, child, share, effective, total, factors),
        }
    }
}
