//! What jobs communicate, and over what.

use std::collections::BTreeMap;
use std::sync::Arc;

use foretell_fabric::collectives::Calibration;
use foretell_sim::engine::Streams;
use foretell_sim::framework::{GpuModelId, GpuModelSet, Scaling, Time, WHOLE_GPU_MILLI};
use foretell_sim::platform::CheckpointSize;
use foretell_sim::traffic::{CommunicationProfile, Machines, Phases, ProfileSpec, StepModel, Traffic};
use foretell_traces::{JobRecord, ScalingCurve, SpeedLaw, TraceError};
use foretell_training::plan::PlanError;
use rand::RngExt;

use super::trained::{NodeKind, TrainedJob};
use super::{Plan, RunError};
use crate::scenario::{CommunicationSize, Scenario, Steps, TrainedModel, TrainingLength};

/// What the steps of a kind of jobs are made of.
enum Spec {
    Profile(ProfileSpec),
    Trained(Arc<TrainedModel>),
}

impl Spec {
    fn says_how_long(&self) -> bool {
        matches!(self, Self::Trained(model) if model.length != TrainingLength::OfWorkload)
    }
}

/// Kinds of jobs by what they communicate, ready to be drawn from.
pub(super) struct Classes {
    streams: Streams,
    /// Each with the sum of the weights up to it.
    specs: Vec<(f64, Spec)>,
    machines: Arc<Machines>,
    /// What else is known of them, one for each; none unless jobs train models.
    kinds: Arc<[NodeKind]>,
    /// Whether jobs of any class say how long they train: then those with one GPU count too.
    say_how_long: bool,
}

impl Classes {
    /// Those of a scenario, if it has any; `model` gives the ids of GPU models.
    pub(super) fn new(
        scenario: &Scenario,
        mut model: impl FnMut(&str) -> Result<GpuModelId, RunError>,
    ) -> Result<Option<Self>, RunError> {
        let Some(communication) = &scenario.communication else { return Ok(None) };
        let fabric = scenario.fabric.as_ref();
        let mut by_model: Vec<(GpuModelId, _)> = Vec::new();
        let mut kinds = Vec::new();
        for group in &scenario.nodes {
            let Some((gpus, machine)) = group.node_type.gpus.as_ref().zip(group.machine(fabric)) else {
                continue;
            };
            let id = model(&gpus.model)?;
            if by_model.iter().all(|(known, _)| *known != id) {
                by_model.push((id, machine));
                let node_type = group.node_type.clone();
                kinds.extend(group.device().map(|device| NodeKind { node_type, device }));
            }
        }
        let environment = fabric.map_or_else(Default::default, |fabric| fabric.environment.clone());
        let machines = Machines { by_model, environment, calibration: Calibration::default() };
        let mut sum = 0.0;
        let mut specs = Vec::with_capacity(communication.classes.len());
        for class in &communication.classes {
            sum += class.weight;
            let spec = match &class.steps {
                Steps::Trained(model) => Spec::Trained(Arc::clone(model)),
                &Steps::Profile { compute_s, size, overlap, collective } => {
                    let bytes = match size {
                        CommunicationSize::Bytes(bytes) => bytes,
                        CommunicationSize::Share { share, nodes } => {
                            let time_s = share / (1.0 - share) * compute_s;
                            // Of a mixed cluster the first kind of nodes is meant.
                            let first = machines.by_model.first().filter(|_| share > 0.0);
                            let size = first
                                .map(|(_, machine)| machines.size_taking(machine, nodes, collective, time_s));
                            size.transpose()?.unwrap_or_default()
                        }
                    };
                    Spec::Profile(ProfileSpec { compute_s, overlap, collective, bytes })
                }
            };
            specs.push((sum, spec));
        }
        let streams = Streams::new(scenario.seed);
        let say_how_long = specs.iter().any(|(_, spec)| spec.says_how_long());
        Ok(Some(Self { streams, specs, machines: Arc::new(machines), kinds: kinds.into(), say_how_long }))
    }
}

/// Class, GPUs, their models, and the tasks that a job asks for and may have if its model says how it scales.
type JobKind = (usize, u32, GpuModelSet, Option<(u32, u32)>);

/// The profiles of jobs: those of one class, size and choice of models share theirs.
#[derive(Default)]
pub(super) struct StepModels {
    known: BTreeMap<JobKind, JobSteps>,
    /// Whether any job fits.
    any_fits: bool,
    /// Of the first job that does not fit, why.
    too_large: Option<String>,
}

