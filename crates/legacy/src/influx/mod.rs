//! The line protocol of InfluxDB, both ways: `measurement,tag=value field=1 timestamp`.
//!
//! Specification: [Line protocol](https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/). Metrics are
//! mapped by the schemas that Telegraf's Prometheus plugin made and that InfluxData's
//! [influxdb-observability](https://github.com/influxdata/influxdb-observability/blob/main/docs/metrics.md) writes down:
//!
//! | | `telegraf-prometheus-v1` | `telegraf-prometheus-v2` |
//! |---|---|---|
//! | measurement | the metric's name | `prometheus` |
//! | gauge | field `gauge` | field of the metric's name |
//! | monotonic sum | field `counter` | field of the metric's name |
//! | histogram | a field for each bound and `+Inf`, `count`, `sum`, `min`, `max` | `name_bucket` by tag `le`, `name_count`, `name_sum`, `name_min`, `name_max` |
//! | summary | a field for each quantile, `count`, `sum` | `name` by tag `quantile`, `name_count`, `name_sum` |
//!
//! Coming in, the schema is told by each line, and a line of neither is a gauge for each of its fields, which is called
//! `measurement_field`. The second schema does not say what is a counter, so all single values are gauges.
//!
//! Going out, the format loses units, descriptions, exemplars, and the kinds of attributes; resource and data point
//! share the tags.
//!
//! ```
//! use legacy::influx::{Precision, Reader};
//!
//! let mut reader = Reader::new(Precision::Seconds, 0);
//! reader.read(b"cpu,host=a idle=98.5,busy=3i 1700000000\n", |fault| panic!("{fault}"));
//! assert_eq!(reader.finish().items(), 2);
//! ```

mod line;
mod precision;
mod read;
mod resource;
mod second;
mod write;
mod writer;

pub use line::{Fault, FieldValue, LineError, Lines, Point};
pub use precision::Precision;
pub use read::Reader;
pub use write::{Schema, write};
pub use writer::LineWriter;
