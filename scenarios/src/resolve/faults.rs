//! What fails.

use std::collections::BTreeMap;

use foretell_fabric::network::Network;
use foretell_sim::framework::NodeId;
use foretell_sim::platform::{
    BlockRule, FailurePolicy, FaultKind, FaultRate, Faults, NodeCheck, OnFailure, Place, Repair,
    RepairSpread, RolePolicy, ScheduledFault, Stragglers,
};

use super::Resolver;
use crate::file::{
    DeviceRateFile, FaultKindFile, FaultPreset, FaultRateFile, FaultsFile, OnFailureFile, RepairSpreadFile,
    RoleFailureFile, RoleFile, ScheduledFaultFile, SizeFile,
};
use crate::scenario::{Fabric, NodeGroup};
use crate::suggest;

/// Seconds in a thousand days.
const THOUSAND_DAYS_S: f64 = 86.4e6;

impl Resolver<'_, '_> {
    /// What fails on a cluster of these nodes, with jobs that have pods of these roles.
    pub(super) fn faults(
        &mut self,
        file: Option<&FaultsFile>,
        nodes: &[NodeGroup],
        fabric: Option<&Fabric>,
        communicates: bool,
        roles: &[&str],
    ) -> Option<Faults> {
        let file = file?;
        let network = fabric.filter(|_| communicates).and_then(|fabric| fabric.network().ok());
        let mean = self.span("faults.repair_time_s", file.repair_time_s);
        let spread = match file.repair_spread {
            RepairSpreadFile::Fixed => RepairSpread::Fixed,
            RepairSpreadFile::Exponential => RepairSpread::Exponential,
            RepairSpreadFile::LogNormal => RepairSpread::LogNormal(file.repair_sigma),
        };
        let preset = file.preset.map(|FaultPreset::Llama3| LLAMA3_INTERRUPTIONS);
        let mut rate = |kind: FaultKind| {
            let own = file.rate(kind);
            if kind.is_of_fabric() && own.is_some() {
                self.is_part(&format!("faults.{}", kind.name()), kind, network.as_ref());
            }
            let counts = preset.filter(|_| !kind.is_of_fabric());
            let published = counts.map_or(0.0, |counts| counts[kind as usize] / LLAMA3_THOUSAND_NODE_DAYS);
            let per_1000_node_days = own.map_or(published, |rate| rate.per_1000_node_days);
            let repair_time_s = own.and_then(|rate| rate.repair_time_s);
            let path = format!("faults.{}.repair_time_s", kind.name());
            let mean = repair_time_s.map_or(mean, |seconds| self.span(&path, seconds));
            let repair = Repair { mean: crate::assemble::time(mean), spread };
            FaultRate { per_node_s: per_1000_node_days / THOUSAND_DAYS_S, repair }
        };
        let rates = std::array::from_fn(|index| rate(FaultKind::ALL[index]));
        let fabric_rates = std::array::from_fn(|index| rate(FaultKind::ALL[FaultKind::OF_NODES + index]));
        let detection = crate::assemble::time(self.span("faults.detection_time_s", file.detection_time_s));
        let policy = FailurePolicy {
            on_failure: on_failure(file.on_failure),
            max_retries: file.max_retries,
            roles: self.role_policies(file, roles),
        };
        let node_count: usize = nodes.iter().map(|group| group.names.len()).sum();
        if file.spares as usize >= node_count && node_count > 0 {
            let message =
                format!("expected fewer than the cluster has nodes ({node_count}), got {}", file.spares);
            self.problem("faults.spares", message, None);
        }
        let block = file.block.map(|block| BlockRule {
            failures: block.failures,
            window: crate::assemble::time(self.span("faults.block.window_s", block.window_s)),
        });
        let stragglers = file.stragglers.map(|stragglers| Stragglers {
            share: stragglers.share,
            speed_millionths: (stragglers.speed * 1e6).round() as u32,
            detection: stragglers.detection_time_s.map(|seconds| {
                crate::assemble::time(self.span("faults.stragglers.detection_time_s", seconds))
            }),
        });
        let check = file.check.map(|check| NodeCheck {
            time: crate::assemble::time(self.span("faults.check.time_s", check.time_s)),
            catches: check.catches,
        });
        let scheduled = self.scheduled_faults(file, nodes, network.as_ref());
        Some(Faults {
            rates,
            fabric_rates,
            scheduled,
            detection,
            policy,
            spares: file.spares,
            block,
            stragglers,
            check,
        })
    }

