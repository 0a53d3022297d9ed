//! Labels and what selects by them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Labels or annotations of an object.
pub type Labels = BTreeMap<Box<str>, Box<str>>;

/// One requirement on a label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LabelRequirement {
    /// The label's key.
    pub key: Box<str>,
    /// What must hold of its value.
    pub operator: LabelOperator,
}

/// What must hold of a label's value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LabelOperator {
    /// Present with one of the values.
    In(Vec<Box<str>>),
    /// Absent, or with none of the values.
    NotIn(Vec<Box<str>>),
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
    /// An integer greater than this.
    Gt(i64),
    /// An integer less than this.
    Lt(i64),
}

impl LabelRequirement {
    /// Whether labels meet it.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.operator.holds(labels.get(&self.key).map(|value| &**value))
    }
}

impl LabelOperator {
    /// Whether it holds of a value, `None` where the label is absent.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let integer = || value.and_then(|value| value.parse::<i64>().ok());
        let listed = |values: &[Box<str>], value: &str| values.iter().any(|known| **known == *value);
        match self {
            Self::In(values) => value.is_some_and(|value| listed(values, value)),
            Self::NotIn(values) => value.is_none_or(|value| !listed(values, value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::Gt(bound) => integer().is_some_and(|value| value > *bound),
            Self::Lt(bound) => integer().is_some_and(|value| value < *bound),
        }
    }
}

/// Requirements on labels that must all hold; without any it matches every object. Where Kubernetes tells an absent
/// selector (matches nothing) from an empty one, the absent one is `Option::None`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LabelSelector {
    /// The requirements.
    pub requirements: Vec<LabelRequirement>,
}

impl LabelSelector {
    /// Whether labels meet all requirements.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// The selector of exactly these labels (`matchLabels`).
    pub fn of_labels(labels: &Labels) -> Self {
        let equals = labels.iter().map(|(key, value)| LabelRequirement {
            key: key.clone(),
            operator: LabelOperator::In(Vec::from([value.clone()])),
        });
        Self { requirements: equals.collect() }
    }
}
