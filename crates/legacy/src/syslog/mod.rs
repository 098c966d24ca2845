//! Syslog messages, of the old form and the new one.
//!
//! Specifications: [RFC 5424](https://www.rfc-editor.org/rfc/rfc5424) and [RFC 3164](https://www.rfc-editor.org/rfc/rfc3164),
//! which describes rather than prescribes. Readers are strict about structure and lenient where messages of the field
//! are: lengths of fields are not limited, RFC 3164 may leave out its host and have a time of RFC 3339.
//!
//! ```
//! use legacy::syslog::{Leading, rfc5424};
//! let message = rfc5424::read("<34>1 2003-10-11T22:14:15.003Z host su - ID47 - failed", Leading::Priority)?;
//! assert_eq!(message.priority.map(|priority| priority.severity().text()), Some("crit"));
//! assert_eq!((message.appname, message.message), (Some("su"), Some("failed")));
//! # Ok::<(), legacy::syslog::SyslogError>(())
//! ```

mod reader;
pub mod rfc3164;
pub mod rfc5424;
mod time;

use std::borrow::Cow;

pub use time::Zone;

/// What a message says. What it leaves out, or writes as `-`, is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where it comes from in a system, and how serious it is.
    pub priority: Option<Priority>,
    /// The version of the protocol: RFC 5424 only.
    pub version: Option<u16>,
    /// When it happened, in nanoseconds since the Unix epoch. Before 1970 counts as unknown.
    pub timestamp_unix_ns: Option<u64>,
    /// The host.
    pub hostname: Option<&'a str>,
    /// The program; the tag of RFC 3164.
    pub appname: Option<&'a str>,
    /// Its process, mostly.
    pub proc_id: Option<&'a str>,
    /// What kind of message it is: RFC 5424 only.
    pub msg_id: Option<&'a str>,
    /// What describes it: RFC 5424 only.
    pub structured_data: Vec<Element<'a>>,
    /// The text, without the mark of its encoding.
    pub message: Option<&'a str>,
}

/// An element of structured data. An id may come twice, and a parameter may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its id, such as `exampleSDID@32473`.
    pub id: &'a str,
    /// Its parameters, names and values.
    pub params: Vec<(&'a str, Cow<'a, str>)>,
}

/// Whether a message must begin with its priority: `allow_skip_pri_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leading {
    /// It must.
    Priority,
    /// It may.
    OptionalPriority,
}

/// Facility and severity, as one number from 0 to 191.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(u8);

/// How serious a message is, from 0 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Severity(u8);

impl Priority {
    /// The priority with this number, if there is one.
    pub const fn new(number: u8) -> Option<Priority> {
        if number <= 191 { Some(Priority(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The number of the facility, from 0 to 23.
    pub const fn facility(self) -> u8 {
        self.0 / 8
    }

    /// The name of the facility: RFC 5427, as the Collector writes it.
    pub const fn facility_text(self) -> &'static str {
        match self.facility() {
            0 => "kern",
            1 => "user",
            2 => "mail",
            3 => "daemon",
            4 => "auth",
            5 => "syslog",
            6 => "lpr",
            7 => "news",
            8 => "uucp",
            9 => "cron",
            10 => "authpriv",
            11 => "ftp",
            12 => "ntp",
            13 => "security",
            14 => "console",
            15 => "cron2",
            16 => "local0",
            17 => "local1",
            18 => "local2",
            19 => "local3",
            20 => "local4",
            21 => "local5",
            22 => "local6",
            _ => "local7",
        }
    }

    /// The severity.
    pub const fn severity(self) -> Severity {
        Severity(self.0 % 8)
    }
}

impl Severity {
    /// Its name: RFC 5424, section 6.2.1, as syslog.conf shortens it.
    pub const fn text(self) -> &'static str {
        match self.0 {
            0 => "emerg",
            1 => "alert",
            2 => "crit",
            3 => "err",
            4 => "warning",
            5 => "notice",
            6 => "info",
            _ => "debug",
        }
    }

    /// Its number in OTLP, as the Collector maps it.
    pub const fn otlp_number(self) -> i32 {
        match self.0 {
            0 => 21,
            1 => 19,
            2 => 18,
            3 => 17,
            4 => 13,
            5 => 10,
            6 => 9,
            _ => 5,
        }
    }
}

/// What is wrong with a message, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct SyslogError {
    /// The offset in the message, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub kind: SyslogErrorKind,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyslogErrorKind {
    /// It does not begin with a priority.
    #[error("expected a priority from `<0>` to `<191>`")]
    Priority,
    /// The version of RFC 5424 is missing.
    #[error("expected a version from 1 to 999 and a space")]
    Version,
    /// The time is none.
    #[error("expected {0}")]
    Timestamp(&'static str),
    /// A field of the header is missing.
    #[error("expected {0} and a space")]
    Header(&'static str),
    /// The structured data is malformed.
    #[error("expected {0} of the structured data")]
    StructuredData(&'static str),
}

impl SyslogErrorKind {
    /// A short name, for counters.
    pub const fn cause(self) -> &'static str {
        match self {
            SyslogErrorKind::Priority => "no_priority",
            SyslogErrorKind::Version => "no_version",
            SyslogErrorKind::Timestamp(_) => "no_timestamp",
            SyslogErrorKind::Header(_) => "malformed_header",
            SyslogErrorKind::StructuredData(_) => "malformed_structured_data",
        }
    }
}
