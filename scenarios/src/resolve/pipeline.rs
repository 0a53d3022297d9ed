//! Requests that go through several services.

use foretell_traces::generate::GenerateError;
use foretell_traces::requests::generate::{
    CountLaw, LengthsLaw, RequestArrival, RequestGenerator, RequestGeneratorConfig, Target,
};

use super::Resolver;
use super::service::count_law;
use crate::file::{CountFile, PipelineFile, ScenarioFile, StageFile};
use crate::service::{Pipeline, Stage, StageLengths};
use crate::suggest;

/// Tokens of prompt and answer of a stage together, at most. Its service says what it takes.
const TOKENS_MAX: u32 = 1 << 26;

/// Tokens of a block of a conversation's beginnings; those of services are as large by default.
const BLOCK_TOKENS: u32 = 16;

impl Resolver<'_, '_> {
    /// The pipelines of a scenario.
    pub(super) fn pipelines(&mut self, scenario: &ScenarioFile) -> Vec<Pipeline> {
        let mut pipelines = Vec::new();
        for (index, file) in scenario.pipeline.iter().enumerate() {
            let path = format!("pipeline[{index}]");
            if scenario.pipeline[..index].iter().any(|other| other.name == file.name) {
                let message = format!("there is another pipeline `{}`", file.name);
                self.problem(&format!("{path}.name"), message, None);
            }
            let plain = |character: char| character.is_alphanumeric() || "-_.".contains(character);
            if !file.name.chars().all(plain) {
                let message = "expected letters, digits, `-`, `_` and `.`: files are called so";
                self.problem(&format!("{path}.name"), message, None);
            }
            pipelines.extend(self.pipeline(&path, file, scenario));
        }
        pipelines
    }

    fn pipeline(&mut self, path: &str, file: &PipelineFile, scenario: &ScenarioFile) -> Option<Pipeline> {
        let requests =
            self.requests(&format!("{path}.requests"), &file.requests, BLOCK_TOKENS, scenario.seed);
        let names: Vec<&str> = file.stage.iter().map(name_of).collect();
        for (place, name) in names.iter().enumerate() {
            let own = format!("{path}.stage[{place}]");
            if names[..place].contains(name) {
                let field = if file.stage[place].name.is_some() { "name" } else { "service" };
                let message = format!("there is another stage `{name}`");
                let help = file.stage[place].name.is_none().then(|| "give it a `name` of its own".to_owned());
                self.problem(&format!("{own}.{field}"), message, help);
            }
        }
        let stages: Vec<Option<Stage>> = file
            .stage
            .iter()
            .enumerate()
            .map(|(place, stage)| self.stage(&format!("{path}.stage[{place}]"), stage, &names, scenario))
            .collect();
        let stages = stages.into_iter().collect::<Option<Vec<_>>>()?;
        self.check_stages(path, &stages, scenario)?;
        Some(Pipeline {
            name: file.name.clone(),
            requests: requests?,
            stages,
            latency_objective_s: file.slo.latency_s,
        })
    }

    fn stage(
        &mut self,
        path: &str,
        file: &StageFile,
        names: &[&str],
        scenario: &ScenarioFile,
    ) -> Option<Stage> {
        let is_language = scenario.service.iter().any(|one| one.name == file.service);
        let is_classical = scenario.classical_service.iter().any(|one| one.name == file.service);
        if !is_language && !is_classical {
            let language = scenario.service.iter().map(|one| one.name.as_str());
            let all = language.chain(scenario.classical_service.iter().map(|one| one.name.as_str()));
            let message = format!("there is no service `{}`", file.service);
            self.problem(&format!("{path}.service"), message, Some(suggest::hint(&file.service, all)));
        }
        let tokens = [
            ("prompt", file.prompt.is_some()),
            ("output", file.output.is_some()),
            ("adds_answers", file.adds_answers),
        ];
        for (field, _) in tokens.into_iter().filter(|&(_, given)| given && is_classical && !is_language) {
            let message = format!("expected none: `{}` is a classical service, without tokens", file.service);
            self.problem(&format!("{path}.{field}"), message, None);
        }
        let mut after = Vec::new();
        for (place, name) in file.after.iter().enumerate() {
            let own = format!("{path}.after[{place}]");
            match names.iter().position(|known| known == name) {
                None => {
                    let help = suggest::hint(name, names.iter().copied());
                    self.problem(&own, format!("there is no stage `{name}`"), Some(help));
                }
                Some(known) if after.contains(&known) => {
                    self.problem(&own, format!("stage `{name}` is listed twice"), None);
                }
                Some(known) => after.push(known),
            }
        }
        let lengths = self.stage_lengths(path, file, scenario.seed)?;
        Some(Stage {
            name: name_of(file).to_owned(),
            service: file.service.clone(),
            after,
            requests: file.requests,
            probability: file.probability,
            lengths,
            adds_answers: file.adds_answers,
        })
    }

