"""The adapter for every endpoint that speaks OpenAI's chat dialect."""

from collections.abc import Callable
from contextlib import suppress
from time import time
from urllib.parse import urlsplit

from msgspec import Struct
from typing_extensions import override

from backends.base import Backend, Reply
from backends.errors import BackendError, BadReply
from backends.http import HttpClient, Response
from backends.openai_compat import request
from backends.openai_compat.failures import retry_after
from backends.openai_compat.quirks import Quirks
from backends.openai_compat.reply import ChunkReader, read_whole
from backends.sse import EventReader
from backends.values import Call, Endpoint, Event, Origin

_MAX_ERROR_BODY = 64 * 1024


class _Route(Struct, frozen=True):
    """What is the same for every request to one endpoint."""

    origin: Origin
    target: bytes
    headers: bytes
    form: request.Form


def route(endpoint: Endpoint, quirks: Quirks, path: str = "/chat/completions") -> _Route:
    """Where an endpoint's requests go."""
    url = urlsplit(endpoint.base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    origin = Origin(url.scheme, url.hostname or "", port)
    return _Route(
        origin,
        (url.path.rstrip("/") + path).encode(),
        request.headers(endpoint),
        request.form(endpoint, quirks),
    )


class OpenAICompatBackend(Backend):
    """Chat completions over HTTP at endpoints of one kind."""

    def __init__(
        self, client: HttpClient, quirks: Quirks, clock: Callable[[], float] = time
    ) -> None:
        """`clock` gives epoch seconds: some providers send Retry-After as a date."""
        self.quirks = quirks
        self._client = client
        self._clock = clock
        self._routes: dict[str, _Route] = {}

    @override
    async def open(self, call: Call, endpoint: Endpoint, *, timeout: float) -> Reply:
        where = self._routes.get(endpoint.id)
        if where is None:
            where = self._routes[endpoint.id] = route(endpoint, self.quirks)
        stream = call.stream or not endpoint.native_non_stream
        slices, dropped = request.body(call, where.form, stream=stream)
        response = await self._client.request(
            where.origin,
            method=b"POST",
            target=where.target,
            headers=where.headers,
            body=slices,
            deadlines=endpoint.deadlines,
            timeout=timeout,
            max_connections=endpoint.max_connections,
            resend_safe=self.quirks.resend_safe,
        )
        try:
            return await self._begun(response, dropped, stream=stream)
        except BaseException:
            response.abort()
            raise

    async def _begun(self, response: Response, dropped: tuple[str, ...], *, stream: bool) -> Reply:
        if response.status != 200:  # noqa: PLR2004 - the one status that is an answer
            raise await self._refusal(response)
        kind = response.header(b"content-type") or b""
        if stream and kind.startswith(b"text/event-stream"):
            return StreamReply(response, dropped)
        if not kind.startswith(b"application/json"):
            raise BadReply(f"content type {kind!r}", status=200)
        upstream_id, events = read_whole(await response.read_all())
        return WholeReply(upstream_id, events, dropped)

    async def _refusal(self, response: Response) -> BackendError:
        body = bytearray()
        with suppress(BackendError):  # the status alone says most of it
            while len(body) < _MAX_ERROR_BODY and (data := await response.chunk()):
                body += data
        wait = retry_after(response.header(b"retry-after"), self._clock())
        return self.quirks.classify(response.status, wait, bytes(body))


class StreamReply(Reply):
    """An answer that arrives as events."""

    def __init__(self, response: Response, dropped: tuple[str, ...]) -> None:
        self.dropped = dropped
        self._response = response
        self._events = EventReader()
        self._chunks = ChunkReader()
        self._failure: BackendError | None = None

    @property
    @override
    def upstream_id(self) -> str | None:
        return self._chunks.upstream_id

    @property
    @override
    def malformed(self) -> int:
        return self._chunks.malformed

    @override
    async def next(self) -> list[Event]:
        if self._failure is not None:
            raise self._failure
        events: list[Event] = []
        reader = self._chunks
        while not events and not reader.done:
            data = await self._response.chunk()
            try:
                payloads = self._events.feed(data) if data else self._events.flush()
                for payload in payloads:
                    reader.read(payload, events)
            except BackendError as error:
                self._failure = error
            if not data and not reader.done:
                self._failure = self._failure or BadReply("the stream ended without [DONE]")
            if self._failure is not None:
                self._response.abort()
                if events:
                    return events  # what came before the failure is still the caller's
                raise self._failure
        return events

    @override
    def abort(self) -> None:
        # After [DONE] only the end of the body is missing: the client pools the connection itself.
        if not self._chunks.done:
            self._response.abort()


class WholeReply:
    """An answer that came in one piece."""

    def __init__(
        self, upstream_id: str | None, events: list[Event], dropped: tuple[str, ...]
    ) -> None:
        self.upstream_id = upstream_id
        self.dropped = dropped
        self.malformed = 0
        self._left = events

    async def next(self) -> list[Event]:
        """All events at once, then none."""
        """Everything, then nothing."""
        events, self._left = self._left, []
        return events

    def abort(self) -> None:
        """Nothing is under way any more."""
