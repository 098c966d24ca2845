//! StatsD: lines of all dialects, added up into OTLP metrics.
//!
//! A receiver has a [`Shard`] in each thread that reads, and one [`Store`]. Shards read packets and share nothing; at
//! the end of an interval the store merges what they collected, and hands out batches.
//!
//! | part | does |
//! |---|---|
//! | [`mod@line`], [`value`] | reads one line without allocating |
//! | [`mapping`] | names, labels and types by statsd_exporter's mapping files |
//! | [`Settings`] | the options, read from a configuration |
//! | [`Shard`], [`Store`] | state: by thread, and by receiver |
//!
//! # Dialects
//!
//! | | `auto` | `etsy` | `dogstatsd` |
//! |---|---|---|---|
//! | types | c, m (as c), g, ms, h, d, s | c, g, ms, h, d, s | c, g, ms, h, d, s |
//! | tags in the name | by line | by line | no: they are part of the name |
//! | tags behind <code>\|#</code> | yes | yes | yes |
//! | a tag without a value | malformed, unless `enable_simple_tags` | the same | an empty value |
//! | `+3` and `-3` of a gauge | change it | change it | set it |
//! | `+3` and `-3` of all else | add it | malformed | add it |
//! | packed values `a:1:2\|d` | each counts; a set has one | malformed | each counts; a set has one |
//! | samples in a row `a:1\|c:2\|ms` | each counts | each counts | malformed |
//! | events, service checks | yes | malformed | yes |
//! | the rate of a counter | value / rate | value / rate | value / rate |
//! | the rate of a timer in a summary | weights count, sum and quantiles | weights the count alone | as `auto` |
//! | the rate of a timer in a histogram | weights buckets, count and sum | the same | the same |
//! | the rate of a gauge or a set | means nothing | means nothing | means nothing |
//!
//! `auto` thus gives lines the meaning that the Collector's receiver gives them, and takes all forms that any of the
//! dialects has. Which form a line has is told by the line: a `,`, `#`, `;` or `[` in the name begins tags in the style
//! of Influx, Librato, Graphite or SignalFx if a `=` follows it, and is part of the name if not. Tags of both places
//! are put together; of several values for one key the last one counts.
//!
//! # What becomes of what
//!
//! | line | metric |
//! |---|---|
//! | counter | sum: integers as long as all of it is whole, doubles from the first fraction on |
//! | gauge | gauge; the last value by arrival over all clients, and the changes after it |
//! | set | gauge with the number of different values in the interval |
//! | timing, histogram, distribution | as `timer_histogram_mapping` or a mapping says |
//! | `T` timestamp, gauge or delta | a data point at that time, and no part of the interval's |
//! | `T` timestamp, cumulative counter | part of the total from now on: a total cannot change in the past |
//! | service check | gauge with the status, 0 to 3, and its message as a log record |
//! | event | log record: the text is the body, the title an attribute |
//!
//! Container ids, external data and cardinality become the attributes `container.id` (or `dogstatsd.cgroup.inode` for
//! an inode), `k8s.container.name` and `k8s.pod.uid`, and `dogstatsd.cardinality`; a host is `host.name`.
//!
//! What several clients send under one name and with the same tags is one series. The Collector keeps it apart by
//! address, but nothing in what it writes tells the parts from each other, so that one overwrites the other further on.
//! With `client_address`, the attribute `client.address` tells them apart.
//!
//! # What is refused
//!
//! A malformed line is counted by its cause ([`Malformed`]); all others of its packet count. NaN, infinities, and rates
//! that are not above 0 and up to 1 are refused. Text that is no UTF-8 is not: what is wrong in it is replaced by
//! U+FFFD, so that its values count. White space around a line is left out; control characters in names and tags are
//! carried as they are.
//!
//! All state has bounds: series by `max_series`, values, set members and events by number and bytes. What is beyond
//! them is refused with the cause `series_limit` or `values_limit`.

mod alias;
mod cell;
mod collected;
mod data;
mod emit;
mod event;
pub mod line;
mod malformed;
pub mod mapping;
mod report;
mod series;
mod settings;
mod shard;
mod slots;
mod store;
pub mod value;

pub use collected::Collected;
pub use emit::SCOPE_NAME;
pub use malformed::Malformed;
pub use mapping::Mappings;
pub use report::{MalformedCounts, MalformedSample, PacketReport};
pub use settings::{CounterNumbers, Dialect, Observer, Settings, Toggle};
pub use shard::{Shard, Source};
pub use store::{Flushed, Merged, Store};

/// A longer line is malformed.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// One hash for shards and store, seeded by the process so that nobody can foresee collisions.
type StatsdHasher = foldhash::fast::RandomState;
