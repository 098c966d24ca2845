#!/usr/bin/env bash
# Ten minutes of all signals to two backends, one of which refuses everything for five. Ends with what both counted.
#   bench/outage.sh [SECONDS] [ITEMS_PER_SECOND]      CROSSFADE_BIN names the binary.
set -euo pipefail
seconds=${1:-600} rate=${2:-6000}
crossfade=${CROSSFADE_BIN:-"$(cd "$(dirname "$0")/.." && pwd)/target/release/crossfade"}
scratch=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$scratch"' EXIT
cat > "$scratch/outage.yaml" <<'YAML'
receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:34317}}}}
processors: {batch: {timeout: 200ms}}
exporters:
  otlp/down:
    endpoint: 127.0.0.1:34327
    tls: {insecure: true}
    compression: none
    retry_on_failure: {initial_interval: 1s, max_interval: 5s}
  otlp/healthy: {endpoint: 127.0.0.1:34328, tls: {insecure: true}, compression: none}
journal: {retention: {size: 3GiB}}
admin: {endpoint: 127.0.0.1:34686}
service:
  telemetry: {metrics: {address: 127.0.0.1:34888}}
  pipelines:
    traces: &way {receivers: [otlp], processors: [batch], exporters: [otlp/down, otlp/healthy]}
    metrics: *way
    logs: *way
YAML
"$crossfade" load receive --otlp-grpc 127.0.0.1:34327 --admin 127.0.0.1:34001 \
    --fail refuse --fail-after "$((seconds / 4))s" --fail-for "$((seconds / 2))s" > "$scratch/down" 2>/dev/null & pids+=($!)
"$crossfade" load receive --otlp-grpc 127.0.0.1:34328 --admin 127.0.0.1:34002 > "$scratch/healthy" 2>/dev/null & pids+=($!)
"$crossfade" run --config "$scratch/outage.yaml" 2> "$scratch/log" & pids+=($!)
sleep 1
"$crossfade" load send --endpoint http://127.0.0.1:34317 --signal all --rate "$rate" --duration "${seconds}s" > "$scratch/sent" &
sender=$!
while kill -0 "$sender" 2>/dev/null; do
    sleep 15
    echo "$(curl -s 127.0.0.1:34686/api/v1/ledger | grep -o '"balanced":[a-z]*,"journal_bytes":[0-9]*')"
done
sleep 10
kill -TERM "${pids[2]}" && wait "${pids[2]}"
kill -TERM "${pids[0]}" "${pids[1]}" && wait "${pids[0]}" "${pids[1]}"
echo "--- sent"; cat "$scratch/sent"
echo "--- the backend that was down"; cat "$scratch/down"
echo "--- the healthy backend"; cat "$scratch/healthy"
echo "--- the ledger"; grep ledger "$scratch/log"
