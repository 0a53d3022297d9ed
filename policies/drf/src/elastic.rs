//! Elastic quotas of namespaces (scheduler-plugins' `CapacityScheduling`): each has a minimum for itself and may borrow,
//! up to its maximum, what others leave of theirs; who lent takes it back.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::{ClusterState, Dimension, Quota, Reason, ResourceId, TaskId, TaskSpec};

/// The resource that counts like CPU and memory: a bound that is given without it allows none.
const SCRATCH: &str = "ephemeral-storage";

/// Amounts by [`Dimension::index`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Amounts(Vec<u64>);

impl Amounts {
    /// None of any resource.
    pub fn none(state: &ClusterState) -> Self {
        Self(vec![0; Dimension::count(state)])
    }

    /// What a quota names.
    pub fn of_quota(state: &ClusterState, quota: &Quota) -> Self {
        Self::of(state, quota.named())
    }

    /// What a task requests.
    pub fn of_task(state: &ClusterState, task: &TaskSpec) -> Self {
        Self::of(state, task.requested())
    }

    fn of(state: &ClusterState, named: impl Iterator<Item = (Dimension, u64)>) -> Self {
        let mut amounts = Self::none(state);
        named.for_each(|(dimension, amount)| amounts.0[dimension.index()] = amount);
        amounts
    }

    fn get(&self, dimension: usize) -> u64 {
        self.0.get(dimension).copied().unwrap_or(0)
    }

    /// Adds amounts.
    pub fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(amount, other)| *amount = amount.saturating_add(*other));
    }

    /// Takes amounts away.
    pub fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(amount, other)| *amount = amount.saturating_sub(*other));
    }
}

/// A quota and what is used of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ElasticUse {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    min: Bound,
    max: Bound,
    /// What its tasks hold.
    pub used: Amounts,
}

/// A bound on several resources.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Bound {
    /// `None` in a dimension that is not named.
    amounts: Vec<Option<u64>>,
    /// What a dimension that is not named allows: the scalar resources, and all if nothing is named.
    otherwise: u64,
    named: bool,
}

impl Bound {
    fn new(state: &ClusterState, quota: &Quota, otherwise: u64) -> Self {
        let mut amounts = vec![None; Dimension::count(state)];
        quota.named().for_each(|(dimension, amount)| amounts[dimension.index()] = Some(amount));
        Self { amounts, otherwise, named: !quota.is_open() }
    }

    fn allows(&self, dimension: usize, is_basic: bool) -> u64 {
        let otherwise = if is_basic && self.named { 0 } else { self.otherwise };
        self.amounts.get(dimension).copied().flatten().unwrap_or(otherwise)
    }
}

/// All elastic quotas at a time. Comparisons follow the plugin: CPU, memory and scratch space always count; of GPUs and other
/// resources only what is requested does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ElasticQuotas {
    quotas: Vec<ElasticUse>,
    scratch: Option<usize>,
    dimensions: usize,
}

/// A comparison that went over a bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Excess {
    /// The resource, by [`Dimension::index`].
    pub dimension: usize,
    /// What is used.
    pub used: u64,
    /// What is asked for beside it.
    pub asked: u64,
    /// The bound.
    pub bound: u64,
}

impl ElasticQuotas {
    /// The quotas of a state, with what the tasks that hold a node use of them.
    pub fn new(state: &ClusterState) -> Self {
        let mut quotas = Self::unused(state);
        for (_, task) in state.tasks() {
            if task.placement().is_some() {
                let spec = state.class_spec(task.class);
                quotas.add(state, spec);
            }
        }
        quotas
    }

