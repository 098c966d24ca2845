"""Debian's rsyslog and util-linux' logger: both forms of syslog over UDP, TCP and TLS.

Lines go by `logger` into a socket of rsyslog, which forwards each of them in
every form that it knows; `logger` also sends to the program under test
itself."""

from __future__ import annotations

import collections
import subprocess
import time

from harness import plain
from harness.lab import Lab, datagrams_open
from harness.sinks import Sink
from harness.subject import TELEMETRY, check_balance, check_stop

ABOUT = "rsyslog and logger send RFC 5424 and RFC 3164 over UDP, TCP and TLS; every line is there once, taken apart"
NEEDS = ("rsyslogd", "logger")

RECEIVERS = {
    "udp-5424": 'udp: {{listen_address: "127.0.0.1:{port}"}}\n    protocol: rfc5424',
    "udp-3164": 'udp: {{listen_address: "127.0.0.1:{port}"}}\n    protocol: rfc3164\n    location: UTC',
    "tcp-5424-counted": 'tcp: {{listen_address: "127.0.0.1:{port}"}}\n    protocol: rfc5424\n    enable_octet_counting: true',
    "tcp-3164": 'tcp: {{listen_address: "127.0.0.1:{port}"}}\n    protocol: rfc3164\n    location: UTC',
    "tls-5424": (
        'tcp: {{listen_address: "127.0.0.1:{port}", tls: {{cert_file: {cert}, key_file: {key}}}}}\n'
        "    protocol: rfc5424\n    enable_octet_counting: true"
    ),
}
CONFIG = """
receivers:
{receivers}
exporters:
  otlp/sink: {{endpoint: {sink}, tls: {{insecure: true}}}}
service:
  pipelines:
    logs: {{receivers: [{names}], exporters: [otlp/sink]}}
"""
# The forms that rsyslog has built in, and how it puts them on a stream.
RSYSLOG = """
global(workDirectory="{directory}" net.enableDNS="off" defaultNetstreamDriverCAFile="{cert}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" RateLimit.Interval="0" UseSysTimeStamp="off" CreatePath="on" Ruleset="everywhere")
ruleset(name="everywhere") {{
  action(type="omfwd" target="127.0.0.1" port="{udp_5424}" protocol="udp" template="RSYSLOG_SyslogProtocol23Format")
  action(type="omfwd" target="127.0.0.1" port="{udp_3164}" protocol="udp" template="RSYSLOG_TraditionalForwardFormat")
  action(type="omfwd" target="127.0.0.1" port="{tcp_5424_counted}" protocol="tcp" TCP_Framing="octet-counted"
    template="RSYSLOG_SyslogProtocol23Format")
  action(type="omfwd" target="127.0.0.1" port="{tcp_3164}" protocol="tcp" template="RSYSLOG_TraditionalForwardFormat")
  action(type="omfwd" target="127.0.0.1" port="{tls_5424}" protocol="tcp" TCP_Framing="octet-counted"
    template="RSYSLOG_SyslogProtocol23Format" StreamDriver="gtls" StreamDriverMode="1" StreamDriverAuthMode="anon")
}}
"""
# A burst that fits into the buffer of a UDP socket as kernels have it by default: what is lost there says nothing here.
LINES = 200
# Warning of local3, as number and by name.
PRIORITY, FACILITY, SEVERITY_WARNING = 156, 19, 13


def run(lab: Lab) -> None:
    """rsyslog first, then logger by itself."""
    sink = Sink(lab, "sink", "grpc")
    cert, key = lab.directory / "server.crt", lab.directory / "server.key"
    _certificate(cert, key)
    ports, telemetry = {name: lab.port() for name in RECEIVERS}, lab.port()
    receivers = "".join(
        f"  syslog/{name}:\n    {text.format(port=ports[name], cert=cert, key=key)}\n"
        # Which receiver a record came by, so that the forms can be told apart behind.
        f"    attributes: {{way: {name}}}\n"
        for name, text in RECEIVERS.items()
    )
    names = ", ".join(f"syslog/{name}" for name in RECEIVERS)
    config = CONFIG.format(receivers=receivers, names=names, sink=sink.endpoint) + TELEMETRY.format(port=telemetry)
    streams = [port for name, port in ports.items() if not name.startswith("udp")]
    subject = lab.subject(config, streams, datagrams=[port for name, port in ports.items() if name.startswith("udp")])
    texts = [f"line {number}: Grüße \"quoted\" [and] {{braces}}" for number in range(LINES)]
    _by_rsyslog(lab, ports, cert, texts)
    _await(sink, LINES * len(RECEIVERS))
    records = plain.logs(plain.requests(sink.path))
    for name in RECEIVERS:
        _judge(lab, f"rsyslog {name}", name, records, texts, "interop", "4711")
    _by_logger(lab, sink, ports)
    check_balance(lab, "all senders", telemetry)
    check_stop(lab, "all senders", subject)


