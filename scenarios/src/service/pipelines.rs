//! Pipelines of a scenario and the services that their stages ask, which have one clock.

use foretell_serving::classical_served::{ClassicalServed, Ending};
use foretell_serving::pipeline_served::PipelineServed;
use foretell_serving::served::Served;

use super::controller::Services;
use super::pipeline::{Flowing, Sent};
use super::replica::ServiceError;
use super::source::Senders;
use crate::scenario::Scenario;

/// Whom a stage asks, by its place among services of its kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Asked {
    Language(usize),
    Classical(usize),
}

/// What happens next: of several at an instant what happens at services first, so that it makes room before what arrives needs it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum What {
    At(Asked),
    Arrival(usize),
}

/// What is there of pipelines that a service's own requests do not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlook {
    /// Whether requests are there, or may still come.
    pub(super) is_busy: bool,
    /// When something next happens by itself.
    pub(super) next_ns: Option<u64>,
}

/// The pipelines of a scenario.
pub(super) struct Pipelines<'a> {
    flowing: Vec<Flowing<'a>>,
    /// Those whom their stages ask, each once, in order.
    asked: Vec<Asked>,
    /// By pipeline and stage.
    of_stages: Vec<Vec<Asked>>,
}

impl<'a> Pipelines<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Result<Self, ServiceError> {
        let named = |name: &str| {
            let language = scenario.services.iter().position(|one| one.name == name).map(Asked::Language);
            let classical = || scenario.classical_services.iter().position(|one| one.name == name);
            language.or_else(|| classical().map(Asked::Classical))
        };
        let of_stages: Vec<Vec<Asked>> = scenario
            .pipelines
            .iter()
            .map(|pipeline| pipeline.stages.iter().filter_map(|stage| named(&stage.service)).collect())
            .collect();
        let mut asked = of_stages.concat();
        asked.sort_unstable();
        asked.dedup();
        let flowing = (0..).zip(&scenario.pipelines);
        let flowing = flowing.map(|(place, pipeline)| Flowing::new(place, pipeline, scenario.seed));
        Ok(Self { flowing: flowing.collect::<Result<_, _>>()?, asked, of_stages })
    }

    /// Whether stages ask a service, by its place.
    pub(super) fn ask(&self, service: usize) -> bool {
        self.asked.contains(&Asked::Language(service))
    }
}

impl Services<'_> {
    /// Brings all services that stages ask to an instant.
    pub(super) fn come_to(&mut self, until_ns: u64) {
        self.pass_on();
        while let Some((at_ns, what)) = self.next_of_pipelines().filter(|&(at_ns, _)| at_ns <= until_ns) {
            match what {
                What::At(Asked::Language(place)) => self.running[place].fleet.run_until(at_ns),
                What::At(Asked::Classical(place)) => self.standing[place].fleet.run_until(at_ns),
                What::Arrival(place) => {
                    let mut sends = Vec::new();
                    self.pipelines.flowing[place].enter(&mut sends);
                    self.send(sends);
                }
            }
            self.pass_on();
        }
    }

    /// What happens next.
    fn next_of_pipelines(&mut self) -> Option<(u64, What)> {
        let (running, standing) = (&mut self.running, &self.standing);
        let at = self.pipelines.asked.iter().filter_map(|&asked| {
            let next_ns = match asked {
                Asked::Language(place) => running[place].fleet.next_ns(),
                Asked::Classical(place) => standing[place].fleet.next_ns(),
            };
            Some((next_ns?, What::At(asked)))
        });
        let least = at.min();
        let entries = (0..).zip(&self.pipelines.flowing);
        let entries = entries.filter_map(|(place, flowing)| Some((flowing.next_ns()?, What::Arrival(place))));
        entries.chain(least).min()
    }

    /// What services that stages ask have to look forward to; none where there are no pipelines.
    pub(super) fn outlook(&mut self) -> Option<Outlook> {
        if self.pipelines.flowing.is_empty() {
            return None;
        }
        self.pass_on();
        let next_ns = self.next_of_pipelines().map(|(at_ns, _)| at_ns);
        Some(Outlook { is_busy: self.pipelines.flowing.iter().any(Flowing::is_busy), next_ns })
    }

    /// Requests of stages that ended have others follow them; whether any had ended.
    fn pass_on(&mut self) -> bool {
        let mut any = false;
        for place in 0..self.pipelines.asked.len() {
            let ended = match self.pipelines.asked[place] {
                Asked::Language(place) => self.running[place].fleet.arrivals_mut().take_ended(),
                Asked::Classical(place) => self.standing[place].fleet.take_ended(),
            };
            any |= !ended.is_empty();
            for one in ended {
                let mut sends = Vec::new();
                self.pipelines.flowing[one.by.pipeline as usize].ended(&one, &mut sends);
                self.send(sends);
            }
        }
        any
    }

    fn send(&mut self, sends: Vec<Sent>) {
        for Sent { record, by } in sends {
            match self.pipelines.of_stages[by.pipeline as usize][by.stage as usize] {
                Asked::Language(place) => self.running[place].fleet.arrivals_mut().send(record, by),
                Asked::Classical(place) => self.standing[place].fleet.send(record.arrival_ns, by),
            }
        }
    }

    /// What is still under way goes on to its end.
    pub(super) fn end_pipelines(&mut self) {
        loop {
            self.come_to(u64::MAX);
            for place in 0..self.pipelines.asked.len() {
                if let Asked::Language(place) = self.pipelines.asked[place] {
                    self.running[place].fleet.close();
                }
            }
            if !self.pass_on() {
                return;
            }
        }
    }
}

impl Pipelines<'_> {
    /// What became of their requests, by what became of services, each with who sent what.
    pub(super) fn served(
        mut self,
        language: &[(Served, Senders)],
        classical: &[(ClassicalServed, Senders)],
    ) -> Result<Vec<PipelineServed>, ServiceError> {
        let flowing = &mut self.flowing;
        for (served, senders) in language {
            for (_, one) in served.outcomes.iter() {
                if let Some(by) = senders.of(one.request) {
                    let waiting_ns = one.scheduled_ns.saturating_sub(one.arrival_ns);
                    flowing[by.pipeline as usize].waited(by, one.request, one.last_token_ns, waiting_ns);
                }
            }
        }
        for (served, senders) in classical {
            for end in &served.ends {
                if let (Some(by), Ending::Done { dispatched_ns, .. }) = (senders.of(end.request), end.ending)
                {
                    let waiting_ns = dispatched_ns - end.arrival_ns;
                    flowing[by.pipeline as usize].waited(by, end.request, end.finished_ns, waiting_ns);
                }
            }
        }
        self.flowing.into_iter().map(Flowing::served).collect()
    }
}