    /// Whether there are parts of this kind to fail, and jobs that send over them.
    fn is_part(&mut self, path: &str, kind: FaultKind, network: Option<&Network>) -> bool {
        let Some(network) = network else {
            let help = "it takes `cluster.fabric`, and `workload.communication` to say what is sent over it";
            self.problem(path, "there is no fabric that anything is sent over", Some(help.to_owned()));
            return false;
        };
        let has_any = kind.parts(network) > 0;
        if !has_any {
            self.problem(path, "the fabric has none of these", None);
        }
        has_any
    }

    /// Which switch or link is meant, of a kind that there is.
    fn fabric_place(&mut self, path: &str, fault: &ScheduledFaultFile, network: &Network) -> Option<Place> {
        let kind = fault_kind(fault.kind);
        let wanted: &[&str] = match kind {
            FaultKind::LeafLink => &["leaf", "spine"],
            FaultKind::SpineLink => &["spine", "core"],
            FaultKind::LeafSwitch => &["leaf"],
            FaultKind::SpineSwitch => &["spine"],
            _ => &["core"],
        };
        let given = [("leaf", fault.leaf), ("spine", fault.spine), ("core", fault.core)];
        let named: Vec<&str> =
            given.iter().filter(|(_, number)| number.is_some()).map(|&(name, _)| name).collect();
        if named != wanted || fault.node.is_some() {
            let message =
                format!("expected `{}` and no other place beside this `kind`", wanted.join("` and `"));
            self.problem(&format!("{path}.kind"), message, None);
            return None;
        }
        let numbers: Vec<u32> = given.iter().filter_map(|&(_, number)| number).collect();
        let is_meant = |place: &Place| match *place {
            Place::Cable { below, above, .. } => numbers == [below, above],
            Place::Switch(number) => numbers == [number],
            Place::Node(_) => false,
        };
        let place = (0..kind.parts(network)).map(|number| kind.place(network, number)).find(is_meant);
        if place.is_none() {
            self.problem(path, "the fabric has no such switch or link", None);
        }
        place
    }

    fn scheduled_faults(
        &mut self,
        file: &FaultsFile,
        groups: &[NodeGroup],
        network: Option<&Network>,
    ) -> Vec<ScheduledFault> {
        if file.at.is_empty() {
            return Vec::new();
        }
        let nodes = groups.iter().flat_map(|group| {
            let gpus = group.node_type.gpus.as_ref().map_or(0, |gpus| gpus.count);
            group.names.iter().map(move |name| (name.as_str(), gpus))
        });
        let nodes: BTreeMap<&str, (usize, u32)> =
            nodes.enumerate().map(|(index, (name, gpus))| (name, (index, gpus))).collect();
        let mut scheduled = Vec::with_capacity(file.at.len());
        for (i, fault) in file.at.iter().enumerate() {
            let path = |field: &str| format!("faults.at[{i}].{field}");
            let at = crate::assemble::time(self.span(&path("time_s"), fault.time_s));
            let duration = fault
                .duration_s
                .map(|seconds| crate::assemble::time(self.span(&path("duration_s"), seconds)));
            let kind = fault_kind(fault.kind);
            if kind.is_of_fabric() {
                let at_fault = format!("faults.at[{i}]");
                let network = network.filter(|_| self.is_part(&path("kind"), kind, network));
                let place = network.and_then(|network| self.fabric_place(&at_fault, fault, network));
                scheduled.extend(place.map(|place| ScheduledFault {
                    at,
                    place,
                    kind,
                    device: None,
                    duration,
                }));
                continue;
            }
            let switches = [("leaf", fault.leaf), ("spine", fault.spine), ("core", fault.core)];
            for (field, _) in switches.iter().filter(|(_, number)| number.is_some()) {
                self.problem(&path(field), "expected none beside this `kind`", None);
            }
            let Some(name) = &fault.node else {
                self.problem(&format!("faults.at[{i}]"), "missing field `node`", None);
                continue;
            };
            let Some(&(node, gpus)) = nodes.get(name.as_str()) else {
                if !nodes.is_empty() {
                    let help = suggest::hint(name, nodes.keys().copied());
                    self.problem(&path("node"), format!("unknown node `{name}`"), Some(help));
                }
                continue;
            };
            if let Some(gpu) = fault.gpu.filter(|_| kind != FaultKind::Gpu) {
                let message = format!("expected none beside this `kind`, got {gpu}");
                self.problem(&path("gpu"), message, None);
            } else if kind == FaultKind::Gpu && fault.gpu.unwrap_or(0) >= gpus {
                let message = format!("node `{name}` has {gpus} GPUs, counted from 0");
                self.problem(&path(if fault.gpu.is_some() { "gpu" } else { "kind" }), message, None);
            }
            let place = Place::Node(NodeId::new(node));
            scheduled.push(ScheduledFault { at, place, kind, device: fault.gpu, duration });
        }
        scheduled.sort_by_key(|fault| fault.at);
        scheduled
    }

