//! What a counting backend does wrong, and when.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use component::clock::Mono;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How a backend treats requests. In JSON `{"kind":"slow","delay_ms":200}`; as text `slow:200`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// Counts them and answers success.
    #[default]
    Healthy,
    /// UNAVAILABLE or 503: try again.
    Refuse {
        /// The pause that it asks for, in milliseconds; over HTTP rounded up to seconds. None, if absent.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// RESOURCE_EXHAUSTED or 429: too much, try again later.
    Throttle {
        /// The pause that it asks for, in milliseconds; without it, OTLP clients do not try again.
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    /// Takes the request and never answers, not even when it is healthy again.
    Hang,
    /// INVALID_ARGUMENT or 400: never try again.
    Reject,
    /// Counts them, and answers success late.
    Slow {
        /// How late, in milliseconds.
        delay_ms: u64,
    },
    /// Rejects the last items of each request for good, and counts the others. Remote write answers 400, as Prometheus
    /// does for some samples of many.
    PartialSuccess {
        /// How many items of each request.
        rejected_items: u32,
    },
    /// Answers success and counts nothing: a backend that loses data.
    Swallow,
    /// Counts them and answers UNAVAILABLE or 503: an answer that got lost. Honest senders duplicate then.
    LoseAnswer,
}

/// Why text is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No such kind.
    #[error(
        "`{0}` is no kind of fault: expected healthy, refuse, throttle, hang, reject, slow, partial_success, swallow or \
         lose_answer"
    )]
    Kind(String),
    /// The figure behind the colon is no number.
    #[error("`{0}`: expected a kind and a number, such as `slow:200`")]
    Figure(String),
}

impl FromStr for Fault {
    type Err = FaultError;

    /// `refuse`, `refuse:500` and `throttle:500` (pause in milliseconds), `hang`, `reject`, `slow:200` (delay in
    /// milliseconds, 1000 if left out), `partial_success:3` (items, 1 if left out), `swallow`, `lose_answer`, `healthy`.
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (kind, figure) = match text.split_once(':') {
            None => (text, None),
            Some((kind, figure)) => {
                (kind, Some(figure.parse::<u32>().map_err(|_| FaultError::Figure(text.to_owned()))?))
            }
        };
        let ms = figure.map(u64::from);
        let fault = match kind {
            "refuse" => Fault::Refuse { retry_after_ms: ms },
            "throttle" => Fault::Throttle { retry_after_ms: ms },
            "slow" => Fault::Slow { delay_ms: ms.unwrap_or(1000) },
            "partial_success" => Fault::PartialSuccess { rejected_items: figure.unwrap_or(1) },
            _ if figure.is_some() => return Err(FaultError::Figure(text.to_owned())),
            "healthy" => Fault::Healthy,
            "hang" => Fault::Hang,
            "reject" => Fault::Reject,
            "swallow" => Fault::Swallow,
            "lose_answer" => Fault::LoseAnswer,
            _ => return Err(FaultError::Kind(kind.to_owned())),
        };
        Ok(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Healthy => f.write_str("healthy"),
            Fault::Refuse { retry_after_ms: None } => f.write_str("refuse"),
            Fault::Refuse { retry_after_ms: Some(ms) } => write!(f, "refuse:{ms}"),
            Fault::Throttle { retry_after_ms: None } => f.write_str("throttle"),
            Fault::Throttle { retry_after_ms: Some(ms) } => write!(f, "throttle:{ms}"),
            Fault::Hang => f.write_str("hang"),
            Fault::Reject => f.write_str("reject"),
            Fault::Slow { delay_ms } => write!(f, "slow:{delay_ms}"),
            Fault::PartialSuccess { rejected_items } => write!(f, "partial_success:{rejected_items}"),
            Fault::Swallow => f.write_str("swallow"),
            Fault::LoseAnswer => f.write_str("lose_answer"),
        }
    }
}

/// A fault that begins and ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultWindow {
    /// The fault.
    pub fault: Fault,
    /// When it begins, counted from the start of the backend.
    pub after: Duration,
    /// How long it lasts; to the end, if absent.
    pub lasts: Option<Duration>,
}

/// Faults on a timetable. Where windows overlap, the later one of the list holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// The windows; without any, the backend is healthy.
    pub windows: Vec<FaultWindow>,
}

impl FaultPlan {
    /// A fault from the start to the end.
    pub fn always(fault: Fault) -> Self {
        FaultPlan { windows: vec![FaultWindow { fault, after: Duration::ZERO, lasts: None }] }
    }

