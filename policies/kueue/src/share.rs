//! Fair shares: how much a node borrows, relative to what there is to borrow and to its weight.

use alloc::vec;
use core::cmp::Ordering;

use crate::ids::{NodeId, ResourceId};
use crate::tree::{Amounts, Tree};

/// The dominant resource share of a queue or cohort: of the resources that it borrows, the largest part that it has of
/// what its parent could lend, in thousandths and per weight.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Share {
    /// Its weight.
    pub weight: f64,
    /// Thousandths of the dominant resource, regardless of weight.
    pub ratio: f64,
    /// The dominant resource; none where nothing can be lent of what it borrows.
    pub resource: Option<ResourceId>,
    /// Whether it borrows anything.
    pub borrowing: bool,
}

impl Share {
    /// The share of a node, if `added` were used on top.
    pub fn of(tree: &Tree, node: NodeId, added: &Amounts) -> Self {
        let mut share = Self { weight: tree.weight(node), ratio: 0.0, resource: None, borrowing: false };
        let Some(parent) = tree.parent(node) else { return share };
        let mut borrowed = vec![0_i64; tree.resource_count()];
        for cell in tree.declared(node) {
            let added = added.get(&cell).copied().unwrap_or(0);
            let used = tree.usage(node, cell).saturating_add(added);
            let over = used.saturating_sub(tree.subtree_quota(node, cell));
            if over > 0 {
                let sum = &mut borrowed[tree.resource(cell).index()];
                *sum = sum.saturating_add(over);
            }
        }
        share.borrowing = borrowed.iter().any(|&amount| amount > 0);
        if !share.borrowing {
            return share;
        }
        let mut lendable = vec![0_i64; tree.resource_count()];
        for cell in tree.declared(tree.root(parent)) {
            let sum = &mut lendable[tree.resource(cell).index()];
            *sum = sum.saturating_add(tree.potentially_available(parent, cell));
        }
        for (index, (&borrowed, &lendable)) in borrowed.iter().zip(&lendable).enumerate() {
            if borrowed <= 0 || lendable <= 0 {
                continue;
            }
            let ratio = borrowed as f64 * 1000.0 / lendable as f64;
            if share.resource.is_none() || ratio > share.ratio {
                share.ratio = ratio;
                share.resource = Some(ResourceId::new(index));
            }
        }
        share
    }

    /// The share as it stands.
    pub fn current(tree: &Tree, node: NodeId) -> Self {
        Self::of(tree, node, &Amounts::new())
    }

    /// Whether it is beyond all bounds: it borrows although its weight is nothing.
    pub fn is_infinite(&self) -> bool {
        self.weight == 0.0 && self.ratio > 0.0
    }

    /// Thousandths per weight.
    pub fn value(&self) -> f64 {
        if self.ratio == 0.0 {
            0.0
        } else if self.weight == 0.0 {
            f64::INFINITY
        } else {
            self.ratio / self.weight
        }
    }

    /// Thousandths per weight as Kueue reports them: rounded up, the largest number if infinite.
    pub fn rounded(&self) -> i64 {
        if self.is_infinite() { i64::MAX } else { libm::ceil(self.value()) as i64 }
    }

    /// Which of two shares is larger. Infinite ones compare regardless of weight.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self.is_infinite(), other.is_infinite()) {
            (true, true) => self.ratio.total_cmp(&other.ratio),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.value().total_cmp(&other.value()),
        }
    }
}