    /// What jobs of a size do when pods of them fail, if they say it. What a size says of a role or of all comes before what `[faults]` says
    /// of a role or of all.
    pub(super) fn failure_policy(
        &mut self,
        index: usize,
        size: &SizeFile,
        faults: Option<&FaultsFile>,
    ) -> Option<FailurePolicy> {
        let says = |role: &RoleFile| role.on_failure.is_some() || role.max_retries.is_some();
        if size.on_failure.is_none() && size.max_retries.is_none() && !size.roles.iter().any(says) {
            return None;
        }
        if faults.is_none() {
            let path = format!("workload.synthetic.sizes[{index}]");
            let help = "add a section `[faults]`, or leave out `on_failure` and `max_retries`".to_owned();
            self.problem(&path, "what to do on failure is said, but nothing fails", Some(help));
        }
        let default = faults.cloned().unwrap_or_default();
        let own = size.roles.iter().map(|role| (&role.name, role.on_failure, role.max_retries));
        let is_own = |role: &&RoleFailureFile| size.roles.iter().all(|own| own.name != role.name);
        let others = default.roles.iter().filter(is_own).map(|role| (&role.name, None, None));
        let roles = own.chain(others).map(|(name, action, retries)| {
            let of_all = default.roles.iter().find(|role| role.name == *name);
            let action = action.or(size.on_failure).or_else(|| of_all?.on_failure);
            let max_retries = retries.or_else(|| of_all?.max_retries);
            RolePolicy {
                role: name.as_str().into(),
                on_failure: on_failure(action.unwrap_or(default.on_failure)),
                max_retries,
            }
        });
        Some(FailurePolicy {
            roles: roles.collect(),
            on_failure: on_failure(size.on_failure.unwrap_or(default.on_failure)),
            max_retries: size.max_retries.or(default.max_retries),
        })
    }

    /// What differs for pods of a role. `known` are the roles of jobs.
    fn role_policies(&mut self, file: &FaultsFile, known: &[&str]) -> Vec<RolePolicy> {
        let mut found: Vec<RolePolicy> = Vec::new();
        for (index, role) in file.roles.iter().enumerate() {
            let path = format!("faults.roles[{index}].name");
            if found.iter().any(|other| *other.role == *role.name) {
                self.problem(&path, format!("there is another role `{}`", role.name), None);
            }
            if !known.contains(&role.name.as_str()) {
                let help = suggest::hint(&role.name, known.iter().copied());
                self.problem(&path, format!("no job has pods of a role `{}`", role.name), Some(help));
            }
            found.push(RolePolicy {
                role: role.name.as_str().into(),
                on_failure: on_failure(role.on_failure.unwrap_or(file.on_failure)),
                max_retries: role.max_retries,
            });
        }
        found
    }
}

