//! Relabelling against Prometheus' own test cases.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use prom::labels::{LabelBuilder, LabelSet};
use prom::relabel::{Action, NameScheme, Rule, RuleConfig, RuleError, Verdict, relabel};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    relabel: Vec<RelabelCase>,
    validate: Vec<ValidateCase>,
    legacy_target: Vec<TargetCase>,
}

#[derive(Deserialize)]
struct RelabelCase {
    input: BTreeMap<String, String>,
    rules: Vec<RuleJson>,
    #[serde(default)]
    output: BTreeMap<String, String>,
    #[serde(default)]
    drop: bool,
}

#[derive(Deserialize)]
struct ValidateCase {
    rule: RuleJson,
    scheme: String,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct TargetCase {
    target: String,
    valid: bool,
}

#[derive(Deserialize)]
struct RuleJson {
    #[serde(default)]
    source_labels: Vec<String>,
    separator: String,
    regex: Option<String>,
    #[serde(default)]
    modulus: u64,
    target_label: Option<String>,
    replacement: String,
    action: String,
}

impl RuleJson {
    fn config(&self) -> RuleConfig {
        RuleConfig {
            source_labels: self.source_labels.clone(),
            separator: Some(self.separator.clone()),
            regex: self.regex.clone(),
            modulus: self.modulus,
            target_label: self.target_label.clone(),
            replacement: Some(self.replacement.clone()),
            action: Action::from_name(&self.action).expect("a known action"),
        }
    }
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../testdata/relabel/prometheus_relabel.json")).expect("valid test data")
}

fn builder(map: &BTreeMap<String, String>) -> LabelBuilder {
    let mut labels = LabelBuilder::default();
    for (name, value) in map {
        labels.set(name, value);
    }
    labels
}

#[test]
fn prometheus_own_relabelling_cases_give_the_same_labels() {
    let cases = vectors().relabel;
    assert!(cases.len() > 30, "the vectors are all there");
    for (index, case) in cases.iter().enumerate() {
        let rules: Vec<Rule> = case
            .rules
            .iter()
            .map(|rule| Rule::new(&rule.config(), NameScheme::Utf8).unwrap_or_else(|error| panic!("{index}: {error}")))
            .collect();
        let mut labels = builder(&case.input);
        let verdict = relabel(&rules, &mut labels);
        assert_eq!(verdict == Verdict::Drop, case.drop, "case {index} of {:?}", case.input);
        if !case.drop {
            assert_eq!(labels.build(), builder(&case.output).build(), "case {index} of {:?}", case.input);
        }
    }
}

#[test]
fn prometheus_own_validation_cases_give_the_same_errors() {
    for case in vectors().validate {
        let scheme = if case.scheme == "legacy" { NameScheme::Legacy } else { NameScheme::Utf8 };
        let error = Rule::new(&case.rule.config(), scheme).err().map(|error| error.to_string());
        assert_eq!(error, case.error, "{} {:?}", case.rule.action, case.rule.target_label);
    }
}

#[test]
fn targets_in_the_old_character_set_may_have_variables() {
    for case in vectors().legacy_target {
        let config = RuleConfig { target_label: Some(case.target.clone()), ..RuleConfig::default() };
        let made = Rule::new(&config, NameScheme::Legacy);
        assert_eq!(made.is_ok(), case.valid, "{}", case.target);
    }
}

fn refuses(config: &RuleConfig, message: &str) {
    let error: RuleError = Rule::new(config, NameScheme::Legacy).expect_err("must be refused");
    assert_eq!(error.to_string(), message);
}

#[test]
fn options_that_an_action_does_not_have_are_refused() {
    let with = |action| RuleConfig { action, target_label: Some("a".to_owned()), ..RuleConfig::default() };
    refuses(&with(Action::HashMod), "relabel configuration for hashmod requires non-zero modulus");
    refuses(&with(Action::LabelDrop), "labeldrop action requires only 'regex', and no other fields");
    let separator = Some("-".to_owned());
    refuses(
        &RuleConfig { separator, ..with(Action::KeepEqual) },
        "keepequal action requires only 'source_labels' and `target_label`, and no other fields",
    );
    let replacement = Some("x".to_owned());
    refuses(
        &RuleConfig { replacement: replacement.clone(), ..with(Action::Uppercase) },
        "'replacement' can not be set for uppercase action",
    );
    refuses(
        &RuleConfig { replacement: Some("-$1".to_owned()), ..with(Action::LabelMap) },
        "\"-$1\" is invalid 'replacement' for labelmap action",
    );
    refuses(
        &RuleConfig { regex: Some("(a".to_owned()), ..with(Action::Replace) },
        "the regular expression \"(a\" is not valid: unclosed group",
    );
    refuses(
        &RuleConfig { source_labels: vec!["a-b".to_owned()], ..with(Action::Replace) },
        "\"a-b\" is not a valid label name",
    );
}

#[test]
fn letters_change_case_one_by_one() {
    let changed = |action, value: &str| {
        let config = RuleConfig {
            action,
            source_labels: vec!["a".to_owned()],
            target_label: Some("b".to_owned()),
            ..RuleConfig::default()
        };
        let mut labels = LabelBuilder::default();
        labels.set("a", value);
        Rule::new(&config, NameScheme::Utf8).expect("valid").apply(&mut labels);
        labels.get("b").to_owned()
    };
    assert_eq!(changed(Action::Uppercase, "straße ÿ"), "STRAßE Ÿ");
    assert_eq!(changed(Action::Lowercase, "ΟΔΟΣ"), "οδοσ");
}

proptest! {
    #[test]
    fn no_rule_and_no_labels_make_it_panic(
        regex in "\\PC{0,20}",
        special in "[\\[\\](){}|*+?.^$\\\\a-c,0-9:<>-]{0,12}",
        target in "[a-z${}0-9]{1,8}",
        replacement in "[a-z${}0-9]{0,8}",
        value in "\\PC{0,20}",
        which in 0..Action::ALL.len(),
    ) {
        for pattern in [regex, special] {
            let config = RuleConfig {
                source_labels: vec!["a".to_owned(), "missing".to_owned()],
                regex: Some(pattern),
                modulus: 7,
                target_label: Some(target.clone()),
                replacement: Some(replacement.clone()),
                action: Action::ALL[which],
                ..RuleConfig::default()
            };
            if let Ok(rule) = Rule::new(&config, NameScheme::Utf8) {
                let mut labels = LabelBuilder::default();
                labels.set("a", &value);
                rule.apply(&mut labels);
                let set: LabelSet = labels.build();
                prop_assert!(set.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
            }
        }
    }
}
