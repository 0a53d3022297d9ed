//! Which victims would violate a disruption budget.

use alloc::vec::Vec;

use foretell_framework::{ClusterState, TaskId};

/// Splits tasks, in their order, into those whose disruption violates a budget and those whose does not. Every task uses
/// up one disruption of each budget that protects it.
pub fn split_by_budgets(state: &ClusterState, tasks: &[TaskId]) -> (Vec<TaskId>, Vec<TaskId>) {
    let budgets = &state.objects().disruption_budgets;
    let mut allowed: Vec<_> = budgets.iter().map(|budget| i64::from(budget.disruptions_allowed)).collect();
    tasks.iter().partition(|&&task| {
        let (Some(entry), Some(spec)) = (state.task(task), state.task_spec(task)) else { return false };
        let mut violates = false;
        for (budget, allowed) in budgets.iter().zip(&mut allowed) {
            let selected = budget
                .selector
                .as_ref()
                .is_some_and(|selector| !selector.requirements.is_empty() && selector.matches(&spec.labels));
            if !spec.labels.is_empty()
                && selected
                && budget.namespace == spec.namespace
                && !budget.disrupted_tasks.contains(&entry.details.name)
            {
                *allowed -= 1;
                violates |= *allowed < 0;
            }
        }
        violates
    })
}
