"""Keeps remote writes as they were sent: a JSON object on each line, with the
headers of the request and its body in base64. `docs/parity-cli.md` has the
same as a program to copy."""

from __future__ import annotations

import base64
import http.server
import json
import pathlib


class Capture:
    """A server that keeps what is posted to it."""

    def __init__(self, path: pathlib.Path) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with open(path, "a") as file:
                    kept = {"headers": dict(self.headers), "body": base64.b64encode(body).decode()}
                    file.write(json.dumps(kept) + "\n")
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]

    def serve(self) -> None:
        """Serves until it is stopped."""
        self._server.serve_forever()

    def stop(self) -> None:
        """Takes nothing more."""
        self._server.shutdown()
        self._server.server_close()
