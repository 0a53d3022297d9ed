//! Amounts of resources as Volcano compares them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_framework::{ClusterState, NodeSpec, Quota, ResourceId, ResourceUse, TaskSpec};

/// Amounts that differ by less are equal (Volcano's `minResource`).
const EPSILON: f64 = 0.1;

/// Thousandths in a unit of an extended resource.
const MILLI: f64 = 1000.0;

const GPU: Dimension = Dimension::Scalar(Scalar::Gpu);

/// Bytes in a gibibyte.
const GIB: f64 = 1_073_741_824.0;

/// A resource beside CPU and memory, which every amount has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Scalar {
    /// Number of tasks (Kubernetes' `pods`).
    Tasks,
    /// Thousandths of GPUs.
    Gpu,
    /// Thousandths of an extended resource.
    Extended(ResourceId),
}

/// A resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Dimension {
    /// Thousandths of CPU cores.
    Cpu,
    /// Bytes of memory.
    Memory,
    /// Another.
    Scalar(Scalar),
}

/// What a scalar that is not named counts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Absent {
    /// Nothing.
    Zero,
    /// No bound.
    Infinity,
}

/// Amounts of CPU, memory and those scalars that are named. They are fractions because queues deserve fractions.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Amounts {
    cpu_milli: f64,
    memory_bytes: f64,
    /// In order, each once. A zero is not the same as not being named.
    scalars: Vec<(Scalar, f64)>,
}

impl Amounts {
    /// What a task requests. Every task counts as one task.
    pub(crate) fn of_task(spec: &TaskSpec) -> Self {
        let mut amounts = Self {
            cpu_milli: spec.requests.cpu_milli as f64,
            memory_bytes: spec.requests.memory_bytes as f64,
            scalars: Vec::from([(Scalar::Tasks, 1.0)]),
        };
        if spec.gpus.count > 0 {
            amounts.scalars.push((Scalar::Gpu, spec.gpus.total_milli() as f64));
        }
        let extended = spec.requests.all_extended();
        amounts.scalars.extend(extended.map(|(id, amount)| (Scalar::Extended(id), amount as f64 * MILLI)));
        amounts
    }

    /// What an empty node gives.
    pub(crate) fn of_node(spec: &NodeSpec) -> Self {
        let mut amounts = Self {
            cpu_milli: spec.allocatable.cpu_milli as f64,
            memory_bytes: spec.allocatable.memory_bytes as f64,
            scalars: Vec::from([(Scalar::Tasks, f64::from(spec.max_tasks))]),
        };
        if spec.gpus > 0 {
            amounts.scalars.push((Scalar::Gpu, f64::from(spec.gpus) * MILLI));
        }
        let extended = spec.allocatable.all_extended();
        amounts.scalars.extend(extended.map(|(id, amount)| (Scalar::Extended(id), amount as f64 * MILLI)));
        amounts
    }

    /// What all nodes give. GPUs that do not work do not count.
    pub(crate) fn of_cluster(state: &ClusterState) -> Self {
        let mut total = Self::default();
        for node in state.nodes() {
            total.add(&Self::of_node(&node.spec));
        }
        if let Some((_, gpu)) = total.scalars.iter_mut().find(|(scalar, _)| *scalar == Scalar::Gpu) {
            *gpu = state.gpu_capacity_milli() as f64;
        }
        total
    }

    /// A quota; CPU and memory that it leaves open are 0.
    pub(crate) fn of_quota(quota: &Quota) -> Self {
        let tasks = quota.tasks.map(|tasks| (Scalar::Tasks, tasks as f64));
        let gpu = quota.gpu_milli.map(|milli| (Scalar::Gpu, milli as f64));
        let extended = quota.extended.iter();
        let extended = extended.map(|&(id, amount)| (Scalar::Extended(id), amount as f64 * MILLI));
        Self {
            cpu_milli: quota.cpu_milli.unwrap_or(0) as f64,
            memory_bytes: quota.memory_bytes.unwrap_or(0) as f64,
            scalars: tasks.into_iter().chain(gpu).chain(extended).collect(),
        }
    }

