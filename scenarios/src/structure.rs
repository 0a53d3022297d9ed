//! Checks the shape of a scenario against its JSON schema: names of fields, types, ranges, what is missing.
//!
//! Serde would stop at the first error; this finds all, names the path of each, and suggests what was meant. It knows the
//! part of JSON Schema that [`crate::schema`] makes, so the published schema and this check cannot disagree.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::Document;
use crate::overrides::article;
use crate::path::Path;
use crate::suggest;
use crate::units::{BYTE_SIZE_FORMAT, ByteSize};

/// Records everything in the document that the schema does not allow.
pub(crate) fn check(document: &mut Document<'_>, schema: &Value) {
    let mut checker = Checker { definitions: schema.get("$defs"), path: Path::default(), found: Vec::new() };
    checker.value(schema, document.root());
    for found in checker.found {
        document.problem_at(found.path, found.span, found.message, found.help);
    }
}

struct Checker<'s> {
    definitions: Option<&'s Value>,
    path: Path,
    found: Vec<Found>,
}

struct Found {
    path: String,
    span: std::ops::Range<usize>,
    message: String,
    help: Option<String>,
}

impl<'s> Checker<'s> {
    fn report<T>(&mut self, at: &Spanned<T>, message: String, help: Option<String>) {
        self.found.push(Found { path: self.path.to_string(), span: at.span(), message, help });
    }

    /// Follows `$ref`.
    fn target(&self, schema: &'s Value) -> &'s Value {
        schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix("#/$defs/"))
            .and_then(|name| self.definitions?.get(name))
            .unwrap_or(schema)
    }

    fn value(&mut self, schema: &'s Value, value: &Spanned<DeValue<'_>>) {
        let schema = self.target(schema);
        if let Some(variants) = schema.get("oneOf").and_then(Value::as_array) {
            return self.variants(variants, value);
        }
        if let Some(names) = schema.get("enum").and_then(Value::as_array) {
            return self.name(names.iter().filter_map(Value::as_str).collect(), value);
        }
        match (schema.get("type").and_then(Value::as_str), value.get_ref()) {
            (Some("object"), DeValue::Table(table)) => self.table(schema, table, value, None),
            (Some("array"), DeValue::Array(elements)) => {
                if elements.len() < schema.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize {
                    self.report(value, "must not be empty".to_owned(), None);
                }
                for (index, element) in elements.iter().enumerate() {
                    self.path.push_index(index);
                    self.value(&schema["items"], element);
                    self.path.pop();
                }
            }
            (Some("string"), DeValue::String(text)) => {
                let is_size = schema.get("format").is_some_and(|format| format == BYTE_SIZE_FORMAT);
                if is_size && text.parse::<ByteSize>().is_err()
                    || text.is_empty() && schema.get("minLength").is_some()
                {
                    self.mismatch(schema, value);
                }
            }
            (Some("boolean"), DeValue::Boolean(_)) => {}
            (Some(kind @ ("integer" | "number")), DeValue::Integer(_) | DeValue::Float(_)) => {
                let is_integer = value.get_ref().is_integer();
                if !number(value.get_ref())
                    .is_some_and(|n| (is_integer || kind == "number") && in_range(schema, n))
                {
                    self.mismatch(schema, value);
                }
            }
            _ => self.mismatch(schema, value),
        }
    }

    fn mismatch(&mut self, schema: &Value, value: &Spanned<DeValue<'_>>) {
        let message = format!("expected {}, got {}", expected(schema), describe(value.get_ref()));
        self.report(value, message, None);
    }

