//! Jobs of requests with a deadline, filled into a service behind its other requests.

use foretell_serving::policies::route::mixed;
use foretell_serving::served::BatchServed;
use foretell_traces::generate::GenerateError;
use foretell_traces::requests::RequestRecord;
use foretell_traces::requests::generate::{RequestGenerator, RequestGeneratorConfig};

use super::Service;

/// A job of requests that are all there at once.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchJob {
    /// Its name.
    pub name: String,
    /// When it is submitted.
    pub submit_ns: u64,
    /// When it has to be done.
    pub deadline_ns: u64,
    /// How many requests.
    pub count: u64,
    /// Requests that are in the service at once, at most.
    pub max_outstanding: u32,
    /// Their lengths and priority.
    pub requests: RequestGeneratorConfig,
}

/// A job whose requests are sent.
struct Sending {
    requests: RequestGenerator,
    left: u64,
    outstanding: u32,
    most: u32,
    /// When the next may be sent, if no more are there than may be.
    ready_ns: u64,
}

/// The jobs of a service.
#[derive(Default)]
pub(super) struct Batches {
    jobs: Vec<Sending>,
    /// The job of each request, from 1; 0 for none. Nothing where there are no jobs.
    of_requests: Vec<u32>,
}

impl Batches {
    pub(super) fn new(service: &Service, seed: u64) -> Result<Self, GenerateError> {
        let sending = |(job, number): (&BatchJob, u64)| {
            Ok(Sending {
                requests: RequestGenerator::new(&job.requests, mixed(seed ^ mixed(number)))?,
                left: job.count,
                outstanding: 0,
                most: job.max_outstanding,
                ready_ns: job.submit_ns,
            })
        };
        let jobs = service.batches.iter().zip(1..).map(sending).collect::<Result<_, _>>()?;
        Ok(Self { jobs, of_requests: Vec::new() })
    }

    /// When the next is sent, and of which job.
    pub(super) fn next(&self) -> Option<(u64, usize)> {
        let due = |job: &Sending| job.left > 0 && job.outstanding < job.most;
        let jobs = self.jobs.iter().enumerate().filter(|(_, job)| due(job));
        jobs.map(|(number, job)| (job.ready_ns, number)).min()
    }

    /// The next request of a job.
    pub(super) fn take(&mut self, number: usize) -> Option<RequestRecord> {
        let job = self.jobs.get_mut(number)?;
        let mut record = job.requests.next()?;
        record.arrival_ns = job.ready_ns;
        job.left -= 1;
        job.outstanding += 1;
        Some(record)
    }

    /// A request is taken, of a job or of none.
    pub(super) fn taken(&mut self, job: Option<usize>) {
        if !self.jobs.is_empty() {
            self.of_requests.push(job.map_or(0, |number| number as u32 + 1));
        }
    }

    /// A request is done, or was turned away.
    pub(super) fn done(&mut self, request: u32, now_ns: u64) {
        let job = self.of_requests.get(request as usize).copied().unwrap_or(0);
        let Some(job) = (job as usize).checked_sub(1).and_then(|number| self.jobs.get_mut(number)) else {
            return;
        };
        job.outstanding = job.outstanding.saturating_sub(1);
        job.ready_ns = job.ready_ns.max(now_ns);
    }

    /// The jobs of a service with nothing known of them, and the job of each request.
    pub(super) fn served(self, service: &Service) -> (Vec<BatchServed>, Vec<u32>) {
        let empty = |job: &BatchJob| BatchServed {
            name: job.name.clone(),
            submit_s: job.submit_ns as f64 / 1e9,
            deadline_s: job.deadline_ns as f64 / 1e9,
            requests: job.count,
            ..BatchServed::default()
        };
        (service.batches.iter().map(empty).collect(), self.of_requests)
    }
}
