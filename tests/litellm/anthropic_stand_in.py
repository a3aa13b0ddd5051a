"""A stand-in of Anthropic's messages API, as far as litellm looks at it.

Events and counts are of the form that litellm 1.106.2 reads (its Anthropic adapter, read 2026-11-22): input
tokens do not include what was read from or written to the cache.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from typing_extensions import override

USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 3},
    "output_tokens": 6,
}
THINKING, TEXT = "Let me think.", "A short answer."


def events() -> list[dict[str, Any]]:
    """An answer that thinks first."""
    message: dict[str, Any] = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**USAGE, "output_tokens": 1},
    }
    thought = {"type": "thinking_delta", "thinking": THINKING}
    text = {"type": "text_delta", "text": TEXT}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        {"type": "message_start", "message": message},
        _start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        {"type": "content_block_delta", "index": 0, "delta": thought},
        {"type": "content_block_stop", "index": 0},
        _start(1, {"type": "text", "text": ""}),
        {"type": "content_block_delta", "index": 1, "delta": text},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 6}},
        {"type": "message_stop"},
    ]


def _start(index: int, block: dict[str, str]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def whole() -> dict[str, Any]:
    """The same answer in one piece."""
    return {
        **events()[0]["message"],
        "content": [
            {"type": "thinking", "thinking": THINKING, "signature": ""},
            {"type": "text", "text": TEXT},
        ],
        "stop_reason": "end_turn",
        "usage": USAGE,
    }


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        streamed = asked.get("stream") is True
        if streamed:
            lines = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events()]
            body = "".join(lines).encode()
        else:
            body = json.dumps(whole()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, *_: object) -> None:
        pass


class AnthropicStandIn:
    """The server, in a thread of its own."""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"