/// The steps of a job.
#[derive(Clone)]
pub(super) enum JobSteps {
    Known {
        model: Arc<dyn StepModel>,
        /// What its work takes at its reference step time, if it says how long it trains.
        duration: Option<Time>,
        /// How fast it is on other numbers of tasks, where that follows from its model.
        scaling: Option<Arc<Scaling>>,
        /// Its checkpoint, where that follows from its model.
        checkpoint: Option<CheckpointSize>,
    },
    /// It goes out of memory.
    DoesNotFit(Arc<str>),
}

/// A job that does not fit fails in its first step: processes have begun, communicators are set up. Assumed.
pub(super) const OUT_OF_MEMORY_AFTER: Time = Time::from_nanos(120_000_000_000);

impl StepModels {
    /// What the job of that number steps like; `None` for jobs with shares of GPUs, and for those with one GPU that do not say
    /// how long they train.
    pub(super) fn of(
        &mut self,
        classes: &Classes,
        sequence: u64,
        job: &JobRecord,
        models: GpuModelSet,
    ) -> Result<Option<JobSteps>, PlanError> {
        let gpus = job.tasks * job.gpus_per_task;
        let least = if classes.say_how_long { 1 } else { 2 };
        if gpus < least || job.gpu_milli < WHOLE_GPU_MILLI {
            return Ok(None);
        }
        let total = classes.specs.last().map_or(0.0, |&(sum, _)| sum);
        let drawn = classes.streams.stream("communication", sequence).random_range(0.0..total);
        let class = classes.specs.partition_point(|&(sum, _)| sum <= drawn);
        let Some((_, spec)) = classes.specs.get(class) else { return Ok(None) };
        if gpus < 2 && !spec.says_how_long() {
            return Ok(None);
        }
        // A law that says more than that it scales in proportion is meant.
        let sizes = job.scaling.as_ref().filter(|scaling| {
            matches!(spec, Spec::Trained(_)) && scaling.curves == [ScalingCurve::of(SpeedLaw::Linear)]
        });
        let sizes = sizes.map(|scaling| (job.tasks, scaling.max_tasks));
        let key = (class, gpus, models, sizes);
        if let Some(steps) = self.known.get(&key) {
            return Ok(Some(steps.clone()));
        }
        let steps = match spec {
            Spec::Profile(spec) => {
                let profile = CommunicationProfile::new(*spec, Arc::clone(&classes.machines), gpus, models)?;
                JobSteps::Known { model: Arc::new(profile), duration: None, scaling: None, checkpoint: None }
            }
            Spec::Trained(model) => {
                match TrainedJob::new(model, &classes.machines, &classes.kinds, gpus, models) {
                    Ok(mut job) => {
                        let duration = job.duration();
                        let scaling = sizes.map(|(asked, most)| Arc::new(job.scaling(asked, most)));
                        let checkpoint = Some(job.checkpoint(models));
                        JobSteps::Known { model: Arc::new(job), duration, scaling, checkpoint }
                    }
                    Err(error @ PlanError::OutOfMemory { .. }) => {
                        JobSteps::DoesNotFit(error.to_string().into())
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        match &steps {
            JobSteps::Known { .. } => self.any_fits = true,
            JobSteps::DoesNotFit(why) => {
                self.too_large.get_or_insert_with(|| format!("job `{}` on {gpus} GPUs: {why}", job.id));
            }
        }
        self.known.insert(key, steps.clone());
        Ok(Some(steps))
    }

    /// What is wrong with the first job where all jobs that say what their steps take go out of memory.
    pub(super) fn none_fits(self) -> Option<String> {
        self.too_large.filter(|_| !self.any_fits)
    }
}

impl Plan {
    /// What the steps of a job take where it runs.
    pub(super) fn steps(
        &self,
        sequence: u64,
        job: &JobRecord,
        known: &mut StepModels,
    ) -> Result<Option<JobSteps>, TraceError> {
        let Some(classes) = &self.classes else { return Ok(None) };
        let models = job.gpu_models.iter().map(|model| self.gpu_models.get(model).copied());
        let models = models.collect::<Option<_>>().ok_or_else(|| self.changed())?;
        known.of(classes, sequence, job, models).map_err(|error| {
            let gpus = job.tasks * job.gpus_per_task;
            self.trace_error(format!("job `{}` on {gpus} GPUs: {error}", job.id))
        })
    }
}

/// The network of a scenario, if jobs communicate over one.
pub(super) fn traffic(scenario: &Scenario) -> Result<Option<Traffic>, RunError> {
    let Some((fabric, communication)) = scenario.fabric.as_ref().zip(scenario.communication.as_ref()) else {
        return Ok(None);
    };
    let phases = if communication.is_synchronised { Phases::Synchronised } else { Phases::Interleaved };
    Ok(Some(Traffic::new(fabric.network()?, fabric.routing, phases)?))
}
