//! The JSON schema of scenario files: what editors complete from, and what [`crate::structure`] checks against.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::Value;

use crate::file::ScenarioFile;

/// The JSON schema of a [`ScenarioFile`].
pub fn schema() -> Schema {
    SchemaSettings::draft2020_12()
        .for_deserialize()
        .with_transform(RemoveNull)
        .into_generator()
        .into_root_schema_for::<ScenarioFile>()
}

/// The JSON schema as text, as it is checked in.
pub fn schema_json() -> String {
    // `{:#}` of a JSON value cannot fail and gives the same indented text as `to_string_pretty`.
    format!("{:#}\n", schema().to_value())
}

/// TOML has no null: what may be absent is only that.
#[derive(Clone)]
struct RemoveNull;

impl Transform for RemoveNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
            choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
            if let [Value::Object(only)] = choices.as_slice() {
                let only = only.clone();
                object.remove("anyOf");
                object.extend(only);
            }
        }
        if object.get("default") == Some(&Value::Null) {
            object.remove("default");
        }
    }
}