    /// A string out of a list of names.
    fn name(&mut self, names: Vec<&str>, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::String(text) if names.contains(&text.as_ref()) => {}
            DeValue::String(text) => {
                self.report(value, format!("unknown value `{text}`"), Some(suggest::hint(text, names)));
            }
            other => {
                let message = format!("expected {}, got {}", suggest::one_of(names), describe(other));
                self.report(value, message, None);
            }
        }
    }

    /// An enum: names, or tables that a field with a constant value tells apart.
    fn variants(&mut self, variants: &'s [Value], value: &Spanned<DeValue<'_>>) {
        let Some((tag, names)) = tagged(variants) else {
            return self
                .name(variants.iter().filter_map(|variant| variant["const"].as_str()).collect(), value);
        };
        let DeValue::Table(table) = value.get_ref() else {
            let message = format!("expected a table with a field `{tag}`, got {}", describe(value.get_ref()));
            return self.report(value, message, None);
        };
        let Some(given) = table.get(tag) else {
            let help = Some(format!("expected {}", suggest::one_of(names)));
            return self.report(value, format!("missing field `{tag}`"), help);
        };
        let variant = given.get_ref().as_str().and_then(|given| names.iter().position(|name| *name == given));
        if let Some(variant) = variant {
            self.table(&variants[variant], table, value, Some(tag));
        } else {
            self.path.push_key(tag);
            self.name(names, given);
            self.path.pop();
        }
    }

    fn table(
        &mut self,
        schema: &'s Value,
        table: &DeTable<'_>,
        value: &Spanned<DeValue<'_>>,
        checked: Option<&str>,
    ) {
        let none = Map::new();
        let fields = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        for (key, inner) in table {
            let name = key.get_ref().as_ref();
            if checked == Some(name) {
                continue;
            }
            self.path.push_key(name);
            if let Some(field) = fields.and_then(|fields| fields.get(name)).or(others) {
                self.value(field, inner);
            } else {
                let known = fields.unwrap_or(&none).keys().map(String::as_str);
                self.report(key, format!("unknown field `{name}`"), Some(suggest::hint(name, known)));
            }
            self.path.pop();
        }
        for name in
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        {
            if !table.contains_key(name) {
                let field = fields.and_then(|fields| fields.get(name));
                let help = field.and_then(|field| field.get("description")).and_then(Value::as_str);
                let help =
                    help.map(|text| format!("{name}: {}", text.trim_end_matches('.').replace('\n', " ")));
                self.report(value, format!("missing field `{name}`"), help);
            }
        }
    }
}

/// The tag field of a tagged enum, and its value in each variant.
fn tagged(variants: &[Value]) -> Option<(&str, Vec<&str>)> {
    let constant =
        |variant: &Value, tag: &str| variant.pointer(&format!("/properties/{tag}/const")).is_some();
    let fields = variants.first()?.get("properties")?.as_object()?;
    let tag = fields.keys().find(|tag| variants.iter().all(|variant| constant(variant, tag)))?;
    Some((tag, variants.iter().filter_map(|variant| variant["properties"][tag]["const"].as_str()).collect()))
}

/// The value of a number; `None` if it is not finite.
fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(integer) => {
            i128::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64)
        }
        DeValue::Float(float) => float.as_str().parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    }
}

fn bound(schema: &Value, name: &str) -> Option<f64> {
    schema.get(name).and_then(Value::as_f64)
}

fn in_range(schema: &Value, number: f64) -> bool {
    let largest = bound(schema, "maximum").or_else(|| {
        match schema.get("format").and_then(Value::as_str) {
            Some("uint32") => Some(f64::from(u32::MAX)),
            // TOML's integers are signed.
            Some("uint64") => Some(i64::MAX as f64),
            _ => None,
        }
    });
    bound(schema, "minimum").is_none_or(|minimum| number >= minimum)
        && bound(schema, "exclusiveMinimum").is_none_or(|minimum| number > minimum)
        && bound(schema, "exclusiveMaximum").is_none_or(|maximum| number < maximum)
        && largest.is_none_or(|maximum| number <= maximum)
}

/// What a schema asks for, in words.
fn expected(schema: &Value) -> String {
    let kind = match schema.get("type").and_then(Value::as_str) {
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "`true` or `false`",
        Some("array") => "an array",
        Some("object") => "a table",
        _ if schema.get("format").is_some_and(|format| format == BYTE_SIZE_FORMAT) => {
            "an amount of memory such as \"64 GiB\""
        }
        _ if schema.get("minLength").is_some() => "a string that is not empty",
        _ => "a string",
    };
    let minimum = bound(schema, "minimum");
    let range = match (minimum, bound(schema, "exclusiveMinimum"), bound(schema, "maximum")) {
        (Some(minimum), _, Some(maximum)) => format!(" from {minimum} to {maximum}"),
        (Some(minimum), _, None) => format!(" of at least {minimum}"),
        (None, Some(minimum), Some(maximum)) => format!(" above {minimum} and up to {maximum}"),
        (None, Some(minimum), None) => format!(" above {minimum}"),
        (None, None, Some(maximum)) => format!(" up to {maximum}"),
        (None, None, None) => String::new(),
    };
    let below = match (minimum, bound(schema, "exclusiveMaximum")) {
        (_, None) => String::new(),
        (Some(_), Some(maximum)) => format!(" and below {maximum}"),
        (None, Some(maximum)) => format!(" below {maximum}"),
    };
    format!("{kind}{range}{below}")
}

/// What was written instead, in words.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string \"{text}\""),
        DeValue::Integer(integer) => format!("{integer}"),
        DeValue::Float(float) => format!("{float}"),
        DeValue::Boolean(boolean) => format!("{boolean}"),
        other => article(other.type_str()),
    }
}
