//! What jobs hold, by QOS and user, and whether one more may.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;

use foretell_framework::{ClusterState, Job, QueueBound, Reason, ResourceUse};

use crate::config::{Qos, SlurmConfig, Tres};

/// What a job or several hold.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Held {
    pub(crate) jobs: u64,
    pub(crate) cpu_milli: u64,
    pub(crate) gpu_milli: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) nodes: u64,
}

impl Held {
    /// All tasks of a job.
    pub(crate) fn by(state: &ClusterState, job: &Job) -> Self {
        let mut held = Self { jobs: 1, ..Self::default() };
        for &(class, count) in &job.spec.tasks {
            let (spec, count) = (state.class_spec(class), u64::from(count));
            held.nodes += count;
            held.cpu_milli += count * spec.requests.cpu_milli;
            held.gpu_milli += count * spec.gpus.total_milli();
            held.memory_bytes += count * spec.requests.memory_bytes;
        }
        held
    }

    const fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.cpu_milli += other.cpu_milli;
        self.gpu_milli += other.gpu_milli;
        self.memory_bytes += other.memory_bytes;
        self.nodes += other.nodes;
    }

    /// The first amount by which this and a job exceed a limit.
    fn over(&self, job: &Self, limit: &Tres) -> Option<ResourceUse> {
        let amounts = [
            ("gres/gpu", self.gpu_milli, job.gpu_milli, limit.gpu_milli),
            ("cpu", self.cpu_milli, job.cpu_milli, limit.cpu_milli),
            (
                "mem",
                self.memory_bytes * 1000,
                job.memory_bytes * 1000,
                limit.memory_bytes.map(|bytes| bytes * 1000),
            ),
            ("node", self.nodes * 1000, job.nodes * 1000, limit.nodes.map(|nodes| nodes * 1000)),
        ];
        amounts.into_iter().find_map(|(resource, used_milli, asked_milli, limit_milli)| {
            let limit_milli = limit_milli.filter(|&limit| used_milli + asked_milli > limit)?;
            Some(ResourceUse { resource: resource.into(), used_milli, asked_milli, limit_milli })
        })
    }
}

/// What runs, by QOS and by user of a QOS.
#[derive(Default)]
pub(crate) struct Running {
    of_qos: BTreeMap<Box<str>, Held>,
    of_user: BTreeMap<(Box<str>, Box<str>), Held>,
}

impl Running {
    pub(crate) fn of(state: &ClusterState, config: &SlurmConfig) -> Self {
        let mut running = Self::default();
        if config.qos.iter().any(Qos::has_limits) {
            state
                .jobs()
                .filter(|(_, job)| job.placed() > 0)
                .for_each(|(_, job)| running.add(state, config, job));
        }
        running
    }

    pub(crate) fn add(&mut self, state: &ClusterState, config: &SlurmConfig, job: &Job) {
        let Some(qos) = config.qos(&job.spec).filter(|qos| qos.has_limits()) else { return };
        let held = Held::by(state, job);
        self.of_qos.entry(qos.name.clone()).or_default().add(&held);
        self.of_user.entry((qos.name.clone(), job.spec.user.clone())).or_default().add(&held);
    }

    /// Whether the limits of its QOS let a job start, and if not, which does not.
    pub(crate) fn admit(&self, state: &ClusterState, config: &SlurmConfig, job: &Job) -> Result<(), Reason> {
        let Some(qos) = config.qos(&job.spec).filter(|qos| qos.has_limits()) else { return Ok(()) };
        let asked = Held::by(state, job);
        let all = self.of_qos.get(&qos.name).copied().unwrap_or_default();
        let own = self.of_user.get(&(qos.name.clone(), job.spec.user.clone())).copied().unwrap_or_default();
        let jobs = |held: &Held, limit: Option<u64>| {
            let limit_milli = limit.filter(|&limit| held.jobs >= limit)? * 1000;
            let (used_milli, asked_milli) = (held.jobs * 1000, 1000);
            Some(ResourceUse { resource: "jobs".into(), used_milli, asked_milli, limit_milli })
        };
        let over = jobs(&all, qos.group_jobs)
            .or_else(|| all.over(&asked, &qos.group))
            .or_else(|| jobs(&own, qos.jobs_per_user))
            .or_else(|| own.over(&asked, &qos.per_user))
            .or_else(|| Held::default().over(&asked, &qos.per_job));
        over.map_or(Ok(()), |binding| Err(limited(qos, binding)))
    }
}

fn limited(qos: &Qos, binding: ResourceUse) -> Reason {
    Reason::QueueLimit {
        queue: format!("of QOS {}", qos.name).into(),
        bound: QueueBound::Capability,
        binding,
        gpus: None,
    }
}
