//! Reads `slurm.conf`, and lines of the same form for what Slurm keeps in its accounting database.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use foretell_framework::Time;
use thiserror::Error;

use crate::config::{Account, Partition, PreemptMode, PreemptType, Qos, SlurmConfig, Tres, User};
use crate::fair_share::Fairness;

/// What is wrong with a configuration, and where.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{line}: {key}: {message}")]
pub struct SlurmError {
    /// The line, from 1.
    pub line: usize,
    /// The key that it is about.
    pub key: String,
    /// What was expected, and what is there.
    pub message: String,
}

const SECOND_NANOS: u64 = 1_000_000_000;

/// Keys that say how to schedule and are not listened to; others that are not known are not about scheduling.
const SCHEDULING: [&str; 6] = ["priority", "preempt", "scheduler", "fairshare", "jobrequeue", "enforcepart"];

/// Reads a configuration: `slurm.conf`, with lines `QOS=`, `Account=` and `User=` beside it that say what `sacctmgr`
/// would be told. Returns it with what of it has no effect. What is not said is Slurm's default.
pub fn parse(text: &str) -> Result<(SlurmConfig, Vec<String>), SlurmError> {
    let mut reader = Reader { config: SlurmConfig::slurm_defaults(), warnings: Vec::new() };
    for (index, line) in text.lines().enumerate() {
        let line_text = line.split('#').next().unwrap_or_default();
        let words: Vec<Word<'_>> = line_text
            .split_whitespace()
            .map(|word| {
                let (key, value) = word.split_once('=').unwrap_or((word, ""));
                Word { line: index + 1, key, value }
            })
            .collect();
        if let Some(word) = words.iter().find(|word| !line_text.contains(&format!("{}=", word.key))) {
            return Err(word.error("expected KEY=VALUE"));
        }
        if let Some((first, rest)) = words.split_first() {
            reader.line(*first, rest)?;
        }
    }
    let Reader { config, warnings } = reader;
    Ok((config, warnings))
}

#[derive(Clone, Copy)]
struct Word<'a> {
    line: usize,
    key: &'a str,
    value: &'a str,
}

impl Word<'_> {
    fn is(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key)
    }

    fn error(&self, message: impl Into<String>) -> SlurmError {
        SlurmError { line: self.line, key: self.key.to_string(), message: message.into() }
    }

    fn expected(&self, expected: &str) -> SlurmError {
        self.error(format!("expected {expected}, got `{}`", self.value))
    }

    fn number<T: core::str::FromStr>(&self) -> Result<T, SlurmError> {
        self.value.parse().map_err(|_| self.expected("a whole number"))
    }

    fn is_yes(&self) -> Result<bool, SlurmError> {
        match &*self.value.to_ascii_lowercase() {
            "yes" | "up" => Ok(true),
            "no" | "down" => Ok(false),
            _ => Err(self.expected("YES or NO")),
        }
    }

    /// `D-HH:MM:SS`, `HH:MM:SS`, `MM:SS`, `D-HH`, or minutes; `None` for no limit.
    fn span(&self) -> Result<Option<Time>, SlurmError> {
        let text = self.value;
        if ["infinite", "unlimited", "-1"].iter().any(|none| text.eq_ignore_ascii_case(none)) {
            return Ok(None);
        }
        span_s(text)
            .and_then(|seconds| seconds.checked_mul(SECOND_NANOS))
            .map(|nanos| Some(Time::from_nanos(nanos)))
            .ok_or_else(|| self.expected("a time such as 1-12:30:00, 12:30:00 or minutes"))
    }

    fn list(&self) -> Vec<Box<str>> {
        self.value.split(',').filter(|name| !name.is_empty()).map(Into::into).collect()
    }

    fn mode(&self, warnings: &mut Vec<String>) -> Result<PreemptMode, SlurmError> {
        let mut mode = None;
        for name in self.value.split(',') {
            match &*name.to_ascii_lowercase() {
                "off" => mode = Some(PreemptMode::Off),
                "requeue" => mode = Some(PreemptMode::Requeue),
                "cancel" | "suspend" => {
                    mode = Some(PreemptMode::Requeue);
                    warnings.push(format!("{}: {}: {name} requeues here", self.line, self.key));
                }
                "gang" => {}
                _ => return Err(self.expected("OFF, REQUEUE, CANCEL, SUSPEND or GANG")),
            }
        }
        mode.ok_or_else(|| self.expected("OFF, REQUEUE, CANCEL or SUSPEND"))
    }

    fn tres(&self) -> Result<Tres, SlurmError> {
        let mut tres = Tres::default();
        for item in self.value.split(',') {
            let wrong = || self.expected("amounts such as cpu=64,gres/gpu=8,mem=512G,node=4");
            let (name, amount) = item.split_once('=').ok_or_else(wrong)?;
            let number =
                || amount.parse::<u64>().ok().filter(|&number| number <= u64::MAX / 1000).ok_or_else(wrong);
            match name {
                "cpu" => tres.cpu_milli = Some(number()? * 1000),
                "gres/gpu" => tres.gpu_milli = Some(number()? * 1000),
                "node" => tres.nodes = Some(number()?),
                "mem" => tres.memory_bytes = Some(memory(amount).ok_or_else(wrong)?),
                _ => return Err(wrong()),
            }
        }
        Ok(tres)
    }
}

