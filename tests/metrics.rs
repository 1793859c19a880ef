//! The metrics' names: in the program, in `docs/metrics.md` and in the Grafana dashboard they are the same.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use encoderd::telemetry::metrics::{ALL, Kind};
use serde_json::Value;
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../docs/metrics.md");
const DASHBOARD: &str = include_str!("../docs/grafana-dashboard.json");

/// The lines that the table in the document should have.
fn table() -> Vec<String> {
    ALL.iter()
        .map(|metric| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help)
        })
        .collect()
}

/// What is in an expression: the names of metrics, and of labels that they are selected or summed by.
fn words(expression: &str) -> BTreeSet<&str> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut words = BTreeSet::new();
    // What stands between quotes is a value.
    for outside in expression.split('"').step_by(2) {
        words.extend(outside.split(|letter| !is_name(letter)).filter(|word| !word.is_empty()));
    }
    words
}

/// What an expression names that there is not.
fn wrong(expression: &str) -> Vec<String> {
    const GRAMMAR: &[&str] = &[
        "sum",
        "max",
        "count",
        "by",
        "rate",
        "increase",
        "topk",
        "histogram_quantile",
        "le",
        "instance",
        "__rate_interval",
    ];
    let words = words(expression);
    let names: Vec<&&str> = words.iter().filter(|word| word.starts_with("encoderd_")).collect();
    let mut wrong = Vec::new();
    let mut labels: BTreeSet<&str> = BTreeSet::new();
    for name in &names {
        let metric = ALL.iter().find(|metric| match metric.kind {
            Kind::Histogram => {
                ["_bucket", "_sum", "_count"].iter().any(|end| **name == format!("{}{end}", metric.name))
            }
            Kind::Counter | Kind::Gauge => metric.name == **name,
        });
        match metric {
            Some(metric) => labels.extend(metric.labels.iter().copied()),
            None => wrong.push(format!("there is no metric {name}")),
        }
    }
    if names.is_empty() {
        wrong.push("it names no metric".to_owned());
    }
    for word in &words {
        let is_number = word.starts_with(|letter: char| letter.is_ascii_digit());
        if !is_number && !word.starts_with("encoderd_") && !GRAMMAR.contains(word) && !labels.contains(word) {
            wrong.push(format!("its metrics have no label {word}"));
        }
    }
    wrong
}

#[test]
fn the_document_has_every_metric_and_no_other() {
    let written: Vec<&str> = DOCUMENT.lines().filter(|line| line.starts_with("| `encoderd_")).collect();
    assert_eq!(written, table());
}

#[test]
fn the_dashboard_shows_every_metric_and_names_no_other() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert_eq!(wrong(expression), [""; 0], "{}: {expression}", panel["title"]);
            shown.extend(words(expression).into_iter().map(str::to_owned));
            for label in target["legendFormat"].as_str().unwrap().split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                assert!(words(expression).contains(label), "{}: the legend's {label}", panel["title"]);
            }
        }
    }
    for metric in ALL {
        let is_shown = shown.iter().any(|word| word.starts_with(metric.name));
        assert!(is_shown, "{} is on no panel", metric.name);
    }
}

#[test]
fn a_name_that_is_wrong_is_found() {
    for (expression, found) in [
        ("sum(encoderd_job_total)", "there is no metric encoderd_job_total"),
        ("sum by (card) (encoderd_encoders)", "its metrics have no label card"),
        ("sum(rate(encoderd_job_duration_seconds[5m]))", "there is no metric encoderd_job_duration_seconds"),
        ("sum(up)", "it names no metric"),
    ] {
        assert!(wrong(expression).iter().any(|sentence| sentence == found), "{expression}: {:?}", wrong(expression));
    }
    assert_eq!(wrong("sum by (state) (encoderd_encoders{instance=~\"$instance\",state!=\"online\"})"), [""; 0]);
}
