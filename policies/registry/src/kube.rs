//! Profiles of kube-scheduler, from its configuration.

use alloc::string::ToString;
use alloc::vec;

use foretell_framework::Profile;

pub use foretell_default::{
    DefaultConfig, FitScoring, IgnoredResources, KubePlugin, KubeScore, PodAffinityConfig, PreemptionConfig,
    ScoringStrategy, SpreadDefaults, UtilizationShape, WeightedResource,
};

use crate::kube_config::KubeConfig;

/// The profile that schedules all pods: that of kube-scheduler's own name, else the first.
pub fn profile(config: &KubeConfig) -> Profile {
    config.main_profile().map_or_else(
        || build("default", &DefaultConfig::default()),
        |profile| build(&profile.scheduler_name, &profile.config),
    )
}

/// A profile with these plugins and arguments under a name.
pub fn build(name: &str, config: &DefaultConfig) -> Profile {
    let plugins = foretell_default::plugins(config);
    Profile::new(name.to_string(), plugins, vec![foretell_default::action(config)])
}
