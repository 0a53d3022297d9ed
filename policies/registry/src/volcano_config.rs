//! What `volcano-scheduler.conf` says. The text is parsed elsewhere, with the line of what is wrong.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use foretell_framework::tier::Switches;

/// Actions that Volcano has.
pub const VOLCANO_ACTIONS: [&str; 8] =
    ["enqueue", "allocate", "backfill", "preempt", "reclaim", "gangpreempt", "gangreclaim", "shuffle"];

/// Plugins that Volcano has.
pub const VOLCANO_PLUGINS: [&str; 27] = [
    "binpack",
    "capacity",
    "capacitycard",
    "cdp",
    "conformance",
    "crossquota",
    "deviceshare",
    "drf",
    "extender",
    "gang",
    "network-topology-aware",
    "nodegroup",
    "nodeorder",
    "numaaware",
    "overcommit",
    "pdb",
    "predicates",
    "priority",
    "proportion",
    "rescheduling",
    "resource-strategy-fit",
    "resourcequota",
    "sla",
    "task-topology",
    "tdm",
    "usage",
    "volume-binding",
];

/// A configuration of Volcano's scheduler.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct VolcanoConfig {
    /// Actions of a cycle, in order; names among [`VOLCANO_ACTIONS`].
    pub actions: Vec<Box<str>>,
    /// Plugins by tier.
    pub tiers: Vec<Vec<VolcanoPlugin>>,
    /// Arguments of actions (`configurations`).
    pub action_arguments: BTreeMap<Box<str>, Arguments>,
}

/// An argument of preempt and reclaim that is foretell's own: a gang that cannot spare a task may be taken as a whole.
/// Volcano has an action of its own for that (`gangreclaim`).
pub(crate) const WHOLE_GANGS: &str = "foretell.wholeGangs";

impl VolcanoConfig {
    /// Whether an action may take a gang as a whole.
    pub fn takes_whole_gangs(&self, action: &str) -> bool {
        self.arguments_of(action).and_then(|arguments| arguments.boolean(WHOLE_GANGS)).unwrap_or(false)
    }

    /// The arguments of an action, if it has any.
    pub fn arguments_of(&self, action: &str) -> Option<&Arguments> {
        self.action_arguments.get(action)
    }
}

/// A plugin of a tier.
#[derive(Clone, PartialEq, Debug)]
pub struct VolcanoPlugin {
    /// Its name among [`VOLCANO_PLUGINS`].
    pub name: Box<str>,
    /// On what it is asked. What the file does not mention is on.
    pub switches: Switches,
    /// Its arguments.
    pub arguments: Arguments,
}

/// Arguments of a plugin or action, by name. As in Volcano, an argument that cannot be read as what is asked for counts
/// as absent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Arguments(pub BTreeMap<Box<str>, Argument>);

/// An argument.
#[derive(Clone, PartialEq, Debug)]
pub enum Argument {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(Box<str>),
    /// A list.
    List(Vec<Self>),
    /// Arguments within an argument.
    Map(Arguments),
}

impl Arguments {
    /// An argument by name.
    pub fn get(&self, name: &str) -> Option<&Argument> {
        self.0.get(name)
    }

    /// A truth value.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Argument::Bool(value) => Some(*value),
            Argument::Text(text) => match text.trim() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Argument::Integer(value) => Some(*value),
            Argument::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A number.
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Argument::Float(value) => Some(*value),
            Argument::Integer(value) => Some(*value as f64),
            Argument::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Argument::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Arguments within an argument.
    pub fn map(&self, name: &str) -> Option<&Self> {
        match self.get(name)? {
            Argument::Map(map) => Some(map),
            _ => None,
        }
    }
}
