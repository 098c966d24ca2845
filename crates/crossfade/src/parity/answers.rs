//! The answers of both backends, asked again and again while a migration runs.

use std::time::Duration;

use component::Stop;
use pipeline::{Asking, Parity};

use super::ParityArguments;
use super::compare::{Bar, compare_as};
use super::settings::Asked;

/// Asks until it is asked to stop. A backend that does not answer leaves the answers open until it does.
pub(crate) async fn keep_asking(parity: Parity, asking: Asking, stop: Stop) {
    let mut due = tokio::time::interval(asking.every);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // At first there is nothing to ask about.
    due.tick().await;
    loop {
        tokio::select! {
            () = stop.requested() => return,
            _ = due.tick() => {}
        }
        let asked = tokio::select! {
            () = stop.requested() => return,
            asked = ask(&parity, asking.range) => asked,
        };
        match asked {
            Ok((report, notes)) => parity.answered(report, notes),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "parity: the answers of both backends are open");
                parity.did_not_answer(format!("the answers are open: {error:#}"));
            }
        }
    }
}

async fn ask(parity: &Parity, range: Duration) -> anyhow::Result<(::parity::Report, Vec<String>)> {
    let asked = Asked::of(parity.migration())?;
    let (document, _) = compare_as(&ParityArguments::about(range), &asked, Bar::hidden()).await?;
    Ok(document.into_parts())
}
