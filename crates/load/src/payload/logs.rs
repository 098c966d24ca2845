//! Log records, one for each span that traces of the same worker have.

use otlp::encode::{LogRecordWriter, LogsEncoder};

use super::slots::{Kind, Mark, placeholder};
use super::{Draft, Plan, describe_resource, write_extra_attributes};

const RECORDS_PER_TRACE: u32 = 5;
const STEP_NS: u32 = 1_000;
/// From when it happened to when it was collected.
const COLLECTED_AFTER_NS: u32 = 250_000;

pub(super) fn draft(plan: &Plan) -> Draft {
    let items = plan.items;
    let mut encoder = LogsEncoder::with_capacity(items as usize * 200 + 1024);
    let mut rng = plan.rng(0);
    for (number, records) in plan.shares() {
        encoder.resource_logs(|block| {
            block.resource(|resource| describe_resource(plan, number, &mut resource.attributes()));
            block.scope_logs(|scope| {
                scope.scope(|scope| {
                    scope.name("shop.orders");
                });
                for _ in records {
                    scope.log_record(|record| write_record(plan, &mut rng, record));
                }
            });
        });
    }
    Draft { batch: encoder.finish(), marks: marks(items) }
}

fn marks(items: u32) -> Vec<Mark> {
    let time = |item: u32| (item % RECORDS_PER_TRACE) * STEP_NS;
    let all = |argument: &dyn Fn(u32) -> u32| (0..items).map(|item| (item, argument(item))).collect();
    vec![
        Mark { kind: Kind::Time, items: all(&time) },
        Mark { kind: Kind::ObservedTime, items: all(&|item| time(item) + COLLECTED_AFTER_NS) },
        // Once in the body, once in the attribute.
        Mark { kind: Kind::LogId, items: (0..items).flat_map(|item| [(item, 0), (item, 0)]).collect() },
        Mark { kind: Kind::TraceId, items: all(&|item| item - item % RECORDS_PER_TRACE) },
        Mark { kind: Kind::SpanId, items: all(&|_| 0) },
    ]
}

fn write_record(plan: &Plan, rng: &mut fastrand::Rng, record: &mut LogRecordWriter<'_>) {
    const SEVERITIES: [(i32, &str); 4] = [(9, "INFO"), (9, "INFO"), (13, "WARN"), (17, "ERROR")];
    let (severity, text) = SEVERITIES[rng.usize(..SEVERITIES.len())];
    record
        .time_unix_nano(placeholder::TIME)
        .observed_time_unix_nano(placeholder::OBSERVED_TIME)
        .severity_number(severity)
        .severity_text(text);
    record.body().string(&format!("order {} took {} ms", placeholder::LOG_ID, rng.u32(10..100)));
    let mut attributes = record.attributes();
    attributes.string(crate::identity::LOG_ID_KEY, placeholder::LOG_ID);
    write_extra_attributes(plan, rng, &mut attributes);
    record.trace_id(placeholder::TRACE_ID).span_id(placeholder::SPAN_ID);
}
