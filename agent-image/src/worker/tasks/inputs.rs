//! What a task is told: its declared defaults, what the step says, macros replaced. Pure.

use super::definition::{Definition, Input};
use crate::worker::variables::Variables;
use dayfly_wire::secret::SecretText;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The inputs of a step, ready for the task.
pub(crate) struct Inputs {
    /// By name as the task declares it, or as the step writes it.
    pub(crate) values: Vec<(String, SecretText)>,
    /// Service connections that the inputs name.
    pub(crate) endpoints: Vec<String>,
    /// Secure files that the inputs name.
    pub(crate) secure_files: Vec<String>,
}

/// Puts a step's inputs together. Paths are taken from `root`, unless they are absolute.
pub(crate) fn inputs(
    definition: &Definition,
    given: &BTreeMap<String, SecretText>,
    variables: &Variables,
    root: &str,
) -> Inputs {
    let mut values: BTreeMap<String, (String, String)> = definition
        .inputs
        .iter()
        .map(|input| {
            let entry = (input.name.clone(), input.default.clone());
            (input.name.to_lowercase(), entry)
        })
        .collect();
    for (name, value) in given {
        let name = declared(definition, name.trim());
        let entry = (name.clone(), value.expose().trim().to_owned());
        values.insert(name.to_lowercase(), entry);
    }
    let mut inputs = Inputs {
        values: Vec::with_capacity(values.len()),
        endpoints: Vec::new(),
        secure_files: Vec::new(),
    };
    for (key, (name, value)) in values {
        let text = variables.substitute(&value).text;
        let kind = kind(definition, &key);
        let text = if kind.eq_ignore_ascii_case("filePath") {
            rooted(text.expose(), root).into()
        } else {
            text
        };
        if starts_with(kind, "connectedService:") {
            inputs.endpoints.extend(ids(text.expose()));
        } else if kind.eq_ignore_ascii_case("secureFile") {
            inputs.secure_files.extend(ids(text.expose()));
        }
        inputs.values.push((name, text));
    }
    inputs
}

/// The name that the task knows an input by; a step may use another that the task allows.
fn declared(definition: &Definition, name: &str) -> String {
    let is_it = |input: &&Input| {
        input.name.eq_ignore_ascii_case(name)
            || input
                .aliases
                .iter()
                .any(|alias| alias.eq_ignore_ascii_case(name))
    };
    let exact = |input: &&Input| input.name.eq_ignore_ascii_case(name);
    let inputs = &definition.inputs;
    inputs
        .iter()
        .find(exact)
        .or_else(|| inputs.iter().find(is_it))
        .map_or_else(|| name.to_owned(), |input| input.name.clone())
}

fn kind<'a>(definition: &'a Definition, key: &str) -> &'a str {
    definition
        .inputs
        .iter()
        .find(|input| input.name.to_lowercase() == key)
        .map_or("", |input| input.kind.as_str())
}

fn rooted(path: &str, root: &str) -> String {
    match path {
        "" => root.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{}/{path}", root.trim_end_matches('/')),
    }
}

fn ids(value: &str) -> impl Iterator<Item = String> {
    value
        .split(',')
        .filter_map(|part| Uuid::parse_str(part.trim()).ok())
        .filter(|id| !id.is_nil())
        .map(|id| id.to_string())
}

fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::super::definition::parse;
    use super::*;

    const ENDPOINT: &str = "11111111-1111-4111-8111-111111111111";

    fn definition() -> Definition {
        let text = serde_json::json!({
            "id": ENDPOINT, "name": "T", "version": {"Major": 1, "Minor": 0, "Patch": 0},
            "inputs": [
                {"name": "who", "type": "string", "defaultValue": "$(user)", "aliases": ["whom"]},
                {"name": "file", "type": "filePath"},
                {"name": "other", "type": "filePath"},
                {"name": "service", "type": "connectedService:Generic"},
                {"name": "signing", "type": "secureFile"},
            ],
        });
        parse(text.to_string().as_bytes()).unwrap()
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretText> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect()
    }

    fn value<'a>(inputs: &'a Inputs, name: &str) -> &'a str {
        let found = inputs.values.iter().find(|(key, _)| key == name);
        found.unwrap().1.expose()
    }

    #[test]
    fn the_step_wins_over_defaults_and_macros_are_replaced_once() {
        let mut variables = Variables::default();
        variables.set_system("user", "$(again)");
        variables.set_system("again", "never");
        let definition = definition();
        let defaults = inputs(&definition, &given(&[]), &variables, "/w/s");
        assert_eq!(value(&defaults, "who"), "$(again)");
        let step = given(&[("WHOM ", " me "), ("Extra", "$(unknown)")]);
        let told = inputs(&definition, &step, &variables, "/w/s");
        assert_eq!(value(&told, "who"), "me");
        assert_eq!(value(&told, "Extra"), "$(unknown)");
    }

    #[test]
    fn paths_begin_at_the_sources_and_ids_are_collected() {
        let step = given(&[
            ("file", "a/b"),
            ("service", &format!("{},nonsense", ENDPOINT.to_uppercase())),
            ("signing", ENDPOINT),
        ]);
        let told = inputs(&definition(), &step, &Variables::default(), "/w/s/");
        assert_eq!(value(&told, "file"), "/w/s/a/b");
        assert_eq!(value(&told, "other"), "/w/s/");
        assert_eq!(told.endpoints, [ENDPOINT]);
        assert_eq!(told.secure_files, [ENDPOINT]);
    }
}
