//! Factors of fair share, worked out by hand from Slurm's documentation.

use std::collections::BTreeMap;

use foretell_slurm::{Fairness, fair_share, parse};
use proptest::prelude::*;

/// Shares as configuration lines, use as `account/user=amount`, factors in the same form.
fn check(fairness: Fairness, lines: &str, usage: &str, expected: &[(&str, f64)]) {
    let (config, _) = parse(lines).unwrap();
    let usage: BTreeMap<(Box<str>, Box<str>), f64> = usage
        .split_whitespace()
        .map(|word| {
            let (name, amount) = word.split_once('=').unwrap();
            let (account, user) = name.split_once('/').unwrap();
            ((account.into(), user.into()), amount.parse().unwrap())
        })
        .collect();
    let factors = fair_share(fairness, &config.accounts, &config.users, &usage);
    let factors: BTreeMap<String, f64> =
        factors.into_iter().map(|((account, user), factor)| (format!("{account}/{user}"), factor)).collect();
    assert_eq!(factors.len(), expected.len(), "{factors:?}");
    for (name, factor) in expected {
        assert!((factors[*name] - factor).abs() < 1e-9, "{name}: {} is not {factor}", factors[*name]);
    }
}

const TREE: &str = "Account=a Fairshare=60\nAccount=b Fairshare=40\n\
                    User=a1 Account=a Fairshare=1\nUser=a2 Account=a Fairshare=1\nUser=b1 Account=b\nUser=b2 Account=b";

#[test]
fn classic_is_two_to_the_minus_effective_use_over_share() {
    // a: share 0.6, use 0.8; a1: share 0.3, use 0.8, effective 0.8 + (0.8 - 0.8) / 2; a2: effective 0 + 0.8 / 2.
    // b: share 0.4, use 0.2; b1: share 0.2, use 0.2, effective 0.2; b2: effective 0.1.
    check(
        Fairness::Classic,
        TREE,
        "a/a1=80 b/b1=20",
        &[
            ("a/a1", f64::powf(2.0, -0.8 / 0.3)),
            ("a/a2", f64::powf(2.0, -0.4 / 0.3)),
            ("b/b1", f64::powf(2.0, -0.2 / 0.2)),
            ("b/b2", f64::powf(2.0, -0.1 / 0.2)),
        ],
    );
    check(Fairness::Classic, TREE, "", &[("a/a1", 1.0), ("a/a2", 1.0), ("b/b1", 1.0), ("b/b2", 1.0)]);
}

#[test]
fn fair_tree_ranks_users_of_the_better_account_first() {
    // b used half its share, a more than its own: both users of b come before both of a.
    check(
        Fairness::Tree,
        TREE,
        "a/a1=80 b/b1=20",
        &[("b/b2", 1.0), ("b/b1", 0.75), ("a/a2", 0.5), ("a/a1", 0.25)],
    );
    // A user whom no line names has a share of one at the root.
    check(Fairness::Tree, "User=x Fairshare=3", "/x=3 /y=1", &[("/x", 1.0), ("/y", 1.0)]);
    check(Fairness::Tree, "User=x Fairshare=3", "/x=3 /y=2", &[("/x", 1.0), ("/y", 0.5)]);
    // Nobody used anything: all are equal, whatever their accounts.
    check(Fairness::Tree, TREE, "", &[("a/a1", 1.0), ("a/a2", 1.0), ("b/b1", 1.0), ("b/b2", 1.0)]);
}

proptest! {
    /// Who uses more never comes to stand better, and factors lie above 0 and up to 1.
    #[test]
    fn use_never_helps(usage in prop::collection::vec(0_u32..100, 4), more in 1_u32..100, who in 0_usize..4, tree: bool) {
        let fairness = if tree { Fairness::Tree } else { Fairness::Classic };
        let (config, _) = parse(TREE).unwrap();
        let names = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")];
        let factor = |extra: u32| {
            let usage = names.iter().zip(&usage).enumerate().map(|(index, (&(account, user), &used))| {
                let used = used + if index == who { extra } else { 0 };
                ((account.into(), user.into()), f64::from(used))
            });
            let factors = fair_share(fairness, &config.accounts, &config.users, &usage.collect());
            factors[&(names[who].0.into(), names[who].1.into())]
        };
        let (before, after) = (factor(0), factor(more));
        prop_assert!(after <= before + 1e-12, "{} after {}", after, before);
        prop_assert!((0.0..=1.0).contains(&after));
    }
}