    fn stage_lengths(&mut self, path: &str, file: &StageFile, seed: u64) -> Option<StageLengths> {
        let (has_prompt, has_output) = (file.prompt.is_some(), file.output.is_some());
        if !has_prompt && !has_output {
            return Some(StageLengths { drawn: None, has_prompt, has_output });
        }
        let law = |file: &Option<CountFile>| file.as_ref().map_or(CountLaw::Constant { count: 1 }, count_law);
        let config = RequestGeneratorConfig {
            // Only lengths are drawn.
            arrival: RequestArrival::Constant { rate_per_s: 1e9 },
            lengths: LengthsLaw::Independent { prompt: law(&file.prompt), output: law(&file.output) },
            target: Target { model: String::new(), priority: 0, max_model_tokens: TOKENS_MAX },
        };
        match RequestGenerator::new(&config, seed) {
            Ok(_) => Some(StageLengths { drawn: Some(config), has_prompt, has_output }),
            Err(GenerateError { field, expected, got }) => {
                // There the laws are fields of one more table.
                let field = field.strip_prefix("lengths.").unwrap_or(&field);
                self.problem(&format!("{path}.{field}"), format!("expected {expected}, got {got}"), None);
                None
            }
        }
    }

    /// That every stage can begin at some time, and that answers become prompts only where there are any.
    fn check_stages(&mut self, path: &str, stages: &[Stage], scenario: &ScenarioFile) -> Option<()> {
        let answers = |place: &usize| scenario.service.iter().any(|one| one.name == stages[*place].service);
        for (place, stage) in stages.iter().enumerate() {
            if stage.adds_answers && !stage.after.iter().any(answers) {
                let message = "expected a stage in `after` whose answers have tokens: one of a `service`";
                self.problem(&format!("{path}.stage[{place}].adds_answers"), message, None);
            }
        }
        // Stages are done one after another until all are, or those that are left wait for one another.
        let mut done = vec![false; stages.len()];
        while let Some(next) = (0..stages.len())
            .find(|&place| !done[place] && stages[place].after.iter().all(|&after| done[after]))
        {
            done[next] = true;
        }
        let Some(first) = done.iter().position(|&done| !done) else { return Some(()) };
        let mut walk = vec![first];
        let cycle = loop {
            let last = walk[walk.len() - 1];
            // One that is not done waits for another that is not.
            let next = stages[last].after.iter().copied().find(|&after| !done[after])?;
            if let Some(start) = walk.iter().position(|&known| known == next) {
                break walk.split_off(start);
            }
            walk.push(next);
        };
        let names = cycle.iter().chain(cycle.first()).map(|&place| format!("`{}`", stages[place].name));
        let names: Vec<String> = names.collect();
        let message = format!("waits for itself: {}", names.join(" after "));
        self.problem(&format!("{path}.stage[{}].after", cycle[0]), message, None);
        None
    }
}

fn name_of(stage: &StageFile) -> &str {
    stage.name.as_deref().unwrap_or(&stage.service)
}

/// Whether a stage asks a service: then it needs no requests of its own.
pub(super) fn is_asked(scenario: &ScenarioFile, service: &str) -> bool {
    scenario.pipeline.iter().flat_map(|pipeline| &pipeline.stage).any(|stage| stage.service == service)
}
