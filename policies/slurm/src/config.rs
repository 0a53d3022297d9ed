//! What `slurm.conf` and the accounting database say.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::Time;
use foretell_framework::state::{JobSpec, QOS_ANNOTATION};

use crate::fair_share::Fairness;

const DAY: Time = Time::from_nanos(86_400_000_000_000);

/// The weights of the factors (`PriorityWeight*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Weights {
    /// Of waiting.
    pub age: u32,
    /// Of the share that was not used.
    pub fair_share: u32,
    /// Of the size of the job.
    pub job_size: u32,
    /// Of the partition's `PriorityJobFactor`.
    pub partition: u32,
    /// Of the QOS's `Priority`.
    pub qos: u32,
}

/// Amounts of trackable resources, of which each may be open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tres {
    /// Thousandths of CPUs.
    pub cpu_milli: Option<u64>,
    /// Thousandths of GPUs (`gres/gpu`).
    pub gpu_milli: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Nodes: tasks.
    pub nodes: Option<u64>,
}

/// What a second of use costs (`TRESBillingWeights`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Billing {
    /// For a CPU.
    pub cpu: f64,
    /// For a GPU.
    pub gpu: f64,
    /// For a GiB of memory.
    pub memory_gib: f64,
}

/// Who may displace whom (`PreemptType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PreemptType {
    /// Nobody.
    #[default]
    None,
    /// Jobs of partitions of a higher `PriorityTier`.
    PartitionPrio,
    /// Jobs whose QOS names the other's in `Preempt`.
    Qos,
}

/// What becomes of a job that is displaced (`PreemptMode`). The simulator knows one way: it waits again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PreemptMode {
    /// It cannot be displaced.
    #[default]
    Off,
    /// It waits again.
    Requeue,
}

/// A partition: the queue of that name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Its name.
    pub name: Box<str>,
    /// Names of its nodes; all if `None`.
    pub nodes: Option<Vec<Box<str>>>,
    /// Jobs of a higher tier go first whatever their priority (`PriorityTier`).
    pub tier: u32,
    /// Of its jobs, relative to the largest of all partitions (`PriorityJobFactor`).
    pub job_factor: u32,
    /// The longest time limit.
    pub max_time: Option<Time>,
    /// The most nodes of a job.
    pub max_nodes: Option<u64>,
    /// What becomes of its jobs when they are displaced; as the cluster says if `None`.
    pub preempt_mode: Option<PreemptMode>,
    /// Whether jobs of queues that are no partition go here.
    pub is_default: bool,
}

/// A quality of service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Qos {
    /// Its name.
    pub name: Box<str>,
    /// Relative to the largest of all.
    pub priority: u32,
    /// The most that its jobs hold together (`GrpTRES`).
    pub group: Tres,
    /// The most of its jobs that run (`GrpJobs`).
    pub group_jobs: Option<u64>,
    /// The most that jobs of one user hold (`MaxTRESPerUser`).
    pub per_user: Tres,
    /// The most jobs of one user that run (`MaxJobsPerUser`).
    pub jobs_per_user: Option<u64>,
    /// The most that one job asks for (`MaxTRESPerJob`).
    pub per_job: Tres,
    /// The longest time limit (`MaxWall`).
    pub max_wall: Option<Time>,
    /// Those that it may displace (`Preempt`).
    pub preempts: Vec<Box<str>>,
    /// What becomes of its jobs when they are displaced; as the cluster says if `None`.
    pub preempt_mode: Option<PreemptMode>,
}

impl Qos {
    /// Whether anything but the length of jobs is limited.
    pub(crate) fn has_limits(&self) -> bool {
        let none = Tres::default();
        self.group != none
            || self.group_jobs.is_some()
            || self.per_user != none
            || self.jobs_per_user.is_some()
            || self.per_job != none
    }
}

/// An account in the tree of shares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its name.
    pub name: Box<str>,
    /// The account above it; the root if `None`.
    pub parent: Option<Box<str>>,
    /// Its share relative to its siblings (`Fairshare`).
    pub shares: u32,
}

/// A user in an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The name.
    pub name: Box<str>,
    /// The account; the root if empty.
    pub account: Box<str>,
    /// The share relative to the others in the account (`Fairshare`).
    pub shares: u32,
}

/// Everything that the policy goes by.
#[derive(Clone, PartialEq, Debug)]
pub struct SlurmConfig {
    /// Weights of the factors.
    pub weights: Weights,
    /// Waiting beyond this counts no more (`PriorityMaxAge`).
    pub max_age: Time,
    /// In which use counts half (`PriorityDecayHalfLife`); never if zero.
    pub half_life: Time,
    /// Whether small jobs have the larger factor (`PriorityFavorSmall`).
    pub favor_small: bool,
    /// How shares become a factor.
    pub fairness: Fairness,
    /// What use costs.
    pub billing: Billing,
    /// Who may displace whom.
    pub preempt: PreemptType,
    /// What becomes of the displaced.
    pub preempt_mode: PreemptMode,
    /// Whether jobs are backfilled (`SchedulerType=sched/backfill`).
    pub backfill: bool,
    /// How far ahead windows are promised (`bf_window`).
    pub window: Time,
    /// The most jobs that one pass looks at (`bf_max_job_test`).
    pub max_job_test: u32,
    /// The most jobs of one user that one pass looks at (`bf_max_job_user`).
    pub max_job_user: Option<u32>,
    /// The partitions; jobs of other queues go to the default one, or to all nodes.
    pub partitions: Vec<Partition>,
    /// The qualities of service.
    pub qos: Vec<Qos>,
    /// The accounts.
    pub accounts: Vec<Account>,
    /// The users.
    pub users: Vec<User>,
}

impl SlurmConfig {
    /// Slurm's own defaults, under which all weights are zero and jobs go by submission.
    pub fn slurm_defaults() -> Self {
        Self {
            weights: Weights::default(),
            max_age: Time::from_nanos(7 * DAY.as_nanos()),
            half_life: Time::from_nanos(7 * DAY.as_nanos()),
            favor_small: false,
            fairness: Fairness::Tree,
            billing: Billing { cpu: 1.0, gpu: 0.0, memory_gib: 0.0 },
            preempt: PreemptType::None,
            preempt_mode: PreemptMode::Off,
            backfill: true,
            window: DAY,
            max_job_test: 500,
            max_job_user: None,
            partitions: Vec::new(),
            qos: Vec::new(),
            accounts: Vec::new(),
            users: Vec::new(),
        }
    }

    /// The partition of a queue, by its position.
    pub(crate) fn partition(&self, queue: &str) -> Option<usize> {
        let named = self.partitions.iter().position(|partition| *partition.name == *queue);
        named.or_else(|| self.partitions.iter().position(|partition| partition.is_default))
    }

    pub(crate) fn qos(&self, job: &JobSpec) -> Option<&Qos> {
        let name: &str = job.annotations.get(QOS_ANNOTATION).map_or("normal", |name| name);
        self.qos.iter().find(|qos| *qos.name == *name)
    }
}

impl Default for SlurmConfig {
    /// What sites with GPUs usually set: fair shares of GPU time before age, and both before size.
    fn default() -> Self {
        Self {
            weights: Weights { age: 1000, fair_share: 10_000, job_size: 100, partition: 1000, qos: 10_000 },
            billing: Billing { cpu: 0.0, gpu: 1.0, memory_gib: 0.0 },
            qos: vec![Qos { name: "normal".into(), ..Qos::default() }],
            ..Self::slurm_defaults()
        }
    }
}