    /// One window.
    pub fn once(fault: Fault, after: Duration, lasts: Duration) -> Self {
        FaultPlan { windows: vec![FaultWindow { fault, after, lasts: Some(lasts) }] }
    }

    /// The fault so long after the start.
    pub fn at(&self, elapsed: Duration) -> Fault {
        let holds = |window: &&FaultWindow| {
            elapsed >= window.after && window.lasts.is_none_or(|lasts| elapsed - window.after < lasts)
        };
        self.windows.iter().rev().find(holds).map_or(Fault::Healthy, |window| window.fault)
    }
}

/// The plan, and what was switched by hand since.
#[derive(Debug)]
pub(super) struct Faults {
    plan: FaultPlan,
    started: Mono,
    switched: Mutex<Option<Switched>>,
}

#[derive(Clone, Copy, Debug)]
struct Switched {
    fault: Fault,
    until: Option<Mono>,
}

impl Faults {
    pub(super) fn new(plan: FaultPlan, started: Mono) -> Self {
        Faults { plan, started, switched: Mutex::new(None) }
    }

    pub(super) fn current(&self, now: Mono) -> Fault {
        let mut switched = self.switched.lock();
        if let Some(Switched { fault, until }) = *switched {
            if until.is_none_or(|until| now < until) {
                return fault;
            }
            *switched = None;
        }
        drop(switched);
        self.plan.at(now.saturating_duration_since(self.started))
    }

    /// Switches by hand, against the plan. With `lasts`, the plan holds again afterwards.
    pub(super) fn switch(&self, fault: Fault, lasts: Option<Duration>, now: Mono) {
        // What lasts longer than the clock can count lasts for good.
        let until = lasts.and_then(|lasts| now.checked_add(lasts));
        *self.switched.lock() = Some(Switched { fault, until });
    }
}

#[cfg(test)]
mod tests {
    use component::clock::mono;

    use super::*;

    fn check(text: &str, expected: Fault) {
        let fault: Fault = text.parse().unwrap();
        assert_eq!(fault, expected);
        assert_eq!(fault.to_string().parse(), Ok(expected));
        let json = serde_json::to_string(&fault).unwrap();
        assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), expected, "{json}");
    }

    #[test]
    fn faults_are_written_as_they_are_read() {
        check("healthy", Fault::Healthy);
        check("refuse", Fault::Refuse { retry_after_ms: None });
        check("refuse:500", Fault::Refuse { retry_after_ms: Some(500) });
        check("throttle:20", Fault::Throttle { retry_after_ms: Some(20) });
        check("hang", Fault::Hang);
        check("reject", Fault::Reject);
        check("slow", Fault::Slow { delay_ms: 1000 });
        check("slow:5", Fault::Slow { delay_ms: 5 });
        check("partial_success:7", Fault::PartialSuccess { rejected_items: 7 });
        check("swallow", Fault::Swallow);
        check("lose_answer", Fault::LoseAnswer);
        assert_eq!("hang:3".parse::<Fault>(), Err(FaultError::Figure("hang:3".to_owned())));
        assert_eq!("slow:soon".parse::<Fault>(), Err(FaultError::Figure("slow:soon".to_owned())));
        assert_eq!("broken".parse::<Fault>(), Err(FaultError::Kind("broken".to_owned())));
    }

    #[test]
    fn a_window_begins_and_ends() {
        let second = Duration::from_secs(1);
        let plan = FaultPlan::once(Fault::Hang, second * 30, second * 30);
        for (at_s, expected) in [(0, Fault::Healthy), (29, Fault::Healthy), (30, Fault::Hang), (59, Fault::Hang)] {
            assert_eq!(plan.at(second * at_s), expected, "{at_s}");
        }
        assert_eq!(plan.at(second * 60), Fault::Healthy);
        assert_eq!(FaultPlan::always(Fault::Reject).at(Duration::MAX), Fault::Reject);
    }

    #[test]
    fn a_switch_goes_before_the_plan_until_it_ends() {
        let now = mono();
        let second = Duration::from_secs(1);
        let faults = Faults::new(FaultPlan::once(Fault::Hang, second * 10, second), now);
        faults.switch(Fault::Reject, Some(second * 2), now);
        assert_eq!(faults.current(now + second), Fault::Reject);
        assert_eq!(faults.current(now + second * 2), Fault::Healthy);
        assert_eq!(faults.current(now + second * 10), Fault::Hang);
        faults.switch(Fault::Healthy, None, now + second * 10);
        assert_eq!(faults.current(now + second * 10), Fault::Healthy);
        faults.switch(Fault::Swallow, Some(Duration::MAX), now);
        assert_eq!(faults.current(now + second * 1000), Fault::Swallow);
    }
}