    /// A quota as an upper bound: CPU and memory that it leaves open, or sets to 0, have no bound.
    pub(crate) fn of_limit(quota: &Quota) -> Self {
        let unbounded = |amount: f64| if amount > 0.0 { amount } else { f64::INFINITY };
        let limit = Self::of_quota(quota);
        Self { cpu_milli: unbounded(limit.cpu_milli), memory_bytes: unbounded(limit.memory_bytes), ..limit }
    }

    /// The amount of a resource; a scalar that is not named is 0.
    pub(crate) fn get(&self, dimension: Dimension) -> f64 {
        match dimension {
            Dimension::Cpu => self.cpu_milli,
            Dimension::Memory => self.memory_bytes,
            Dimension::Scalar(scalar) => self.scalar(scalar).unwrap_or(0.0),
        }
    }

    fn scalar(&self, scalar: Scalar) -> Option<f64> {
        let position = self.scalars.binary_search_by_key(&scalar, |&(scalar, _)| scalar).ok()?;
        Some(self.scalars[position].1)
    }

    fn scalar_mut(&mut self, scalar: Scalar) -> &mut f64 {
        let position = match self.scalars.binary_search_by_key(&scalar, |&(scalar, _)| scalar) {
            Ok(position) => position,
            Err(position) => {
                self.scalars.insert(position, (scalar, 0.0));
                position
            }
        };
        &mut self.scalars[position].1
    }

    /// Resources: CPU, memory, and the scalars that are named.
    pub(crate) fn dimensions(&self) -> impl Iterator<Item = (Dimension, f64)> {
        let scalars = self.scalars.iter().map(|&(scalar, amount)| (Dimension::Scalar(scalar), amount));
        [(Dimension::Cpu, self.cpu_milli), (Dimension::Memory, self.memory_bytes)].into_iter().chain(scalars)
    }

    /// Whether there is less than the least amount of everything but tasks.
    pub(crate) fn is_empty(&self) -> bool {
        self.dimensions()
            .all(|(dimension, amount)| amount < EPSILON || dimension == Dimension::Scalar(Scalar::Tasks))
    }

    /// Adds.
    pub(crate) fn add(&mut self, other: &Self) {
        self.cpu_milli += other.cpu_milli;
        self.memory_bytes += other.memory_bytes;
        other.scalars.iter().for_each(|&(scalar, amount)| *self.scalar_mut(scalar) += amount);
    }

