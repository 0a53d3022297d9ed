//! Slurm's own configuration as a profile.

use foretell_scenarios::Plan;
use foretell_scenarios::sim::framework::{ClusterState, Time};
use foretell_scenarios::sim::log::{JobStatus, Observer, Record};

use crate::{check, read, with};

fn policies(config: &str) -> String {
    with(
        "policies = [\"default\"]",
        &format!(
            "policies = [\"site\", \"slurm\", \"slurm+spread\"]\n[[scheduler.profiles]]\nname = \"site\"\nconfig = '''\n{config}'''"
        ),
    )
}

struct Nobody;

impl Observer for Nobody {
    fn advance(&mut self, _from: Time, _to: Time, _state: &ClusterState) {}

    fn record(&mut self, _now: Time, _record: &Record<'_>, _state: &ClusterState) {}
}

#[test]
fn a_configuration_is_a_policy() {
    let text = policies("PriorityWeightAge=1000\nPartitionName=gpu Nodes=ALL Default=YES\n");
    let plan = Plan::new(read(&text, &[]).unwrap()).unwrap();
    for policy in ["site", "slurm", "slurm+spread"] {
        let result = plan.run(policy, &mut Nobody, &mut |_| ()).unwrap();
        assert!(result.jobs.iter().all(|job| job.status == JobStatus::Completed), "{policy}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    check(
        &policies("PriorityWeightAge=much\n"),
        "14:10: scheduler.profiles[0].config: site:1: PriorityWeightAge: expected a whole number, got `much`",
    );
}

#[test]
fn a_partition_without_any_node_of_the_cluster_is_refused() {
    let text = policies("PartitionName=gpu Nodes=node[1-4] Default=YES\n");
    let error = Plan::new(read(&text, &[]).unwrap()).err().unwrap().to_string();
    assert!(
        error.contains(
            "policy `site`: partition `gpu` names nodes that the cluster does not have, such as `node1`"
        ),
        "{error}"
    );
}
