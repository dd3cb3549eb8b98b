//! What of a record leaves the worker: masked, and no longer than a record may be. Pure.

use crate::worker::mask::Masker;
use dayfly_wire::timeline::{Issue, Record};
use std::collections::BTreeMap;

/// The longest text of a record, in characters; the log has all of it.
const TEXT: usize = 4096;
/// The longest name, and the most names, of an issue's further facts.
const NAME: usize = 100;
const FACTS: usize = 20;

/// Masks every text of a record, then cuts it: a secret must not be cut in two before it was found.
pub(super) fn mask_record(masker: &Masker, record: &mut Record) {
    let texts = [
        &mut record.name,
        &mut record.current_operation,
        &mut record.result_code,
    ];
    for text in texts.into_iter().flatten() {
        *text = shown(masker, text, TEXT);
    }
    for issue in &mut record.issues {
        mask_issue(masker, issue);
    }
    // By name and value: a step chooses both. What is secret has no value here.
    let variables = std::mem::take(&mut record.variables);
    record.variables = variables
        .into_iter()
        .map(|(name, mut variable)| {
            let value = variable.value.filter(|_| !variable.is_secret);
            variable.value = value.map(|value| masker.mask(&value).into_owned());
            (masker.mask(&name).into_owned(), variable)
        })
        .collect();
}

pub(super) fn mask_issue(masker: &Masker, issue: &mut Issue) {
    issue.message = shown(masker, &issue.message, TEXT);
    let data: BTreeMap<_, _> = std::mem::take(&mut issue.data);
    issue.data = data
        .into_iter()
        .take(FACTS)
        .map(|(name, value)| (shown(masker, &name, NAME), shown(masker, &value, TEXT)))
        .collect();
}

fn shown(masker: &Masker, text: &str, most: usize) -> String {
    let masked = masker.mask(text);
    match masked.char_indices().nth(most) {
        Some((at, _)) => format!("{}...", &masked[..at]),
        None => masked.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dayfly_wire::timeline::{IssueKind, RecordVariable};

    fn masker() -> Masker {
        let mut masker = Masker::default();
        let _ = masker.add("hunter2");
        masker
    }

    #[test]
    fn names_that_a_step_chose_are_masked_too() {
        let variable = RecordVariable {
            value: Some("x".to_owned()),
            is_secret: false,
        };
        let mut record = Record {
            issues: vec![Issue {
                kind: IssueKind::Error,
                category: None,
                message: String::new(),
                data: [("is-hunter2".to_owned(), "1".to_owned())].into(),
            }],
            variables: [("my-hunter2".to_owned(), variable)].into(),
            ..Record::default()
        };
        mask_record(&masker(), &mut record);
        assert!(record.issues[0].data.contains_key("is-***"));
        assert!(record.variables.contains_key("my-***"));
    }

    #[test]
    fn a_text_is_cut_only_after_it_was_masked() {
        for before in TEXT - 9..=TEXT {
            let text = format!("{}hunter2", "x".repeat(before));
            let shown = shown(&masker(), &text, TEXT);
            assert!(!shown.contains("hunt"), "{before}");
            assert!(shown.chars().count() <= TEXT + 3);
        }
        assert_eq!(
            shown(&masker(), &"ä".repeat(200), NAME).chars().count(),
            103
        );
    }
}