    /// Subtracts, below zero if need be.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.cpu_milli -= other.cpu_milli;
        self.memory_bytes -= other.memory_bytes;
        other.scalars.iter().for_each(|&(scalar, amount)| *self.scalar_mut(scalar) -= amount);
    }

    /// As many times as much.
    #[must_use]
    pub(crate) fn times(mut self, factor: f64) -> Self {
        self.cpu_milli *= factor;
        self.memory_bytes *= factor;
        self.scalars.iter_mut().for_each(|(_, amount)| *amount *= factor);
        self
    }

    /// The sum.
    #[must_use]
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    /// The part by which it exceeds another, resource by resource.
    #[must_use]
    pub(crate) fn beyond(mut self, other: &Self) -> Self {
        self.subtract(other);
        self.cpu_milli = self.cpu_milli.max(0.0);
        self.memory_bytes = self.memory_bytes.max(0.0);
        self.scalars.iter_mut().for_each(|(_, amount)| *amount = amount.max(0.0));
        self
    }

    /// The smaller of each resource. Scalars that only the other names are not taken over; those that only this names
    /// stay or become 0.
    pub(crate) fn limit_to(&mut self, other: &Self, absent: Absent) {
        self.cpu_milli = self.cpu_milli.min(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.min(other.memory_bytes);
        for (scalar, amount) in &mut self.scalars {
            match (other.scalar(*scalar), absent) {
                (Some(limit), _) => *amount = amount.min(limit),
                (None, Absent::Zero) => *amount = 0.0,
                (None, Absent::Infinity) => {}
            }
        }
    }

    /// The larger of each resource.
    pub(crate) fn raise_to(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.max(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        for &(scalar, amount) in &other.scalars {
            let own = self.scalar_mut(scalar);
            *own = own.max(amount);
        }
    }

    /// Takes over what another says, resource by resource: what it does not name, or sets to 0 CPU or memory, stays.
    pub(crate) fn replace_by(&mut self, other: &Self) {
        if other.cpu_milli > 0.0 {
            self.cpu_milli = other.cpu_milli;
        }
        if other.memory_bytes > 0.0 {
            self.memory_bytes = other.memory_bytes;
        }
        other.scalars.iter().for_each(|&(scalar, amount)| *self.scalar_mut(scalar) = amount);
    }

    /// Whether it is at most as much of every resource, or more by less than counts. A scalar that the other does not name
    /// counts there as `absent` says.
    pub(crate) fn is_within(&self, other: &Self, absent: Absent) -> bool {
        let within = |left: f64, right: f64| left < right || libm::fabs(left - right) < EPSILON;
        within(self.cpu_milli, other.cpu_milli)
            && within(self.memory_bytes, other.memory_bytes)
            && self.scalars.iter().all(|&(scalar, amount)| match other.scalar(scalar) {
                None if absent == Absent::Infinity => true,
                limit => within(amount, limit.unwrap_or(0.0)),
            })
    }

    /// The first resource of which a request asks for something and of which this and the request together are more than
    /// the limit. Resources for which nothing is asked do not count.
    pub(crate) fn first_beyond(&self, request: &Self, limit: &Self) -> Option<Dimension> {
        let beyond = |&(dimension, requested): &(Dimension, f64)| {
            requested > 0.0 && self.get(dimension) + requested > limit.get(dimension)
        };
        request.dimensions().find(beyond).map(|(dimension, _)| dimension)
    }

    /// What stands in the way of a request beside what is held: the resource that decides, and GPUs where they do not. A
    /// limit that is no lower than what the whole cluster has stands in nobody's way.
    pub(crate) fn use_beyond(
        &self,
        state: &ClusterState,
        request: &Self,
        limit: &Self,
    ) -> Option<(ResourceUse, Option<ResourceUse>)> {
        let total = Self::of_cluster(state);
        let is_beyond = |dimension| {
            let (requested, limit) = (request.get(dimension), limit.get(dimension));
            requested > 0.0 && self.get(dimension) + requested > limit && limit < total.get(dimension)
        };
        let others = request.dimensions().map(|(dimension, _)| dimension);
        let binding = [GPU].into_iter().chain(others).find(|&dimension| is_beyond(dimension))?;
        let of = |dimension: Dimension| {
            let (resource, milli): (Box<str>, f64) = match dimension {
                Dimension::Cpu => ("CPU cores".into(), 1.0),
                Dimension::Memory => ("GiB of memory".into(), MILLI / GIB),
                Dimension::Scalar(Scalar::Gpu) => ("GPUs".into(), 1.0),
                Dimension::Scalar(Scalar::Tasks) => ("tasks".into(), MILLI),
                Dimension::Scalar(Scalar::Extended(id)) => (state.resource_name(id).into(), 1.0),
            };
            let amount = |amounts: &Self| libm::round(amounts.get(dimension).max(0.0) * milli) as u64;
            let (used_milli, asked_milli, limit_milli) = (amount(self), amount(request), amount(limit));
            ResourceUse { resource, used_milli, asked_milli, limit_milli }
        };
        let gpus = (binding != GPU && request.get(GPU) > 0.0).then(|| of(GPU));
        Some((of(binding), gpus))
    }

    /// Whether this and a request together are within the limit on at least one resource for which the request asks.
    pub(crate) fn is_partly_within(&self, request: &Self, limit: &Self) -> bool {
        request.dimensions().any(|(dimension, requested)| {
            requested > 0.0 && self.get(dimension) + requested <= limit.get(dimension)
        })
    }

    /// The largest part of any resource of `whole` (Volcano's share): 1 where there is none but something is had.
    pub(crate) fn dominant_share(&self, whole: &Self) -> f64 {
        let share = |(dimension, whole): (Dimension, f64)| {
            let part = self.get(dimension);
            if whole == 0.0 { if part == 0.0 { 0.0 } else { 1.0 } } else { part / whole }
        };
        whole.dimensions().map(share).fold(0.0, f64::max)
    }
}
