//! Graphite's plaintext protocol, both ways: `path value timestamp`, one sample a line.
//!
//! Specification: [Feeding in your data](https://graphite.readthedocs.io/en/stable/feeding-carbon.html) and
//! [Tags](https://graphite.readthedocs.io/en/stable/tags.html#carbon). What they leave open is decided as the
//! Collector's receiver and exporter do.
//!
//! Coming in, a path is a name with tags (`disk.used;host=a`), or is taken apart by regular expressions ([`Parser`]). A
//! line is a data point of a gauge, or of a monotonic cumulative sum where a rule says so.
//!
//! Going out, the format loses: kinds and temporality (all are values at a time), units, descriptions, scopes,
//! exemplars, start times, and fractions of seconds. A histogram is `name.count`, `name` (the sum) and `name.bucket`
//! with a tag `upper_bound`; a summary is `name.count`, `name` and `name.quantile` with a tag `quantile`.
//!
//! The pickle protocol is not read: it is a program for Python's virtual machine.
//!
//! ```
//! use legacy::carbon::{Parser, Reader};
//!
//! let parser = Parser::plaintext();
//! let mut reader = Reader::new(&parser);
//! reader.line(b"disk.used;host=a 42 1700000000", 0)?;
//! assert_eq!(reader.finish().items(), 1);
//! # Ok::<(), legacy::carbon::LineError>(())
//! ```

mod line;
mod path;
mod read;
mod write;

pub use line::{LINE_BYTES_MAX, LineError};
pub use path::{Parser, PathKind, Rule, RuleError};
pub use read::Reader;
pub use write::{ResourceTags, write};
