"""The sandbox server: a provider's stand-in on a port of its own."""

import asyncio
import secrets
import signal
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Literal, Self

from msgspec import DecodeError, json

from backends.sandbox.answer import Answer, ChatRequest, compose, truncate
from backends.sandbox.control import CONTROL, control
from backends.sandbox.dialect import FAILURES, PAGES, Dialect, Failure, Refusal, Stamp
from backends.sandbox.distort import (
    billed,
    distorted,
    distorted_frames,
    distorted_whole,
    leaked,
)
from backends.sandbox.faults import (
    BadDirectiveError,
    Directives,
    Fault,
    FaultBoard,
    FaultName,
    parse_directives,
)
from backends.sandbox.http import Connection, Request
from backends.sandbox.moonshot import Moonshot
from backends.sandbox.novita import Novita
from backends.sandbox.openrouter import OpenRouter
from backends.sandbox.record import Received, Record, Tally
from backends.sandbox.script import (
    Break,
    Step,
    Wait,
    head,
    refusal_steps,
    stream_steps,
    whole_steps,
)
from backends.sandbox.tokens import PrefixCache, count_tokens, prompt_text
from backends.sandbox.vercel import Vercel
from backends.sandbox.vllm import Vllm

Provider = Literal["moonshot", "moonshot-cn", "openrouter", "vercel", "novita", "vllm"]
DIALECTS: dict[Provider, Callable[[], Dialect]] = {
    "moonshot": Moonshot,
    "moonshot-cn": Moonshot,  # the same wire at another address, with accounts of its own
    "openrouter": OpenRouter,
    "vercel": Vercel,
    "novita": Novita,
    "vllm": Vllm,
}


