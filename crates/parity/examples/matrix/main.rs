//! The fault-injection matrix: what the comparators say of streams whose difference is known.
//!
//! `cargo run --release -p crossfade-parity --example matrix -- DAYS RUNS [ROW]` compares so many days of each clean kind
//! and runs each fault so many times; it prints the tables of `docs/parity.md`.
#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod lab;

use lab::Outcome;
use lab::rows::{Row, clean_rows, faulty_rows};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (days, runs) = (number(100), number(40));
    let wanted = std::env::args().nth(3).unwrap_or_default();
    let is_wanted = |row: &Row| format!("{} {}", row.method, row.name).contains(&wanted);
    println!(
        "| method | what | series-days | different | failure named | equal at the end | 1 % of rates | 1e-6 of rates |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut total = 0.0;
    for row in clean_rows().into_iter().filter(|row| days > 0 && is_wanted(row)) {
        let outcomes: Vec<Outcome> = (0..days).map(|seed| (row.run)(seed, 24.0)).collect();
        total += outcomes.iter().map(|outcome| outcome.days).sum::<f64>();
        print_clean(&row, &outcomes);
    }
    println!("\n{total:.0} series-days without a difference.\n");
    println!("| method | difference | found | after, median | 90 % | cause named | failure named | 1 % of rates |");
    println!("|---|---|---|---|---|---|---|---|");
    for row in faulty_rows().into_iter().filter(|row| runs > 0 && is_wanted(row)) {
        let outcomes: Vec<Outcome> = (0..runs).map(|seed| (row.run)(seed, 3.0)).collect();
        print_faulty(&row, &outcomes);
    }
}

fn share(outcomes: &[Outcome], at: usize) -> String {
    let (different, all) =
        outcomes.iter().map(|outcome| outcome.naive[at]).fold((0, 0), |sum, naive| (sum.0 + naive.0, sum.1 + naive.1));
    format!("{:.0} %", 100.0 * different as f64 / all.max(1) as f64)
}

fn print_clean(row: &Row, outcomes: &[Outcome]) {
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    for (seed, outcome) in
        outcomes.iter().enumerate().filter(|(_, outcome)| outcome.named.is_some() || outcome.found_s.is_some())
    {
        eprintln!(
            "{} {} seed {seed}: {:?} {} {}",
            row.method, row.name, outcome.found_s, outcome.cause, outcome.sentence
        );
    }
    for (seed, open) in outcomes.iter().enumerate().filter(|(_, outcome)| outcome.last == "inconclusive") {
        eprintln!("{} {} seed {seed} is open: {}", row.method, row.name, open.sentence);
    }
    let days: f64 = outcomes.iter().map(|outcome| outcome.days).sum();
    println!(
        "| {} | {} | {days:.0} | {} | {} | {} of {} | {} | {} |",
        row.method,
        row.name,
        count(|outcome| outcome.found_s.is_some()),
        count(|outcome| outcome.named.is_some()),
        count(|outcome| outcome.last == "equivalent"),
        outcomes.len(),
        share(outcomes, 0),
        share(outcomes, 1),
    );
}

fn print_faulty(row: &Row, outcomes: &[Outcome]) {
    let runs = outcomes.len();
    let mut found: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.found_s).collect();
    found.sort_by(f64::total_cmp);
    let minutes = |share: f64| {
        let at = (share * runs as f64).ceil() as usize;
        found.get(at.saturating_sub(1)).map_or_else(|| "–".to_owned(), |seconds| format!("{:.0} min", seconds / 60.0))
    };
    let named = outcomes.iter().filter(|outcome| row.causes.contains(&outcome.cause.as_str())).count();
    let failures = outcomes.iter().filter(|outcome| outcome.named.is_some() && outcome.named == row.failure).count();
    let failures = if row.failure.is_none() { "–".to_owned() } else { format!("{failures}") };
    if named < runs {
        let odd = outcomes.iter().find(|outcome| !row.causes.contains(&outcome.cause.as_str()));
        eprintln!("{} {}: {:?}", row.method, row.name, odd.map(|odd| (&odd.cause, odd.last, &odd.sentence)));
    }
    println!(
        "| {} | {} | {} of {runs} | {} | {} | {named} | {failures} | {} |",
        row.method,
        row.name,
        found.len(),
        minutes(0.5),
        minutes(0.9),
        share(outcomes, 0),
    );
}