impl FaultsFile {
    pub(super) fn rate(&self, kind: FaultKind) -> Option<FaultRateFile> {
        let of_devices = |rate: Option<DeviceRateFile>| {
            rate.map(|DeviceRateFile { per_1000_device_days, repair_time_s }| FaultRateFile {
                per_1000_node_days: per_1000_device_days,
                repair_time_s,
            })
        };
        match kind {
            FaultKind::LeafLink => of_devices(self.leaf_link),
            FaultKind::SpineLink => of_devices(self.spine_link),
            FaultKind::LeafSwitch => of_devices(self.leaf_switch),
            FaultKind::SpineSwitch => of_devices(self.spine_switch),
            FaultKind::CoreSwitch => of_devices(self.core_switch),
            FaultKind::Node => self.node,
            FaultKind::Gpu => self.gpu,
            FaultKind::Nic => self.nic,
            FaultKind::Link => self.link,
            FaultKind::Software => self.software,
        }
    }
}

/// Unexpected interruptions of Llama 3 405B's training by what failed, in the order of [`FaultKind::ALL`] (the fabric's are in `link`), from the causes in
/// the paper's table 5 ("The Llama 3 Herd of Models", 2024; it prints 419 in all): nodes are host maintenance 32, SSD 3, power
/// 3, chassis 2, IO boards 2, CPU 2 and memory 2; GPUs are faulty GPUs 148, HBM3 72, SRAM 19, GPU processors 17, silent
/// corruption 6, thermal and sensors 6; software is bugs 54, NCCL's watchdog 7 and dependencies 2.
const LLAMA3_INTERRUPTIONS: [f64; FaultKind::OF_NODES] = [46.0, 268.0, 7.0, 35.0, 63.0];

/// 2,048 nodes of eight GPUs for 54 days.
const LLAMA3_THOUSAND_NODE_DAYS: f64 = 110.592;

const fn on_failure(file: OnFailureFile) -> OnFailure {
    match file {
        OnFailureFile::RestartJob => OnFailure::RestartJob,
        OnFailureFile::RestartPod => OnFailure::RestartPod,
        OnFailureFile::Fail => OnFailure::Fail,
    }
}

const fn fault_kind(file: FaultKindFile) -> FaultKind {
    match file {
        FaultKindFile::Node => FaultKind::Node,
        FaultKindFile::Gpu => FaultKind::Gpu,
        FaultKindFile::Nic => FaultKind::Nic,
        FaultKindFile::Link => FaultKind::Link,
        FaultKindFile::Software => FaultKind::Software,
        FaultKindFile::LeafLink => FaultKind::LeafLink,
        FaultKindFile::SpineLink => FaultKind::SpineLink,
        FaultKindFile::LeafSwitch => FaultKind::LeafSwitch,
        FaultKindFile::SpineSwitch => FaultKind::SpineSwitch,
        FaultKindFile::CoreSwitch => FaultKind::CoreSwitch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3s_causes_add_up() {
        let all: f64 = LLAMA3_INTERRUPTIONS.iter().sum();
        assert_eq!(all as u32, 419);
        // 3.8 failures in a thousand node-days, one in 50,700 GPU-hours, one in 3.1 hours of the job.
        let per_1000_node_days = all / LLAMA3_THOUSAND_NODE_DAYS;
        assert!((per_1000_node_days - 3.8).abs() < 0.05, "{per_1000_node_days}");
        let gpu_hours = 1000.0 * 24.0 * 8.0 / per_1000_node_days;
        assert!((gpu_hours - 50_700.0).abs() < 50.0, "{gpu_hours}");
        let rates = LLAMA3_INTERRUPTIONS.map(|count| FaultRate {
            per_node_s: count / LLAMA3_THOUSAND_NODE_DAYS / THOUSAND_DAYS_S,
            ..FaultRate::default()
        });
        let faults = Faults { rates, ..Faults::default() };
        let mttf_h = |nodes| 1.0 / faults.of_job(nodes, nodes as f64) / 3600.0;
        assert!((mttf_h(2048) - 3.1).abs() < 0.05, "{}", mttf_h(2048));
        // In proportion to nodes.
        assert!((mttf_h(256) / mttf_h(2048) - 8.0).abs() < 1e-9);
    }
}
