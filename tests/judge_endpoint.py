# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server that plays a judge's endpoint, well or badly, and keeps what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from verl.config.judge import JudgeConfig
from verl.rewards.judge import Judge
from verl.rewards.judge_prompt import JudgeCase

RESET = object()  # instead of an answer: the connection is cut


@dataclass
class Answer:
    """What goes over the wire."""

    content: str | None = '{"correct": true}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None  # the body, in place of a completion
    length: int | None = None  # what Content-Length claims
    seconds: float = 0.0  # before it comes

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        choice = {"index": 0, "message": {"role": "assistant", "content": self.content}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 5}
        return json.dumps({"model": "judge-1", "choices": [choice], "usage": usage}).encode()


class FakeEndpoint:
    """Answers with `script` in turn, the last one for ever; a function is asked for each request."""

    def __init__(self, *script: Answer | object | Callable[[dict[str, Any]], Answer]) -> None:
        self.script = list(script) or [Answer()]
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.times: list[float] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FakeEndpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def data(self, at: int = -1) -> dict[str, Any]:
        """What the judge was told in one request."""
        return json.loads(self.asked[at]["messages"][1]["content"])

    def _next(self, body: dict[str, Any], key: str | None) -> Answer | object:
        with self._lock:
            step = self.script[min(len(self.asked), len(self.script) - 1)]
            self.asked.append(body)
            self.keys.append(key)
            self.times.append(time.monotonic())
        return step(body) if callable(step) else step

    def _enter(self, change: int) -> None:
        with self._lock:
            self._at_once += change
            self.most_at_once = max(self.most_at_once, self._at_once)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint._enter(+1)
                try:
                    answer = endpoint._next(body, self.headers["Authorization"])
                    time.sleep(answer.seconds if isinstance(answer, Answer) else 0)
                finally:
                    endpoint._enter(-1)
                self._send(answer)

            def _send(self, answer: Answer | object) -> None:
                if self.path != "/v1/chat/completions":
                    answer = Answer(status=404)
                if not isinstance(answer, Answer):
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                    return
                data = answer.body()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data) if answer.length is None else answer.length))
                self.end_headers()
                self.wfile.write(data)
                if answer.length is not None:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (OSError, ValueError):  # the other side has gone
                    self.close_connection = True

        return Handler


def case(response: str = "a red ball", **fields: Any) -> JudgeCase:
    return JudgeCase(**{"question": "What rolls?", "references": ("a ball",), "response": response, **fields})


@contextmanager
def judging(*script: Any, **settings: Any) -> Iterator[tuple[Judge, FakeEndpoint]]:
    with FakeEndpoint(*script) as endpoint:
        judge = Judge(JudgeConfig(**{"base_url": endpoint.url, "model": "m", "timeout_seconds": 2.0, **settings}))
        try:
            yield judge, endpoint
        finally:
            judge.close()
