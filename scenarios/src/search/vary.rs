//! What is varied: `--vary tp=1,2,4`, `--vary qps=1..100`, `--vary services.chat.engine.batcher=vllm,orca`.

use super::SearchError;
use crate::schema::schema;
use crate::suggest;

/// A short name for a field of a service. Parts of a value, divided by `:`, take the places of `{0}`, `{1}` and so on; their
/// sum that of `{+}`.
struct Alias {
    name: &'static str,
    fields: &'static [(&'static str, &'static str)],
}

/// A further short name is a further line here.
const ALIASES: [Alias; 10] = [
    Alias { name: REPLICAS, fields: &[("replicas", "{0}")] },
    Alias { name: "tp", fields: &[("tensor_parallel", "{0}")] },
    Alias { name: "pp", fields: &[("pipeline_parallel", "{0}")] },
    Alias { name: "dp", fields: &[("data_parallel", "{0}")] },
    Alias { name: "batch", fields: &[("engine.max_batched_tokens", "{0}")] },
    Alias { name: "sequences", fields: &[("engine.max_sequences", "{0}")] },
    Alias { name: "batcher", fields: &[("engine.batcher", "{0}")] },
    Alias { name: "gpu", fields: &[("gpu_models", "[\"{0}\"]")] },
    Alias { name: "router", fields: &[("router.policy", "{0}")] },
    Alias { name: "pd-ratio", fields: &[("replicas", "{+}"), ("disaggregation.prefill_replicas", "{0}")] },
];

/// The load, in requests a second.
pub(super) const LOAD: &str = "qps";
/// How many replicas there are.
pub(super) const REPLICAS: &str = "replicas";

/// Values that something is set to, or bounds between which it is looked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// One after another.
    List(Vec<String>),
    /// Between these, both included.
    Range(f64, f64),
}

/// Something that is varied.
#[derive(Debug, Clone, PartialEq)]
pub struct Vary {
    /// What, as it was written.
    pub key: String,
    /// Its values.
    pub values: Values,
}

impl Vary {
    /// Reads `KEY=VALUE,...` or `KEY=LOW..HIGH`. Commas within brackets, braces and quotes divide nothing.
    pub fn parse(text: &str) -> Result<Self, SearchError> {
        let wrong = |what: &str| SearchError::Vary { text: text.to_owned(), what: what.to_owned() };
        let (key, values) =
            text.split_once('=').ok_or_else(|| wrong("expected KEY=VALUE,... or KEY=LOW..HIGH"))?;
        let key = key.trim().to_owned();
        if key.is_empty() {
            return Err(wrong("expected a key before `=`"));
        }
        let bounds = values.split_once("..").map(|(low, high)| (low.trim().parse(), high.trim().parse()));
        let values = match bounds {
            Some((Ok(low), Ok(high))) if 0.0 < low && low <= high && f64::is_finite(high) => {
                Values::Range(low, high)
            }
            Some((Ok(_), Ok(_))) => {
                return Err(wrong("expected bounds above zero, the lower before the higher"));
            }
            _ => {
                let values = split(values);
                if values.iter().any(String::is_empty) {
                    return Err(wrong("expected a value before and after each comma"));
                }
                if let Some(twice) = (1..values.len()).find(|&index| values[..index].contains(&values[index]))
                {
                    return Err(wrong(&format!("there is `{}` twice", values[twice])));
                }
                Values::List(values)
            }
        };
        Ok(Self { key, values })
    }
}

