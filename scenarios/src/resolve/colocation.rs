//! How jobs that share a GPU slow each other.

use foretell_sim::framework::FULL_SPEED;
use foretell_sim::platform::Colocation;

use super::Resolver;
use crate::file::ColocationFile;
use crate::suggest;

const PATH: &str = "workload.colocation";

impl Resolver<'_, '_> {
    /// The table of speeds.
    pub(super) fn colocation(&mut self, file: Option<&ColocationFile>) -> Option<Colocation> {
        let file = file?;
        let count = file.classes.len();
        for (i, class) in file.classes.iter().enumerate() {
            if file.classes[..i].iter().any(|other| other.name == class.name) {
                let message = format!("there is another class `{}`", class.name);
                self.problem(&format!("{PATH}.classes[{i}].name"), message, None);
            }
        }
        let mut speeds: Vec<Vec<Option<u64>>> = vec![vec![None; count]; count];
        for (i, pair) in file.pairs.iter().enumerate() {
            let path = |field: &str| format!("{PATH}.pairs[{i}].{field}");
            let place = |name: &String| file.classes.iter().position(|class| class.name == *name);
            let [Some(one), Some(other)] = [&pair.classes[0], &pair.classes[1]].map(place) else {
                for (which, name) in pair.classes.iter().enumerate().filter(|(_, name)| place(name).is_none())
                {
                    let help = suggest::hint(name, file.classes.iter().map(|class| class.name.as_str()));
                    self.problem(
                        &path(&format!("classes[{which}]")),
                        format!("unknown class `{name}`"),
                        Some(help),
                    );
                }
                continue;
            };
            let [of_one, of_other] =
                pair.speeds.map(|speed| ((speed * FULL_SPEED as f64).round() as u64).max(1));
            if one == other && of_one != of_other {
                self.problem(&path("speeds"), "expected the same speed twice: both are of one class", None);
            }
            if speeds[one][other].is_some() {
                let message =
                    format!("there is another pair of `{}` and `{}`", pair.classes[0], pair.classes[1]);
                self.problem(&path("classes"), message, None);
            }
            speeds[one][other] = Some(of_one);
            speeds[other][one] = Some(of_other);
        }
        let alone = |speed: Option<u64>| speed.unwrap_or(FULL_SPEED);
        Some(Colocation {
            weights: file.classes.iter().map(|class| class.weight).collect(),
            speeds: speeds.into_iter().map(|row| row.into_iter().map(alone).collect()).collect(),
        })
    }
}
