//! The tournament tree against a look at all.

use foretell_serving_policies::Tournament;
use proptest::prelude::*;

proptest! {
    #[test]
    fn it_finds_what_a_look_at_all_finds(
        // One level of nodes, two, or three.
        changes in prop_oneof![Just(16_usize), Just(70), Just(700)].prop_flat_map(|replicas| {
            prop::collection::vec((0..replicas, prop::option::of(0_u64..6)), 1..200)
        }),
    ) {
        let mut tournament = Tournament::default();
        let mut keys: Vec<Option<u64>> = vec![None; 710];
        for (index, key) in changes {
            tournament.set(index, key);
            keys[index] = key;
            let least = keys.iter().flatten().min().copied();
            let with: Vec<usize> = (0..keys.len()).filter(|&at| least.is_some() && keys[at] == least).collect();
            prop_assert_eq!(tournament.least(), least.map(|least| (least, with.len() as u32)));
            for nth in 0..=with.len() {
                prop_assert_eq!(tournament.nth(nth as u32), with.get(nth).copied());
            }
            for (at, &key) in keys.iter().enumerate() {
                prop_assert_eq!(tournament.key(at), key);
                prop_assert_eq!(tournament.before(at) as usize, with.iter().filter(|&&other| other < at).count());
            }
        }
    }
}
