"""A caller that sees a reply byte for byte, up to the moment and the manner of its end."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import httptools
import msgspec
from typing_extensions import override

from backends.sandbox import SandboxServer


class Listening(Protocol):
    """Whom one can call."""

    host: str
    port: int


class Reply:
    """What came back. `error` is how the connection died, if it died before the reply was complete."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        self.error: BaseException | None = None

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def data(self) -> list[bytes]:
        """What follows `data: ` in each event that is complete."""
        events = [event for event in self.body.split(b"\n\n")[:-1] if event[:1] != b":"]
        assert all(event.startswith(b"data: ") for event in events)
        return [event[6:] for event in events]

    @property
    def chunks(self) -> list[Any]:
        """The events decoded, without the end mark."""
        return [msgspec.json.decode(one) for one in self.data if one != b"[DONE]"]

    @property
    def deltas(self) -> list[Any]:
        return [chunk["choices"][0]["delta"] for chunk in self.chunks if chunk.get("choices")]

    def text(self, field: str = "content") -> str:
        return "".join(delta.get(field) or "" for delta in self.deltas)


class Caller(asyncio.Protocol):
    """One connection, good for one request after the other."""

    def __init__(self) -> None:
        self.reply = Reply()
        self._parser = httptools.HttpResponseParser(self)
        self._changed = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self.lost = False

    @classmethod
    async def connect(cls, server: Listening) -> "Caller":
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_connection(cls, server.host, server.port)
        return caller

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    @override
    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        self._changed.set()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.reply.complete:
            self.reply.error = exc or EOFError()
        self._changed.set()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.reply.headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self.reply.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.reply.body += body

    def on_message_complete(self) -> None:
        self.reply.complete = self.reply.status >= 200

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = "sk-test",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send one request; the reply under way is a new one."""
        assert self.transport is not None
        self.reply = Reply()
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body) if body else b""
        lines = [f"{method} {path} HTTP/1.1", "Host: sandbox", f"Content-Length: {len(raw)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        self.transport.write("\r\n".join((*lines, "", "")).encode() + raw)

    async def until(self, seen: Callable[[Reply], bool], within: float = 5.0) -> Reply:
        """The reply, as soon as it is as wanted, complete or broken."""
        async with asyncio.timeout(within):
            while not (seen(self.reply) or self.reply.complete or self.lost):
                self._changed.clear()
                await self._changed.wait()
        return self.reply

    async def whole(self) -> Reply:
        return await self.until(lambda _: False)

    def leave(self) -> None:
        assert self.transport is not None
        self.transport.close()

    async def gone(self) -> None:
        self.leave()
        async with asyncio.timeout(5):
            while not self.lost:
                self._changed.clear()
                await self._changed.wait()


async def request(
    server: Listening,
    method: str,
    path: str,
    body: object = None,
    *,
    key: str | None = "sk-test",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request on a connection of its own."""
    caller = await Caller.connect(server)
    caller.send(method, path, body, key=key, headers=headers)
    reply = await caller.whole()
    await caller.gone()
    return reply


MODELS = {
    "Moonshot AI": "kimi-k3",
    "OpenRouter": "moonshotai/kimi-k2.6",
    "Vercel AI Gateway": "moonshotai/kimi-k2.6",
    "Novita AI": "moonshotai/kimi-k2.6",
    "vLLM": "tiny-kimi",
}


def chat_body(server: SandboxServer, content: str = "hello", **fields: Any) -> dict[str, Any]:
    """A small chat request for a model that thinks, at whichever provider."""
    messages = [{"role": "user", "content": content}]
    return {"model": MODELS[server.dialect.title], "messages": messages, **fields}


def chat_path(server: SandboxServer) -> str:
    return f"{server.dialect.base_path}/chat/completions"


async def chat(server: SandboxServer, content: str = "hello", **fields: Any) -> Reply:
    """A chat request and its whole reply."""
    return await request(server, "POST", chat_path(server), chat_body(server, content, **fields))


TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
