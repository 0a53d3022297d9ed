//! Which plugins rejected a pod.

use foretell_framework::{Rejection, Rejections};

use crate::config::KubePlugin;

/// A set of plugins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct PluginSet(u16);

impl PluginSet {
    /// Those that may let a pod in once others leave a node.
    pub(crate) const HELPED_BY_ROOM: Self = Self::of(&[
        KubePlugin::NodePorts,
        KubePlugin::NodeResourcesFit,
        KubePlugin::PodTopologySpread,
        KubePlugin::InterPodAffinity,
    ]);

    /// Those that may let a pod in once others come to a node.
    pub(crate) const HELPED_BY_COMPANY: Self =
        Self::of(&[KubePlugin::PodTopologySpread, KubePlugin::InterPodAffinity]);

    pub(crate) const fn of(plugins: &[KubePlugin]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < plugins.len() {
            bits |= 1 << plugins[index] as u16;
            index += 1;
        }
        Self(bits)
    }

    pub(crate) const fn contains(self, plugin: KubePlugin) -> bool {
        self.0 >> plugin as u16 & 1 == 1
    }

    /// The plugins of both.
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets have a plugin in common.
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = KubePlugin> {
        KubePlugin::ALL.into_iter().filter(move |&plugin| self.contains(plugin))
    }

    /// The plugins behind rejections.
    pub(crate) fn behind(rejections: &Rejections) -> Self {
        Self(rejections.counts.iter().fold(0, |bits, &(rejection, _)| bits | plugins_behind(rejection).0))
    }
}

/// The plugins that may be behind a rejection. A node without the GPUs that a pod asks for is none that room would help,
/// though in Kubernetes it lacks a resource like any other.
const fn plugins_behind(rejection: Rejection) -> PluginSet {
    match rejection {
        Rejection::Unschedulable => PluginSet::of(&[KubePlugin::NodeUnschedulable]),
        Rejection::NodeName => PluginSet::of(&[KubePlugin::NodeName]),
        Rejection::UntoleratedTaint => PluginSet::of(&[KubePlugin::TaintToleration]),
        Rejection::EnforcedNodeAffinity | Rejection::NodeAffinity => {
            PluginSet::of(&[KubePlugin::NodeAffinity])
        }
        Rejection::TooManyTasks
        | Rejection::InsufficientCpu
        | Rejection::InsufficientMemory
        | Rejection::InsufficientExtended
        | Rejection::InsufficientGpu
        | Rejection::TooLittleCpu
        | Rejection::TooLittleMemory
        | Rejection::TooLittleExtended => PluginSet::of(&[KubePlugin::NodeResourcesFit]),
        Rejection::HostPort => PluginSet::of(&[KubePlugin::NodePorts]),
        Rejection::TopologySpread | Rejection::TopologyKeyMissing => {
            PluginSet::of(&[KubePlugin::PodTopologySpread])
        }
        Rejection::PodAffinity | Rejection::PodAntiAffinity | Rejection::ExistingPodAntiAffinity => {
            PluginSet::of(&[KubePlugin::InterPodAffinity])
        }
        // Which filter failed beside the nominated pods is not kept.
        Rejection::Nominated => PluginSet::HELPED_BY_ROOM,
        _ => PluginSet::of(&[]),
    }
}
