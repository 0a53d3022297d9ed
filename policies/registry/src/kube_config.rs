//! What a `KubeSchedulerConfiguration` says. The text is parsed elsewhere, with the line of what is wrong.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foretell_default::DefaultConfig;

/// A configuration of kube-scheduler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KubeConfig {
    /// Its profiles; there is at least one.
    pub profiles: Vec<KubeProfile>,
}

/// A profile of kube-scheduler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KubeProfile {
    /// The `spec.schedulerName` of the pods that it schedules.
    pub scheduler_name: Box<str>,
    /// Its plugins and their arguments.
    pub config: DefaultConfig,
}

impl KubeConfig {
    /// The profile of kube-scheduler's own name, else the first.
    pub fn main_profile(&self) -> Option<&KubeProfile> {
        let named = self.profiles.iter().find(|profile| &*profile.scheduler_name == "default-scheduler");
        named.or_else(|| self.profiles.first())
    }
}
