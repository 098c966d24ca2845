//! Fields that no schema knows, put everywhere and looked for.

use otlp::Signal;
use otlp::wire::{FieldValue, Fields, write_bytes_field};

/// Beyond every field number of the protocol.
const UNKNOWN: u32 = 1000;

/// The path of field numbers from the request to a message of the tree, as far as it is known.
fn is_tree(signal: Signal, path: &[u32]) -> bool {
    matches!(path, [1] | [1, 1 | 2] | [1, 2, 1 | 2])
        || signal == Signal::Metrics
            && matches!(path, [1, 2, 2, 5 | 7 | 9 | 10 | 11] | [1, 2, 2, 5 | 7 | 9 | 10 | 11, 1])
}

/// The request with an unknown field in the request and in every block, resource, scope, metric and record.
pub fn add(signal: Signal, request: &[u8]) -> Vec<u8> {
    add_below(signal, &mut Vec::new(), request)
}

fn add_below(signal: Signal, path: &mut Vec<u32>, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in Fields::new(message) {
        path.push(field.number);
        match field.value {
            FieldValue::Length(body) if is_tree(signal, path) => {
                write_bytes_field(&mut out, field.number, &add_below(signal, path, body));
            }
            _ => out.extend_from_slice(field.raw(message)),
        }
        path.pop();
    }
    write_bytes_field(&mut out, UNKNOWN, format!("unknown in {path:?} of {} bytes", message.len()).as_bytes());
    out
}

/// The unknown fields, in wire order, each with the path to it.
pub fn find(signal: Signal, request: &[u8]) -> Vec<(Vec<u32>, String)> {
    let mut found = Vec::new();
    find_below(signal, &mut Vec::new(), request, &mut found);
    found
}

fn find_below(signal: Signal, path: &mut Vec<u32>, message: &[u8], found: &mut Vec<(Vec<u32>, String)>) {
    for field in Fields::new(message) {
        if field.number == UNKNOWN {
            found.push((path.clone(), field.value.str().to_owned()));
        }
        path.push(field.number);
        if let (FieldValue::Length(body), true) = (field.value, is_tree(signal, path)) {
            find_below(signal, path, body, found);
        }
        path.pop();
    }
}
