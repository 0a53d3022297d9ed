//! With how many pods a workload can be admitted, if not with all.

use alloc::vec::Vec;

use crate::model::PodSet;

/// What comes of the largest numbers of pods for which `attempt` comes to something: all pod sets shrink alike, from
/// their count to their minimum. Fewer pods are taken to fit wherever more do.
pub(super) fn search<T>(sets: &[PodSet], mut attempt: impl FnMut(&[u32]) -> Option<T>) -> Option<T> {
    let room: Vec<u32> =
        sets.iter().map(|set| set.count.saturating_sub(set.min_count.unwrap_or(set.count))).collect();
    let total: u64 = room.iter().map(|&room| u64::from(room)).sum();
    if total == 0 {
        return None;
    }
    let counts = |step: u64| -> Vec<u32> {
        let shrunk = |(set, &room): (&PodSet, &u32)| {
            set.count - u32::try_from(u64::from(room) * step / total).unwrap_or(room)
        };
        sets.iter().zip(&room).map(shrunk).collect()
    };
    // The smallest step that comes to something.
    let (mut low, mut high) = (0, total + 1);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match attempt(&counts(middle)) {
            Some(result) => {
                found = Some(result);
                high = middle;
            }
            None => low = middle + 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn pod_sets_shrink_alike_as_little_as_needed() {
        let set = |count, least| PodSet { count, min_count: least, ..PodSet::default() };
        let check = |sets: &[PodSet], most: u32, expected: Option<Vec<u32>>| {
            let fits = |counts: &[u32]| (counts.iter().sum::<u32>() <= most).then(|| counts.to_vec());
            assert_eq!(search(sets, fits), expected, "{most}");
        };
        let sets = [set(10, Some(2)), set(5, Some(1)), set(3, None)];
        check(&sets, 18, Some(vec![10, 5, 3]));
        check(&sets, 12, Some(vec![6, 3, 3]));
        check(&sets, 6, Some(vec![2, 1, 3]));
        check(&sets, 5, None);
        check(&[set(3, None)], 3, None);
    }
}