fn span_s(text: &str) -> Option<u64> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), rest),
        None => (None, text),
    };
    let parts = rest.split(':').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
    let seconds = match (days, &*parts) {
        (_, &[hours, minutes, seconds]) => hours.checked_mul(3600)? + minutes.checked_mul(60)? + seconds,
        (Some(_), &[hours, minutes]) => hours.checked_mul(3600)? + minutes.checked_mul(60)?,
        (Some(_), &[hours]) => hours.checked_mul(3600)?,
        (None, &[minutes, seconds]) => minutes.checked_mul(60)? + seconds,
        (None, &[minutes]) => minutes.checked_mul(60)?,
        _ => return None,
    };
    days.unwrap_or(0).checked_mul(86_400)?.checked_add(seconds)
}

/// Bytes of `512G`, or megabytes without a unit.
fn memory(text: &str) -> Option<u64> {
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let unit = units.into_iter().find_map(|(suffix, bits)| Some((text.strip_suffix(suffix)?, bits)));
    let (number, bits) = unit.unwrap_or((text, 20));
    number.parse::<u64>().ok().filter(|&number| number < 1 << 12 || bits < 40)?.checked_mul(1 << bits)
}

/// Names of `node[001-004,7],login`.
fn host_list(text: &str) -> Option<Vec<Box<str>>> {
    let (mut names, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let end = rest.find([',', '[']).unwrap_or(rest.len());
        let (stem, after) = rest.split_at(end);
        let Some(ranges) = after.strip_prefix('[') else {
            names.push(stem.into());
            rest = after.strip_prefix(',').unwrap_or(after);
            continue;
        };
        let (ranges, after) = ranges.split_once(']')?;
        for range in ranges.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (low, high): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            if high < low || high - low > 1_000_000 {
                return None;
            }
            let width = first.len();
            names.extend((low..=high).map(|number| format!("{stem}{number:0width$}").into()));
        }
        rest = match after.strip_prefix(',') {
            Some(after) => after,
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(names)
}

struct Reader {
    config: SlurmConfig,
    warnings: Vec<String>,
}

impl Reader {
    fn line(&mut self, first: Word<'_>, rest: &[Word<'_>]) -> Result<(), SlurmError> {
        if first.is("PartitionName") {
            return self.partition(first, rest);
        }
        if first.is("QOS") {
            return self.qos(first, rest);
        }
        if first.is("Account") {
            return self.account(first, rest);
        }
        if first.is("User") {
            return self.user(first, rest);
        }
        // Nodes come from the scenario.
        if first.is("NodeName") {
            return Ok(());
        }
        self.option(first)?;
        rest.iter().try_for_each(|word| self.option(*word))
    }

    fn no_effect(&mut self, word: Word<'_>) {
        self.warnings.push(format!("{}: {} has no effect", word.line, word.key));
    }

    fn option(&mut self, word: Word<'_>) -> Result<(), SlurmError> {
        let config = &mut self.config;
        match &*word.key.to_ascii_lowercase() {
            "prioritytype" if word.value == "priority/multifactor" => {}
            "prioritytype" => return Err(word.expected("priority/multifactor")),
            "priorityweightage" => config.weights.age = word.number()?,
            "priorityweightfairshare" => config.weights.fair_share = word.number()?,
            "priorityweightjobsize" => config.weights.job_size = word.number()?,
            "priorityweightpartition" => config.weights.partition = word.number()?,
            "priorityweightqos" => config.weights.qos = word.number()?,
            "prioritymaxage" => config.max_age = word.span()?.unwrap_or(Time::MAX),
            "prioritydecayhalflife" => config.half_life = word.span()?.unwrap_or(Time::ZERO),
            "priorityfavorsmall" => config.favor_small = word.is_yes()?,
            "priorityflags" => {
                for flag in word.list() {
                    match &*flag.to_ascii_uppercase() {
                        "NO_FAIR_TREE" => config.fairness = Fairness::Classic,
                        "FAIR_TREE" => config.fairness = Fairness::Tree,
                        _ => self.warnings.push(format!("{}: {}: {flag} has no effect", word.line, word.key)),
                    }
                }
            }
            "preempttype" => {
                config.preempt = match word.value {
                    "preempt/none" => PreemptType::None,
                    "preempt/partition_prio" => PreemptType::PartitionPrio,
                    "preempt/qos" => PreemptType::Qos,
                    _ => return Err(word.expected("preempt/none, preempt/partition_prio or preempt/qos")),
                }
            }
            "preemptmode" => config.preempt_mode = word.mode(&mut self.warnings)?,
            "schedulertype" => {
                config.backfill = match word.value {
                    "sched/backfill" => true,
                    "sched/builtin" => false,
                    _ => return Err(word.expected("sched/backfill or sched/builtin")),
                }
            }
            "schedulerparameters" => return self.parameters(word),
            "tresbillingweights" => return self.billing(word),
            key if SCHEDULING.iter().any(|known| key.starts_with(known)) => self.no_effect(word),
            _ => {}
        }
        Ok(())
    }

    fn parameters(&mut self, word: Word<'_>) -> Result<(), SlurmError> {
        for item in word.value.split(',') {
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            let item = Word { line: word.line, key, value };
            match key {
                "bf_window" => {
                    let minutes: u32 = item.number()?;
                    self.config.window = Time::from_nanos(u64::from(minutes) * 60 * SECOND_NANOS);
                }
                "bf_max_job_test" => self.config.max_job_test = item.number()?,
                "bf_max_job_user" => {
                    self.config.max_job_user = Some(item.number()?).filter(|&jobs| jobs > 0);
                }
                // A pass is never interrupted here.
                "bf_continue" => {}
                _ => self.no_effect(item),
            }
        }
        Ok(())
    }

    fn billing(&mut self, word: Word<'_>) -> Result<(), SlurmError> {
        let billing = &mut self.config.billing;
        (billing.cpu, billing.gpu, billing.memory_gib) = (0.0, 0.0, 0.0);
        for item in word.value.split(',') {
            let wrong = || word.expected("weights such as CPU=1.0,Mem=0.25G,GRES/gpu=2.0");
            let (name, weight) = item.split_once('=').ok_or_else(wrong)?;
            let number = |text: &str| {
                text.parse::<f64>().ok().filter(|weight| (0.0..1e9).contains(weight)).ok_or_else(wrong)
            };
            match &*name.to_ascii_lowercase() {
                "cpu" => billing.cpu = number(weight)?,
                "gres/gpu" => billing.gpu = number(weight)?,
                "mem" => {
                    billing.memory_gib = match weight.strip_suffix('G') {
                        Some(weight) => number(weight)?,
                        None => number(weight.strip_suffix('M').unwrap_or(weight))? * 1024.0,
                    }
                }
                _ => return Err(wrong()),
            }
        }
        Ok(())
    }

    fn partition(&mut self, first: Word<'_>, rest: &[Word<'_>]) -> Result<(), SlurmError> {
        let mut partition = Partition {
            name: first.value.into(),
            nodes: None,
            tier: 1,
            job_factor: 1,
            max_time: None,
            max_nodes: None,
            preempt_mode: None,
            is_default: false,
        };
        for word in rest {
            match &*word.key.to_ascii_lowercase() {
                "nodes" if word.value.eq_ignore_ascii_case("ALL") => partition.nodes = None,
                "nodes" => {
                    let names =
                        host_list(word.value).ok_or_else(|| word.expected("names such as node[001-016]"))?;
                    partition.nodes = Some(names);
                }
                "prioritytier" => partition.tier = word.number()?,
                "priorityjobfactor" => partition.job_factor = word.number()?,
                "maxtime" => partition.max_time = word.span()?,
                "maxnodes" if word.value.eq_ignore_ascii_case("UNLIMITED") => partition.max_nodes = None,
                "maxnodes" => partition.max_nodes = Some(word.number()?),
                "preemptmode" => partition.preempt_mode = Some(word.mode(&mut self.warnings)?),
                "default" => partition.is_default = word.is_yes()?,
                _ => self.no_effect(*word),
            }
        }
        if self.config.partitions.iter().any(|known| known.name == partition.name) {
            return Err(first.error(format!("two partitions have the name `{}`", partition.name)));
        }
        self.config.partitions.push(partition);
        Ok(())
    }

    fn qos(&mut self, first: Word<'_>, rest: &[Word<'_>]) -> Result<(), SlurmError> {
        let mut qos = Qos { name: first.value.into(), ..Qos::default() };
        for word in rest {
            match &*word.key.to_ascii_lowercase() {
                "priority" => qos.priority = word.number()?,
                "grptres" => qos.group = word.tres()?,
                "grpjobs" => qos.group_jobs = Some(word.number()?),
                "maxtresperuser" | "maxtrespu" => qos.per_user = word.tres()?,
                "maxjobsperuser" | "maxjobspu" => qos.jobs_per_user = Some(word.number()?),
                "maxtresperjob" | "maxtres" => qos.per_job = word.tres()?,
                "maxwall" => qos.max_wall = word.span()?,
                "preempt" => qos.preempts = word.list(),
                "preemptmode" => qos.preempt_mode = Some(word.mode(&mut self.warnings)?),
                _ => self.no_effect(*word),
            }
        }
        if self.config.qos.iter().any(|known| known.name == qos.name) {
            return Err(first.error(format!("two QOS have the name `{}`", qos.name)));
        }
        self.config.qos.push(qos);
        Ok(())
    }

    fn account(&mut self, first: Word<'_>, rest: &[Word<'_>]) -> Result<(), SlurmError> {
        let mut account = Account { name: first.value.into(), parent: None, shares: 1 };
        let known: BTreeSet<&str> = self.config.accounts.iter().map(|account| &*account.name).collect();
        for word in rest {
            match &*word.key.to_ascii_lowercase() {
                "fairshare" => account.shares = word.number()?,
                "parent" if word.value == "root" => account.parent = None,
                "parent" if !known.contains(word.value) => {
                    return Err(word.expected("an account of a line before"));
                }
                "parent" => account.parent = Some(word.value.into()),
                _ => self.warnings.push(format!("{}: {} has no effect", word.line, word.key)),
            }
        }
        if known.contains(&*account.name) {
            return Err(first.error(format!("two accounts have the name `{}`", account.name)));
        }
        self.config.accounts.push(account);
        Ok(())
    }

    fn user(&mut self, first: Word<'_>, rest: &[Word<'_>]) -> Result<(), SlurmError> {
        let mut accounts = vec![Box::<str>::default()];
        let mut shares = 1;
        for word in rest {
            match &*word.key.to_ascii_lowercase() {
                "fairshare" => shares = word.number()?,
                "account" => {
                    accounts = word.list();
                    let is_unknown =
                        |name: &str| self.config.accounts.iter().all(|known| *known.name != *name);
                    if accounts.iter().any(|name| is_unknown(name)) {
                        return Err(word.expected("accounts of lines before"));
                    }
                }
                _ => self.warnings.push(format!("{}: {} has no effect", word.line, word.key)),
            }
        }
        self.config.users.extend(accounts.into_iter().map(|account| User {
            name: first.value.into(),
            account,
            shares,
        }));
        Ok(())
    }
}
