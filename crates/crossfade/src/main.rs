//! The command line.

mod api;
mod check;
mod components;
mod dashboard;
mod demo;
mod journal;
mod ledger;
mod load;
mod moment;
mod parity;
mod replay;
mod run;
mod signals;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Moves telemetry from a legacy pipeline to a new one, and proves that both tell the same story.
#[derive(Debug, Parser)]
#[command(name = "crossfade", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the pipelines of a configuration until SIGINT or SIGTERM.
    Run(run::RunArguments),
    /// Report every error of a configuration, or print the graph that it would run.
    Check(check::CheckArguments),
    /// Show it: a shop that is proven to count the same both ways, two failures, and a verdict, in about a minute.
    Demo(demo::DemoArguments),
    /// What became of every item, in a running process; fails where it does not add up.
    Ledger(ledger::LedgerArguments),
    /// Send again what the journal on disk still has, to a backend that lost it or came late.
    Replay(replay::ReplayArguments),
    /// Compare two recordings or two backends: 0 if they are equal, 1 if something differs, 2 if it is open, 3 on errors.
    Parity(Box<parity::ParityArguments>),
    /// A Grafana dashboard for a migration that runs.
    Dashboard(dashboard::DashboardArguments),
    /// Look into a journal on disk.
    Journal(journal::JournalArguments),
    /// Make traffic, or count it.
    Load(load::LoadArguments),
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct ConfigArguments {
    /// A configuration file, in the OpenTelemetry Collector's YAML; repeat it to merge several: maps merge, lists
    /// replace.
    #[arg(long = "config", short = 'c', value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl ConfigArguments {
    /// The files, without the `file:` that the Collector allows in front of them.
    fn paths(&self) -> Vec<PathBuf> {
        let plain = |path: &PathBuf| path.to_str().and_then(|text| text.strip_prefix("file:")).map(PathBuf::from);
        self.files.iter().map(|path| plain(path).unwrap_or_else(|| path.clone())).collect()
    }
}

/// Where the configuration is, if it is needed.
#[derive(Debug, clap::Args)]
struct MaybeConfigArguments {
    /// A configuration file, as for `run`.
    #[arg(long = "config", short = 'c', value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl MaybeConfigArguments {
    /// The configuration, if one was named.
    fn named(&self) -> Option<ConfigArguments> {
        (!self.files.is_empty()).then(|| ConfigArguments { files: self.files.clone() })
    }
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Ends the process for what the command line parser has to say. It ends with 2 on errors, which is a verdict of `parity`.
fn leave(error: &clap::Error) -> ! {
    let is_of_parity = std::env::args_os().nth(1).is_some_and(|command| command == "parity");
    if error.use_stderr() && is_of_parity {
        let _ = error.print();
        std::process::exit(i32::from(parity::ERROR));
    }
    error.exit()
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| leave(&error));
    let result = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Ledger(arguments) => ledger::ledger(&arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::Parity(arguments) => return parity::parity(&arguments),
        Command::Dashboard(arguments) => dashboard::dashboard(&arguments),
        Command::Journal(arguments) => journal::journal(&arguments),
        Command::Load(arguments) => load::load(arguments),
    };
    result.unwrap_or_else(|error| {
        // The one place that writes to a person who did not ask for a log.
        #[allow(clippy::print_stderr)]
        {
            eprintln!("crossfade: {error:#}");
        }
        ExitCode::FAILURE
    })
}
