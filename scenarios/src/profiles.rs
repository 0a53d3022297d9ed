//! Configuration files of schedulers: read once, so that a scenario with them in place says all that it means.

use std::path::Path;

use foretell_registry::PolicyConfig;

use crate::document::Document;
use crate::file::{ProfileFile, SchedulerFile};

/// Puts the text of configuration files in the place of their names, and the one `profile` among the `policies`.
pub(crate) fn inline(file: &mut SchedulerFile, document: &mut Document<'_>, base_dir: &Path) {
    if let Some(profile) = file.profile.take() {
        if !file.policies.is_empty() {
            document.problem("scheduler.profile", "expected `profile` or `policies`, got both", None);
        }
        let path = Path::new(&profile);
        let is_file = path
            .extension()
            .is_some_and(|ending| ["conf", "yaml", "yml"].iter().any(|known| ending == *known));
        if is_file && file.profiles.iter().all(|known| known.name != profile) {
            let name = policy_name(path);
            let config = read(document, "scheduler.profile", base_dir, &profile);
            file.profiles.push(ProfileFile { name: name.clone(), file: None, config });
            file.policies.push(name);
        } else {
            file.policies.push(profile);
        }
    }
    for (i, profile) in file.profiles.iter_mut().enumerate() {
        let path = format!("scheduler.profiles[{i}]");
        match (&profile.file, &profile.config) {
            (Some(name), None) => {
                profile.config = read(document, &format!("{path}.file"), base_dir, name);
                profile.file = None;
            }
            (None, Some(_)) => {}
            (None, None) if document.has_problems() => {}
            (both, _) => {
                let got = if both.is_some() { "both" } else { "neither" };
                let message = format!("expected exactly one of `file` and `config`, got {got}");
                document.problem(&path, message, None);
            }
        }
    }
}

/// What a policy that a file describes is called: as the file, without its ending unless a built-in policy has that name.
fn policy_name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    if foretell_registry::build(&stem, &PolicyConfig::default()).is_ok() {
        return file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    }
    stem.into_owned()
}

fn read(document: &mut Document<'_>, path: &str, base_dir: &Path, name: &str) -> Option<String> {
    let file = base_dir.join(name);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            let help = "paths start from the folder of the scenario file".to_owned();
            document.problem(path, format!("failed to read {}: {error}", file.display()), Some(help));
            return None;
        }
    };
    // Here the file and its lines are still known.
    if let Err(error) = foretell_manifests::read_config(&text, &file.display().to_string()) {
        document.problem(path, error.to_string(), None);
        return None;
    }
    Some(text)
}
