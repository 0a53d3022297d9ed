//! Adapters of a service's model, and who asks for which.

use std::collections::BTreeMap;

use foretell_serving::adapters::{AdapterLinks, AdapterShape, AdapterTargets, AdapterTotals};
use foretell_serving::policies::Adapters;
use foretell_serving::policies::route::mixed;
use foretell_serving::served::AdaptersServed;
use foretell_traces::generate::GenerateError;
use foretell_traces::requests::RequestRecord;
use foretell_traces::requests::generate::{Choices, Popularity};

use super::Service;

/// Adapters of a service's model.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// How many there are and how often each is asked for; none where the requests say it.
    pub drawn: Option<Popularity>,
    /// Rank of all of them.
    pub rank: u32,
    /// Which matrices they change.
    pub targets: AdapterTargets,
    /// Different ones in a batch and on the GPUs of a replica, at most.
    pub max_loras: u32,
    /// Those that memory of its host keeps.
    pub max_cpu_loras: u32,
    /// Whether others go on while one is loaded.
    pub overlapped: bool,
    /// How fast they are loaded.
    pub links: AdapterLinks,
}

impl Lora {
    pub(super) fn shape(&self, service: &Service) -> AdapterShape {
        AdapterShape::new(&service.model, service.parallelism, self.rank, self.targets)
    }

    /// Those of a replica, none of them at hand.
    pub(super) fn adapters(&self) -> Adapters {
        let adapters = Adapters::new(self.max_loras, self.max_cpu_loras);
        if self.overlapped { adapters.overlapped() } else { adapters }
    }
}

/// Which adapter each request asks for.
pub(super) struct Asked {
    /// None where requests name them.
    choices: Option<Choices>,
    /// The model as it is, by its name.
    base: String,
    /// Those that were named, by number less one.
    names: Vec<String>,
    numbers: BTreeMap<String, u32>,
    /// By request.
    of_requests: Vec<u32>,
    /// Whether they are models of which each replica has several.
    are_models: bool,
}

impl Asked {
    /// For a service, if it has adapters or several models.
    pub(super) fn of(service: &Service, seed: u64) -> Result<Option<Self>, GenerateError> {
        if let Some(lora) = &service.lora {
            return Self::new(lora, service, seed).map(Some);
        }
        let Some(swap) = &service.swap else { return Ok(None) };
        let models = std::iter::once(service).chain(&swap.models);
        let names: Vec<String> = models.map(|service| service.model.name.clone()).collect();
        Ok(Some(Self {
            choices: swap.drawn.map(|popularity| Choices::new(&popularity, seed)).transpose()?,
            base: String::new(),
            numbers: names.iter().cloned().zip(1..).collect(),
            names,
            of_requests: Vec::new(),
            are_models: true,
        }))
    }

    fn new(lora: &Lora, service: &Service, seed: u64) -> Result<Self, GenerateError> {
        let choices = lora.drawn.map(|popularity| Choices::new(&popularity, seed)).transpose()?;
        Ok(Self {
            choices,
            base: service.model.name.clone(),
            names: Vec::new(),
            numbers: BTreeMap::new(),
            of_requests: Vec::new(),
            are_models: false,
        })
    }

    /// The adapter of the next request, from 1; 0 for none. Those of a conversation or user are the same.
    pub(super) fn next(&mut self, record: &RequestRecord) -> u32 {
        let adapter = if let Some(choices) = &self.choices {
            let number = record.session.unwrap_or(self.of_requests.len() as u64);
            choices.of(number).map_or(0, |choice| choice + 1)
        } else if !self.are_models && (record.model.is_empty() || *record.model == *self.base) {
            0
        } else if let Some(&known) = self.numbers.get(&*record.model) {
            known
        } else if self.are_models {
            // Of a model that it does not have it has the first.
            1
        } else {
            self.names.push(record.model.to_string());
            let number = self.names.len() as u32;
            self.numbers.insert(record.model.to_string(), number);
            number
        };
        self.of_requests.push(adapter);
        adapter
    }

    /// What was asked for, and what that did to replicas.
    pub(super) fn served(mut self, totals: AdapterTotals) -> AdaptersServed {
        let most = self.of_requests.iter().max().copied().unwrap_or(0);
        for number in self.names.len() as u32 + 1..=most {
            self.names.push(format!("adapter-{number}"));
        }
        let Self { names, of_requests, are_models, .. } = self;
        AdaptersServed { totals, are_models, names, of_requests }
    }
}

/// The keys of blocks of a prompt that is read with an adapter: they are like no other's. (vLLM hashes the adapter with the tokens.)
pub(super) fn with_adapter(keys: &mut [u64], adapter: u32) {
    if adapter > 0 {
        let own = mixed(u64::from(adapter));
        for key in keys {
            *key = mixed(*key ^ own);
        }
    }
}
