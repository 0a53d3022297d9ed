//! Services on the GPUs that a policy gave their replicas.

use foretell_serving::Outcomes;
use foretell_serving::classical_served::ClassicalServed;
use foretell_serving::fleet::HandedOver;
use foretell_serving::fleet::{Parts, Recorded, Refused};
use foretell_serving::metrics::{Capacity, Recorder, Summary, Totals};
use foretell_serving::pipeline_served::PipelineServed;
use foretell_serving::served::{BatchServed, Copies, HandOvers, Served, ServedBy};
use foretell_sim::engine::Progress;
use foretell_sim::log::{Observer, RunResult};

use super::Service;
use super::controller::{Running, Serving};
use super::replica::{Built, ServiceError};
use super::source::Senders;
use super::transport::Flows;
use crate::assemble::{Plan, RunError};

/// What became of a run and of the services of its scenario, by the replicas that the policy placed.
#[derive(Debug)]
pub struct ServedRun {
    /// The run.
    pub result: RunResult,
    /// Its services.
    pub services: Vec<Served>,
    /// Those of classical models.
    pub classical: Vec<ClassicalServed>,
    /// Its pipelines.
    pub pipelines: Vec<PipelineServed>,
}

impl Plan {
    /// [`Plan::run`], and what became of the services of the scenario by the replicas that the policy placed.
    pub fn run_and_serve(
        &self,
        policy: &str,
        observer: &mut dyn Observer,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ServedRun, RunError> {
        let (result, mut services) = self.run_services(policy, observer, None, progress)?;
        services.end_pipelines();
        let language = services.running.into_iter().map(|running| Ok(served(running).map_err(Box::new)?));
        let language = language.collect::<Result<Vec<_>, RunError>>()?;
        let classical =
            services.standing.into_iter().map(|standing| Ok(standing.fleet.finish().map_err(Box::new)?));
        let classical = classical.collect::<Result<Vec<_>, RunError>>()?;
        let pipelines = services.pipelines.served(&language, &classical).map_err(Box::new)?;
        Ok(ServedRun {
            result,
            services: language.into_iter().map(|(served, _)| served).collect(),
            classical: classical.into_iter().map(|(served, _)| served).collect(),
            pipelines,
        })
    }
}

/// What became of a service at the end of a run, and who of stages sent what: what is still under way goes on to its end.
fn served(mut running: Running<'_>) -> Result<(Served, Senders), ServiceError> {
    let service = running.service;
    if running.serving.is_empty() {
        let why = "the cluster has no room for them, or other jobs keep it".to_owned();
        return Err(ServiceError::NotPlaced { service: service.name.clone(), why });
    }
    running.fleet.run_until(u64::MAX);
    running.fleet.close();
    if let Some(cause) = running.fleet.transport_mut().and_then(Flows::take_error) {
        return Err(ServiceError::Transfer { service: service.name.clone(), cause });
    }
    let rollout = running.take_rollout();
    let parts = running.fleet.into_parts();
    let copied =
        (service.router.copies() || service.kv_store.is_some()).then(|| copies(service, &parts.handed_over));
    let handed_over = service.disaggregation.is_some().then(|| hand_overs(service, &parts.handed_over));
    let Parts {
        observers: recorders,
        recorded: Recorded { outcomes, inter_token },
        read_in,
        prefix_tokens,
        adapters: totals,
        arrivals: mut feed,
        mut refused,
        tries,
        ..
    } = parts;
    if let Some(error) = feed.take_error() {
        return Err(error.into());
    }
    let senders = feed.take_senders();
    let adapters = feed.take_adapters().map(|asked| asked.served(totals));
    refused.sort_by_key(|one| one.request);
    let by_replica: Vec<(u64, Totals)> =
        recorders.iter().zip(read_in).map(|(one, read_in)| (one.answered + read_in, one.totals)).collect();
    let mut recorder = Recorder::default();
    for one in recorders {
        recorder.merge(one);
    }
    recorder.inter_token = inter_token;
    let first_ns = outcomes.iter().map(|(_, one)| one.arrival_ns).min().unwrap_or(0);
    let last_ns = recorder.last_ns;
    let engines = mean_engines(&running.serving, first_ns, last_ns);
    let capacity = Capacity {
        engines: engines * f64::from(service.parallelism.data),
        block_tokens: service.engine.block_tokens,
        prefix_tokens,
    };
    let (batches, job_of) = feed.take_batches(service);
    let Judged { batches, others, turned_away } = judged(batches, &job_of, &outcomes, &refused);
    let others = others.as_ref().unwrap_or(&outcomes);
    let summary = Summary::new(&recorder, others, &capacity, &service.objective, turned_away);
    let (mfu, bandwidth_use) = uses(&running.serving, &summary, engines);
    let served = Served {
        service: service.name.clone(),
        model: service.model.name.clone(),
        batcher: service.engine.batcher.name().to_owned(),
        router: service.router.name().to_owned(),
        objective: service.objective,
        summary,
        tries,
        recorder,
        outcomes,
        refused,
        handed_over,
        copied,
        adapters,
        batches,
        job_of,
        rollout,
        scaling: running.scaling,
        replicas: running
            .serving
            .iter()
            .zip(by_replica)
            .map(|(one, (requests, totals))| ServedBy {
                replica: one.placed.replica,
                placed_s: one.placed.at.as_secs_f64(),
                ready_s: one.ready_ns as f64 / 1e9,
                until_s: one.until_ns.map(|until_ns| until_ns as f64 / 1e9),
                gpu: one.built.gpu.clone(),
                gpus: one.built.gpus,
                price_per_gpu_hour: one.built.price_per_gpu_hour,
                blocks: one.built.blocks,
                block_tokens: service.engine.block_tokens,
                role: service.role_of(one.variant),
                requests,
                busy_s: totals.busy_ns / 1e9,
                energy_j: energy_j(one, &totals, last_ns),
            })
            .collect(),
        mfu,
        bandwidth_use,
    };
    Ok((served, senders))
}

/// Engines that there are, on average from the first arrival to the last token.
fn mean_engines(serving: &[Serving], first_ns: u64, last_ns: u64) -> f64 {
    let there_ns = serving.iter().map(|one| {
        let until_ns = one.until_ns.unwrap_or(u64::MAX).min(last_ns);
        until_ns.saturating_sub(one.ready_ns.max(first_ns)) as f64
    });
    let there_ns: f64 = there_ns.sum();
    if last_ns > first_ns { there_ns / (last_ns - first_ns) as f64 } else { 0.0 }
}

/// What became of jobs, and what did of the other requests.
struct Judged {
    batches: Vec<BatchServed>,
    /// Requests that were answered and are of no job; none where there are no jobs.
    others: Option<Outcomes>,
    /// How many of no job got nothing.
    turned_away: u64,
}

fn judged(mut batches: Vec<BatchServed>, job_of: &[u32], outcomes: &Outcomes, refused: &[Refused]) -> Judged {
    if batches.is_empty() {
        return Judged { batches, others: None, turned_away: refused.len() as u64 };
    }
    let job = |request: u32| (job_of.get(request as usize).copied().unwrap_or(0) as usize).checked_sub(1);
    let mut others = Outcomes::default();
    for (replica, outcome) in outcomes.iter() {
        match job(outcome.request).and_then(|number| batches.get_mut(number)) {
            Some(batch) => batch.answered(&outcome),
            None => others.insert(replica, &outcome),
        }
    }
    let mut turned_away = 0;
    for one in refused {
        match job(one.request).and_then(|number| batches.get_mut(number)) {
            Some(batch) => batch.refused += 1,
            None => turned_away += 1,
        }
    }
    Judged { batches, others: Some(others), turned_away }
}

fn copies(service: &Service, handed_over: &HandedOver) -> Copies {
    let HandedOver { copies, copied_blocks, copy_ns, .. } = *handed_over;
    Copies {
        requests: copies,
        bytes: copied_blocks as f64 * service.block_bytes(),
        transfer_s: if copies > 0 { copy_ns / copies as f64 / 1e9 } else { 0.0 },
    }
}

fn hand_overs(service: &Service, handed_over: &HandedOver) -> HandOvers {
    let HandedOver { requests, blocks, room_ns, move_ns, .. } = *handed_over;
    let mean_s = |sum_ns: f64| if requests > 0 { sum_ns / requests as f64 / 1e9 } else { 0.0 };
    HandOvers {
        requests,
        bytes: blocks as f64 * service.block_bytes(),
        room_s: mean_s(room_ns),
        transfer_s: mean_s(move_ns),
    }
}

/// Joules of a replica's GPUs from when it was placed, where it is known what they draw: busy, and idle for the rest.
fn energy_j(one: &Serving, totals: &Totals, last_ns: u64) -> Option<f64> {
    let drawing = one.built.drawing?;
    let placed_ns = u64::try_from(one.placed.at.as_nanos()).unwrap_or(u64::MAX);
    let there_ns = one.until_ns.unwrap_or(u64::MAX).min(last_ns).saturating_sub(placed_ns);
    let idle_gpu_s = (f64::from(one.built.gpus) * there_ns as f64 - drawing.gpus * totals.busy_ns) / 1e9;
    Some(totals.busy_j + drawing.idle_j(idle_gpu_s.max(0.0)))
}

/// Shares of the peaks of operations and of memory bandwidth of all GPUs that the model's own work took, over the whole time; with replicas that
/// come and go, as many GPUs as there were on average.
fn uses(serving: &[Serving], summary: &Summary, engines: f64) -> (f64, f64) {
    let peak = |of: fn(&Built) -> f64| -> f64 {
        let sum: f64 = serving.iter().map(|one| f64::from(one.built.gpus) * of(&one.built)).sum();
        sum / serving.len() as f64 * engines * summary.duration_s
    };
    let work = summary.totals.work;
    let share = |done: f64, peak: f64| if peak > 0.0 { done / peak } else { 0.0 };
    (share(work.flops, peak(|one| one.peak_flops)), share(work.bytes, peak(|one| one.memory_bytes_per_s)))
}