class SandboxServer:
    """A local stand-in of one provider, with faults on request.

    It listens after `start()`, or inside `async with`; `control` has its control paths.

    Args:
        provider: whose wire, in its usual settings; or a `Dialect` set up otherwise.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        faults: faults that are switched on from the beginning.
        keys: the bearer keys that are good; None takes any key that is not empty.
        pace_ms: milliseconds between the events of streams.
        name: what `at=` in a tag calls this server, besides its provider's name.
        clock: gives seconds since the Unix epoch.
    """

    def __init__(
        self,
        provider: Provider | Dialect = "moonshot",
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Iterable[Fault] = (),
        *,
        keys: Collection[str] | None = None,
        pace_ms: float = 0.0,
        name: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.dialect = DIALECTS[provider]() if isinstance(provider, str) else provider
        self.host = host
        self.port = port
        self.faults = FaultBoard(faults)
        self.record = Record()
        self._keys = keys
        self._pace_ms = pace_ms
        own = provider if isinstance(provider, str) else type(self.dialect).__name__.lower()
        self._names = frozenset({own, name or own})
        self._clock = clock
        self._cache = PrefixCache()
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None

    # life

    async def start(self) -> int:
        """Listen, and return the port."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Connection(self), self.host, self.port, reuse_address=True
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        return self.port

    def stop_listening(self) -> None:
        """Refuse new connections and drop idle ones; answers under way go on.

        `start()` listens again, on the same port.
        """
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self._connections):
            if connection.idle:
                connection.drop()

    def close_for(self, seconds: float) -> None:
        """`stop_listening` now, `start` again after so many seconds."""

        async def reopen() -> None:
            await asyncio.sleep(seconds)
            await self.start()

        if self._reopening is not None:
            self._reopening.cancel()
        self.stop_listening()
        self._reopening = asyncio.get_running_loop().create_task(reopen())

    async def listening(self) -> None:
        """Return when a closure by `close_for` is over."""
        if self._reopening is not None:
            await self._reopening

    async def aclose(self) -> None:
        """Break off everything and free the port. Harmless twice."""
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.wait([self._reopening])
        self.stop_listening()
        await asyncio.gather(*(connection.end() for connection in list(self._connections)))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # what tests look at

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """The base URL that a client of this provider is given."""
        return self.origin + self.dialect.base_path

    @property
    def requests(self) -> list[Received]:
        """The newest chat requests, oldest first."""
        return list(self.record.requests)

    @property
    def received(self) -> Tally:
        """Chat requests that arrived in full."""
        return self.record.received

    @property
    def completed(self) -> Tally:
        """Chat requests that were answered to the last byte."""
        return self.record.completed

    @property
    def cancelled(self) -> Tally:
        """Chat requests whose caller left before the answer ended."""
        return self.record.cancelled

    @property
    def in_flight(self) -> int:
        """Chat requests that are being answered."""
        return self.record.in_flight

    # what connections call

    def opened(self, connection: Connection) -> None:
        """A connection is there."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    def admits(self, method: str, path: str) -> bool:
        """Whether no refusal strikes a request with this head."""
        if path.startswith(CONTROL):
            return True
        return self.faults.take_refusal(chat=self._is_chat(method, path)) is None

    async def answer(self, request: Request, connection: Connection) -> None:
        """Answer one request."""
        if not self._is_chat(request.method, request.path):
            if request.path.startswith(CONTROL):
                steps = control(self, request)
            else:
                self.record.other_paths[f"{request.method} {request.path}"] += 1
                steps = self._other(request)
            await connection.perform(steps)
            return
        self.record.note(request.method, request.path, request.headers, request.body)
        whole = False
        try:
            whole = await connection.perform(self._chat(request))
        finally:
            if whole:
                self.record.completed.add()
            elif connection.departed:
                self.record.cancelled.add()
            else:
                self.record.broken.add()

    def _is_chat(self, method: str, path: str) -> bool:
        return method == "POST" and path in self.dialect.chat_paths

    # answers

    def _chat(self, request: Request) -> list[Step]:
        stamp = self._stamp(request)
        headers = self.dialect.head(stamp)
        try:
            directives = parse_directives(request.body, self._names)
            chat = json.decode(request.body, type=ChatRequest)
        except BadDirectiveError as error:
            refusal = self.dialect.refusal(Failure.BAD_REQUEST, f"sandbox: {error}")
            return refusal_steps(refusal, headers)
        except (DecodeError, UnicodeDecodeError) as error:
            fault = self.faults.take(chat=True)
            refusal = self.dialect.refusal(Failure.BAD_REQUEST, f"invalid body: {error}")
            return _struck(self.dialect, fault, headers) or refusal_steps(refusal, headers)
        fault = directives.fault or self.faults.take(chat=True, model=chat.model)
        if steps := _struck(self.dialect, fault, headers):
            return steps
        text = prompt_text(chat.messages or ())
        prompt_tokens = count_tokens(text, chat.messages or ()) + self.dialect.found_tokens(chat)
        refusal_or_none = self._unauthorised(request) or self.dialect.check(chat, prompt_tokens)
        if refusal_or_none is not None:
            return refusal_steps(refusal_or_none, headers)
        owner = (request.headers.get("authorization"), chat.model, str(chat.cache_salt))
        answer = compose(
            chat,
            Directives(fault=fault, pieces=directives.pieces, think=directives.think),
            Answer(
                prompt_tokens=prompt_tokens,
                cached_tokens=min(self._cache.visit(owner, text), prompt_tokens),
            ),
            title=self.dialect.title,
            thinks=self.dialect.thinks(chat),
            tool_id=lambda name, place: self.dialect.tool_id(chat, name, place),
        )
        if self.dialect.leaks(chat):
            answer = leaked(answer)
        answer = truncate(distorted(answer, fault), chat.cap)
        steps = [Wait(directives.wait_ms / 1000)] if directives.wait_ms > 0 else []
        return steps + self._reply(chat, answer, stamp, fault, directives.pace_ms)

    def _reply(
        self,
        chat: ChatRequest,
        answer: Answer,
        stamp: Stamp,
        fault: Fault | None,
        pace_ms: float | None,
    ) -> list[Step]:
        headers = self.dialect.head(stamp)
        dialect = self.dialect
        error = dialect.error_event() if chat.stream else dialect.error_document()
        if fault is not None and fault.name is FaultName.BILLED_ERROR:
            written = truncate(answer, max(fault.after or 0, 0))
            error = billed(error, dialect.whole(chat, written, stamp))
        if not chat.stream:
            body = distorted_whole(dialect.whole(chat, answer, stamp), fault)
            return whole_steps(body, dialect.content_type, headers, fault, error)
        return stream_steps(
            distorted_frames(self.dialect.frames(chat, answer, stamp), fault),
            head(200, self.dialect.stream_type, headers, None),
            fault=fault,
            pace_s=(self._pace_ms if pace_ms is None else pace_ms) / 1000,
            error=error,
            done_after_error=self.dialect.done_after_error,
            comment=self.dialect.comment,
        )

    def _other(self, request: Request) -> list[Step]:
        headers = self.dialect.head(self._stamp(request))
        fault = self.faults.take(chat=False)
        if steps := _struck(self.dialect, fault, headers):
            return steps
        body = self._document(request)
        if isinstance(body, Refusal):
            return refusal_steps(body, headers)
        kind = self.dialect.content_type if body else ""
        return whole_steps(body, kind, headers, fault, self.dialect.error_document())

    def _document(self, request: Request) -> bytes | Refusal:
        body: bytes | None = None
        if request.method == "GET":
            body = self.dialect.open_document(request.path)
        if body is not None:
            return body
        if refusal := self._unauthorised(request):
            return refusal
        if request.path in self.dialect.chat_paths:
            return self.dialect.refusal(Failure.WRONG_METHOD)
        if request.method == "GET":
            body = self.dialect.document(request.path)
        elif request.method == "POST":
            try:
                messages = json.decode(request.body, type=ChatRequest).messages or []
            except (DecodeError, UnicodeDecodeError) as error:
                return self.dialect.refusal(Failure.BAD_REQUEST, f"invalid body: {error}")
            body = self.dialect.post(request.path, messages)
        return self.dialect.refusal(Failure.UNKNOWN_PATH) if body is None else body

    def _unauthorised(self, request: Request) -> Refusal | None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else ""
        if self._keys is not None:
            if key in self._keys:
                return None
        elif key or not self.dialect.key_needed:
            return None
        return self.dialect.refusal(Failure.WRONG_KEY if key else Failure.MISSING_KEY)

    def _stamp(self, request: Request) -> Stamp:
        own = request.headers.get("x-request-id")
        return Stamp(secrets.token_hex(16), self._clock(), own)


async def serve_until_signal(servers: Iterable[SandboxServer], ready: Callable[[], object]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        servers: not started yet.
        ready: called once all listen.

    Raises:
        OSError: an address cannot be used.
    """
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server)
        ready()
        await over.wait()


def _struck(
    dialect: Dialect, fault: Fault | None, headers: tuple[tuple[str, str], ...]
) -> list[Step]:
    """What a fault that leaves no room for an answer does; empty if `fault` is not such a one."""
    if fault is None:
        return []
    if fault.name is FaultName.REFUSE:
        return [Break(reset=fault.how == "rst")]
    refusal = PAGES.get(fault.name)
    if fault.name is FaultName.WHOLE_ERROR:
        refusal = Refusal(200, dialect.error_document(), dialect.content_type)
    elif failure := FAILURES.get(fault.name):
        refusal = dialect.refusal(failure)
    return refusal_steps(refusal, headers, fault) if refusal else []