    /// The quotas of a state, with nothing used.
    pub fn unused(state: &ClusterState) -> Self {
        let quotas = &state.objects().elastic_quotas;
        let built = quotas.iter().map(|quota| ElasticUse {
            namespace: quota.namespace.clone(),
            name: quota.name.clone(),
            min: Bound::new(state, &quota.min, 0),
            max: Bound::new(state, &quota.max, u64::MAX),
            used: Amounts::none(state),
        });
        let scratch = state.resource_names().iter().position(|name| **name == *SCRATCH);
        Self {
            quotas: built.collect(),
            scratch: scratch.map(|index| Dimension::Extended(ResourceId::new(index)).index()),
            dimensions: Dimension::count(state),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.quotas.is_empty()
    }

    /// The quota of a namespace; of several the one that was added last.
    pub fn of(&self, namespace: &str) -> Option<&ElasticUse> {
        self.quotas.iter().rev().find(|quota| *quota.namespace == *namespace)
    }

    /// The same, to change what is used.
    pub fn of_mut(&mut self, namespace: &str) -> Option<&mut ElasticUse> {
        self.quotas.iter_mut().rev().find(|quota| *quota.namespace == *namespace)
    }

    /// Counts a task.
    pub fn add(&mut self, state: &ClusterState, task: &TaskSpec) {
        if let Some(quota) = self.of_mut(&task.namespace) {
            quota.used.add(&Amounts::of_task(state, task));
        }
    }

    /// No longer counts a task.
    pub fn remove(&mut self, state: &ClusterState, task: &TaskSpec) {
        if let Some(quota) = self.of_mut(&task.namespace) {
            quota.used.subtract(&Amounts::of_task(state, task));
        }
    }

    /// The first dimension in which `asked` beside `used` goes over a bound.
    fn over(&self, asked: &Amounts, used: &Amounts, bound: impl Fn(usize, bool) -> u64) -> Option<Excess> {
        let is_basic = |dimension: usize| {
            dimension == Dimension::Cpu.index()
                || dimension == Dimension::Memory.index()
                || self.scratch == Some(dimension)
        };
        (0..self.dimensions).find_map(|dimension| {
            let basic = is_basic(dimension);
            let (used, asked) = (used.get(dimension), asked.get(dimension));
            let bound = bound(dimension, basic);
            let over = (basic || asked > 0) && used.saturating_add(asked) > bound;
            over.then_some(Excess { dimension, used, asked, bound })
        })
    }

    /// Whether a quota would be over its minimum with a request.
    pub fn over_min_with(&self, quota: &ElasticUse, asked: &Amounts) -> bool {
        !quota.min.named
            || self.over(asked, &quota.used, |dimension, basic| quota.min.allows(dimension, basic)).is_some()
    }

    /// Whether a quota is over its minimum.
    pub fn over_min(&self, quota: &ElasticUse) -> bool {
        !quota.min.named
            || self
                .over(&quota.used, &Amounts::default(), |dimension, basic| quota.min.allows(dimension, basic))
                .is_some()
    }

    /// How a quota would be over its maximum with a request.
    pub fn over_max_with(&self, quota: &ElasticUse, asked: &Amounts) -> Option<Excess> {
        quota
            .max
            .named
            .then(|| self.over(asked, &quota.used, |dimension, basic| quota.max.allows(dimension, basic)))
            .flatten()
    }

    /// How all quotas together would be over the sum of their minima with a request.
    pub fn over_sum_of_min_with(&self, asked: &Amounts) -> Option<Excess> {
        let mut sum = asked.clone();
        self.quotas.iter().for_each(|quota| sum.add(&quota.used));
        let min = |dimension: usize, basic: bool| {
            let mins = self.quotas.iter().map(|quota| quota.min.allows(dimension, basic));
            mins.fold(0_u64, u64::saturating_add)
        };
        let excess = self.over(&sum, &Amounts::default(), min)?;
        let asked = asked.get(excess.dimension);
        Some(Excess { used: excess.asked - asked, asked, ..excess })
    }

    /// What the tasks that are nominated somewhere will hold, with the request of a task: under the task's own quota those
    /// that are at least as important; under all quotas those, and of other namespaces those within their minimum.
    pub fn with_nominated(&self, state: &ClusterState, task: TaskId) -> (Amounts, Amounts) {
        let mut own = Amounts::none(state);
        let Some(entry) = state.task(task) else { return (own.clone(), own) };
        let spec = state.class_spec(entry.class);
        own.add(&Amounts::of_task(state, spec));
        let mut all = own.clone();
        if state.nominations() == 0 {
            return (own, all);
        }
        for node in state.nodes() {
            for &other in node.nominated().iter().filter(|&&other| other != task) {
                let Some(other) = state.task(other) else { continue };
                let other_spec = state.class_spec(other.class);
                let Some(quota) = self.of(&other_spec.namespace) else { continue };
                let amounts = Amounts::of_task(state, other_spec);
                if other_spec.namespace == spec.namespace {
                    if other.details.priority >= entry.details.priority {
                        own.add(&amounts);
                        all.add(&amounts);
                    }
                } else if !self.over_min(quota) {
                    all.add(&amounts);
                }
            }
        }
        (own, all)
    }

    /// Whether a task may be placed: within the maximum of its quota, and all quotas within the sum of their minima. Tasks of
    /// namespaces without a quota always may.
    pub fn admit(&self, state: &ClusterState, task: TaskId) -> Result<(), Reason> {
        let Some(spec) = state.task_spec(task) else { return Ok(()) };
        let Some(quota) = self.of(&spec.namespace) else { return Ok(()) };
        let (own, all) = self.with_nominated(state, task);
        let name = |dimension: usize| resource_name(state, dimension);
        if let Some(Excess { dimension, used, asked, bound }) = self.over_max_with(quota, &own) {
            let (quota, resource) = (quota.name.clone(), name(dimension));
            return Err(Reason::OverQuota { quota, resource, used, asked, hard: bound });
        }
        if let Some(Excess { dimension, used, asked, bound }) = self.over_sum_of_min_with(&all) {
            let resource = name(dimension);
            return Err(Reason::NothingToBorrow { resource, used, asked, guaranteed: bound });
        }
        Ok(())
    }
}

/// The name of a resource, with its base unit where it is not pieces.
fn resource_name(state: &ClusterState, dimension: usize) -> Box<str> {
    const FIXED: [&str; 3] = ["cpu (milli)", "memory (bytes)", "gpu (milli)"];
    match dimension.checked_sub(FIXED.len()) {
        None => FIXED[dimension].into(),
        Some(index) => state.resource_name(ResourceId::new(index)).into(),
    }
}