def _certificate(cert, key) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True,
        stderr=subprocess.DEVNULL,
    )


def _by_rsyslog(lab: Lab, ports: dict[str, int], cert, texts: list[str]) -> None:
    socket = lab.directory / "log.sock"
    wiring = {name.replace("-", "_"): port for name, port in ports.items()}
    path = lab.file("rsyslog.conf", RSYSLOG.format(directory=lab.directory, socket=socket, cert=cert, **wiring))
    pid = lab.directory / "rsyslog.pid"
    lab.start("rsyslogd", [lab.tools.rsyslogd, "-n", "-f", path, "-i", pid], lambda: datagrams_open(socket))
    lines = lab.file("lines.txt", "".join(f"{text}\n" for text in texts))
    command = [lab.tools.logger, "--socket", socket, "--tag", "interop", "--id=4711", "-p", "local3.warning", "--file", lines]
    _logger(lab, "logger into rsyslog", command)


def _logger(lab: Lab, title: str, command: list[object]) -> None:
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lab.check(f"{title}: sent without an error", done.returncode == 0, done.stdout.strip())


def _by_logger(lab: Lab, sink: Sink, ports: dict[str, int]) -> None:
    texts = [f"directly {number}" for number in range(50)]
    lines = lab.file("direct.txt", "".join(f"{text}\n" for text in texts))
    before = len(sink.items()["logs"])
    forms = {
        "udp-5424": ["--udp", "--rfc5424", "--msgid", "ORDER", "--sd-id", "zoo@123", "--sd-param", 'tiger="hungry, very"'],
        "udp-3164": ["--udp", "--rfc3164"],
        "tcp-5424-counted": ["--tcp", "--rfc5424", "--octet-count"],
        "tcp-3164": ["--tcp", "--rfc3164"],
    }
    for name, form in forms.items():
        where = ["--server", "127.0.0.1", "--port", str(ports[name])]
        _logger(lab, f"logger {name}", [lab.tools.logger, *where, *form, "--tag", "direct", "--id=12", "-p", "local3.warning", "--file", lines])
    _await(sink, before + len(texts) * len(forms))
    records = plain.logs(plain.requests(sink.path))
    for name in forms:
        _judge(lab, f"logger {name}", name, records, texts, "direct", "12")
    found = [record for record in records if record["attributes"].get("msg_id") == "ORDER"]
    data = found[0]["attributes"].get("structured_data") if found else None
    ok = len(found) == len(texts) and isinstance(data, dict) and data.get("zoo@123") == {"tiger": "hungry, very"}
    lab.check("logger udp-5424: message id and structured data are attributes", ok, data)


def _await(sink: Sink, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(sink.items()["logs"]) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.7)


def _judge(lab: Lab, title: str, way: str, records: list[dict], texts: list[str], tag: str, process: str) -> None:
    mine = [r for r in records if r["attributes"].get("way") == way and r["attributes"].get("appname") == tag]
    wanted = collections.Counter(texts)
    have = collections.Counter(str(record["attributes"].get("message", "")).strip() for record in mine)
    missing, extra = list((wanted - have).elements()), list((have - wanted).elements())
    found = f"{len(missing)} missing, e.g. {missing[:1]}; {len(extra)} not expected, e.g. {extra[:1]}" if missing or extra else ""
    lab.check(f"{title}: every line arrived once", not found, found or f"{len(texts)} lines")
    wrong = [record for record in mine if not _is_taken_apart(record, process)]
    lab.check(f"{title}: priority, severity, process and time are fields", not wrong and bool(mine), wrong[:1])


def _is_taken_apart(record: dict, process: str) -> bool:
    fields = record["attributes"]
    age = abs(time.time() - record["time"] / 1e9)
    return (
        fields.get("priority") == PRIORITY
        and fields.get("facility") == FACILITY
        and record["severity"] == SEVERITY_WARNING
        and fields.get("proc_id") == process
        and bool(fields.get("hostname"))
        and age < 120
    )