/// At commas, but for those within brackets, braces and quotes.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quoted) = (0_i32, None);
    for letter in text.chars() {
        match (quoted, letter) {
            (Some(quote), _) if letter == quote => quoted = None,
            (None, '"' | '\'') => quoted = Some(letter),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

/// What of a scenario a key means.
pub(super) struct Target {
    /// Paths, and what is written there.
    fields: Vec<(String, String)>,
}

impl Target {
    /// Of a key, for the service at this place; `services` are the names of all.
    pub(super) fn of(key: &str, service: usize, services: &[String]) -> Result<Self, SearchError> {
        let own = |field: &str| format!("service[{service}].{field}");
        if let Some(alias) = ALIASES.iter().find(|alias| alias.name == key) {
            let fields = alias.fields.iter().map(|(field, value)| (own(field), (*value).to_owned()));
            return Ok(Self { fields: fields.collect() });
        }
        let whole = |path: String| Ok(Self { fields: vec![(path, "{}".to_owned())] });
        let schema = schema();
        let names = |place: &str| {
            let fields = schema.as_value().pointer(place).and_then(serde_json::Value::as_object);
            fields.map(|fields| fields.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
        };
        let first = key.split(['.', '[']).next().unwrap_or_default();
        if let Some(rest) = key.strip_prefix("services.").or_else(|| key.strip_prefix("service.")) {
            let (name, field) = rest.split_once('.').unwrap_or((rest, ""));
            let place = name.parse().ok().or_else(|| services.iter().position(|known| known == name));
            let Some(place) = place.filter(|&place: &usize| place < services.len()) else {
                let known = suggest::hint(name, services.iter().map(String::as_str));
                return Err(SearchError::Service { name: name.to_owned(), known });
            };
            return whole(format!("service[{place}].{field}"));
        }
        if names("/$defs/ServiceFile/properties").iter().any(|known| known == first) {
            return whole(own(key));
        }
        let outside = names("/properties");
        if outside.iter().any(|known| known == first) {
            return whole(key.to_owned());
        }
        let fields = names("/$defs/ServiceFile/properties");
        let known = ALIASES.iter().map(|alias| alias.name).chain([LOAD]);
        let nearest = known.clone().chain(fields.iter().map(String::as_str));
        let help = match suggest::nearest(key, nearest) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!(
                "expected {}, or a field as `--set` takes it, such as `services.NAME.replicas`",
                suggest::one_of(known)
            ),
        };
        Err(SearchError::Key { key: key.to_owned(), help })
    }

    /// The fields that it means.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(path, _)| path.as_str())
    }

    /// The overrides (`path=value`) that give it a value.
    pub(super) fn overrides(&self, value: &str) -> Vec<String> {
        // With a single place the value is taken as it is, colons and all.
        let is_divided =
            self.fields.iter().any(|(_, template)| template.contains("{+}") || template.contains("{1}"));
        let parts: Vec<&str> = if is_divided { value.split(':').collect() } else { vec![value] };
        let of = |(path, template): &(String, String)| {
            // What is no number is left for the scenario to refuse.
            let sum = || parts.iter().map(|part| part.parse::<u32>().ok()).sum::<Option<u32>>();
            let mut text = template.replace("{}", value);
            if text.contains("{+}") {
                text = text.replace("{+}", &sum().map_or_else(|| value.to_owned(), |sum| sum.to_string()));
            }
            for (index, part) in parts.iter().enumerate() {
                text = text.replace(&format!("{{{index}}}"), part);
            }
            format!("{path}={text}")
        };
        self.fields.iter().map(of).collect()
    }
}

/// All combinations of values, the last key's changing fastest.
pub(super) fn combinations(lists: &[&[String]]) -> Vec<Vec<String>> {
    lists.iter().fold(vec![Vec::new()], |before, list| {
        before
            .iter()
            .flat_map(|values| {
                list.iter().map(move |value| values.iter().chain([value]).cloned().collect::<Vec<_>>())
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_varied_is_read() {
        let check = |text: &str, key: &str, expected: Values| {
            assert_eq!(Vary::parse(text).unwrap(), Vary { key: key.to_owned(), values: expected }, "{text}");
        };
        let list = |values: &[&str]| Values::List(values.iter().map(|&value| value.to_owned()).collect());
        check("tp=1,2,4", "tp", list(&["1", "2", "4"]));
        check(" gpu = H100 , A100-80 ", "gpu", list(&["H100", "A100-80"]));
        check("qps=1..100", "qps", Values::Range(1.0, 100.0));
        check("qps=0.5 .. 2e3", "qps", Values::Range(0.5, 2000.0));
        check("model=../a/config.json", "model", list(&["../a/config.json"]));
        check(
            r#"gpu_models=["H100","A100-80"],["L4"]"#,
            "gpu_models",
            list(&[r#"["H100","A100-80"]"#, r#"["L4"]"#]),
        );
        check(r#"name="a,b",c"#, "name", list(&[r#""a,b""#, "c"]));
        check(
            "service.0.slo={ ttft_s = 1, tpot_s = 2 }",
            "service.0.slo",
            list(&["{ ttft_s = 1, tpot_s = 2 }"]),
        );
    }

    #[test]
    fn what_cannot_be_varied_is_said() {
        let check = |text: &str, expected: &str| {
            let error = Vary::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("--vary {text}: {expected}"));
        };
        check("tp", "expected KEY=VALUE,... or KEY=LOW..HIGH");
        check("=1", "expected a key before `=`");
        check("tp=", "expected a value before and after each comma");
        check("tp=1,,2", "expected a value before and after each comma");
        check("tp=1,2,1", "there is `1` twice");
        check("qps=0..10", "expected bounds above zero, the lower before the higher");
        check("qps=10..1", "expected bounds above zero, the lower before the higher");
    }

    #[test]
    fn keys_mean_fields() {
        let services = ["chat".to_owned(), "code.v2".to_owned()];
        let check = |key: &str, value: &str, expected: &[&str]| {
            let target = Target::of(key, 1, &services).unwrap();
            assert_eq!(target.overrides(value), expected, "{key}");
        };
        check("tp", "2", &["service[1].tensor_parallel=2"]);
        check("gpu", "H100", &["service[1].gpu_models=[\"H100\"]"]);
        check("router", "kv-aware", &["service[1].router.policy=kv-aware"]);
        check("engine.batcher", "orca", &["service[1].engine.batcher=orca"]);
        check("services.chat.replicas", "3", &["service[0].replicas=3"]);
        check("services.0.replicas", "3", &["service[0].replicas=3"]);
        check("service[0].replicas", "3", &["service[0].replicas=3"]);
        check("cluster.nodes[0].count", "3", &["cluster.nodes[0].count=3"]);
    }

    #[test]
    fn unknown_keys_are_said_with_what_they_may_be() {
        let services = ["chat".to_owned()];
        let check = |key: &str, expected: &str| {
            let error = Target::of(key, 0, &services).err().unwrap().to_string();
            assert!(error.contains(expected), "{key}: {error}");
        };
        check("replica", "did you mean `replicas`?");
        check("tensor_paralel", "did you mean `tensor_parallel`?");
        check("zzzzzzz", "expected one of `replicas`, `tp`");
        check("services.chta.replicas", "did you mean `chat`?");
        check("services.3.replicas", "expected `chat`");
    }

    #[test]
    fn a_value_of_several_parts_takes_several_places() {
        let fields = vec![("a".to_owned(), "{0}".to_owned()), ("b".to_owned(), "[{1}]".to_owned())];
        assert_eq!(Target { fields }.overrides("2:1"), ["a=2", "b=[1]"]);
        let fields = vec![("a".to_owned(), "{0}".to_owned())];
        assert_eq!(Target { fields }.overrides("2:1"), ["a=2:1"]);
        let ratio = Target::of("pd-ratio", 0, &["a".to_owned()]).unwrap();
        let check = |value: &str, replicas: &str, prefill: &str| {
            let expected = [
                format!("service[0].replicas={replicas}"),
                format!("service[0].disaggregation.prefill_replicas={prefill}"),
            ];
            assert_eq!(ratio.overrides(value), expected);
        };
        check("5:3", "8", "5");
        check("x:3", "x:3", "x");
    }

    #[test]
    fn combinations_change_the_last_fastest() {
        let (ab, xy) = (["a".to_owned(), "b".to_owned()], ["x".to_owned(), "y".to_owned()]);
        let found: Vec<String> = combinations(&[&ab, &xy]).iter().map(|values| values.concat()).collect();
        assert_eq!(found, ["ax", "ay", "bx", "by"]);
        assert_eq!(combinations(&[]), [Vec::<String>::new()]);
    }
}
