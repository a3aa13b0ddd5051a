"""The adapter for every endpoint that speaks OpenAI's chat dialect."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import time
from urllib.parse import urlsplit

from msgspec import Raw, Struct
from typing_extensions import override

from backends.base import Backend, Reply, Take
from backends.errors import BackendError, BadReply
from backends.http import HttpClient, Response
from backends.openai_compat import request
from backends.openai_compat.cache_salt import CacheSalts
from backends.openai_compat.messages import Adapted, adapted
from backends.openai_compat.quirks import Quirks
from backends.openai_compat.reply import PLAIN, ChunkReader, Reading, read_whole, stated_usage
from backends.secret import Secret
from backends.sse import EventReader
from backends.values import Call, Endpoint, Event, Origin, Usage

_MAX_ERROR_BODY = 64 * 1024
_AS_IT_IS = Adapted(None)
_NONE = Raw(b"null")
_NO_TOOLS = (_NONE, Raw(b"[]"))
_LAST_WORDS = 1.0  # seconds in which a provider that broke an answer off may still state its usage


class _Route(Struct, frozen=True):
    """What is the same for every request to one endpoint with one key.

    `may_be_gateway`: whether a request could come back from there, by whatever mistake.
    """

    key: Secret | None
    origin: Origin
    target: bytes
    headers: bytes
    form: request.Form
    may_be_gateway: bool


def route(
    endpoint: Endpoint,
    quirks: Quirks,
    salts: CacheSalts | None = None,
    path: str = "/chat/completions",
    home: str | None = None,
) -> _Route:
    """Where an endpoint's requests go, and how they are written.

    `home` is the base URL of the provider's own service, if it has one.
    """
    url = urlsplit(endpoint.base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    origin = Origin(url.scheme, url.hostname or "", port, endpoint.local)
    return _Route(
        endpoint.api_key,
        origin,
        (url.path.rstrip("/") + path).encode(),
        request.headers(endpoint),
        request.form(endpoint, quirks, salts),
        quirks.gateway or home is None or Origin.of(endpoint.base_url) != Origin.of(home),
    )


class OpenAICompatBackend(Backend):
    """Chat completions over HTTP at endpoints of one kind."""

    def __init__(
        self,
        client: HttpClient,
        quirks: Quirks,
        clock: Callable[[], float] = time,
        salts: CacheSalts | None = None,
        home: str | None = None,
    ) -> None:
        """Make an adapter.

        Args:
            client: what it sends requests with.
            quirks: what this kind of endpoint differs in.
            clock: epoch seconds: some providers send Retry-After as a date.
            salts: for kinds that know cache salts.
            home: the base URL of the provider's own service, if there is one: nothing comes back from
                there, unless it is an aggregator.
        """
        self.quirks = quirks
        self._client = client
        self._clock = clock
        self._salts = salts
        self._home = home
        self._routes: dict[str, _Route] = {}

    @override
    async def open(self, call: Call, endpoint: Endpoint, *, timeout: float) -> Reply:
        where = self._routes.get(endpoint.id)
        if where is None or where.key is not endpoint.api_key:
            where = self._routes[endpoint.id] = route(
                endpoint, self.quirks, self._salts, home=self._home
            )
        stream = call.stream or not endpoint.native_non_stream
        history = adapted(call, endpoint.profile, self.quirks.history) or _AS_IT_IS
        slices, dropped = request.body(
            call, where.form, stream=stream, messages=history.messages, extra=history.extra
        )
        reading = Reading(
            leaks=self.quirks.leaks and call.fields.get("tools", _NONE) not in _NO_TOOLS,
            held=history.held,
        )
        headers = where.headers
        if call.via and where.may_be_gateway:
            headers += request.VIA % call.via.encode()
        response = await self._client.request(
            where.origin,
            method=b"POST",
            target=where.target,
            headers=headers,
            body=slices,
            deadlines=endpoint.deadlines,
            timeout=timeout,
            max_connections=endpoint.max_connections,
            resend_safe=self.quirks.resend_safe,
            tenant=call.tenant,
        )
        try:
            return await self._begun(
                response, reading, (*dropped, *history.dropped), stream=stream, key=where.key
            )
        except BaseException as error:
            response.abort()
            if isinstance(error, BackendError):
                error.conceal(where.key)
            raise

    async def _begun(
        self,
        response: Response,
        reading: Reading,
        dropped: tuple[str, ...],
        *,
        stream: bool,
        key: Secret | None,
    ) -> Reply:
        if response.status != 200:  # noqa: PLR2004 - the one status that is an answer
            raise await self._refusal(response)
        kind = (response.header(b"content-type") or b"").lower()
        if stream and kind.startswith(b"text/event-stream"):
            return StreamReply(response, dropped, self.quirks, reading, key)
        if not kind.startswith(b"application/json"):
            raise BadReply(f"content type {kind!r}", status=200)
        body = await response.read_all()
        try:
            upstream_id, events = read_whole(body, self.quirks.failures.event, reading)
        except BackendError as error:
            if (usage := stated_usage(body)) is None:
                raise
            error.conceal(key)
            return WholeReply(None, [usage], dropped, error)
        return WholeReply(upstream_id, events, dropped)

    async def _refusal(self, response: Response) -> BackendError:
        body = bytearray()
        with suppress(BackendError):  # the status alone says most of it
            while len(body) < _MAX_ERROR_BODY and (data := await response.chunk()):
                body += data
        rules, now = self.quirks.failures, self._clock()
        return rules.refusal(response.status, bytes(body), response.header, now)


def _refuse(_: list[Event]) -> bool:
    return False


class StreamReply(Reply):
    """An answer that arrives as events."""

    def __init__(
        self,
        response: Response,
        dropped: tuple[str, ...],
        quirks: Quirks,
        reading: Reading = PLAIN,
        key: Secret | None = None,
    ) -> None:
        """`key` is what the request was sent with: no failure repeats it."""
        self.dropped = dropped
        self._key = key
        self._response = response
        self._end_mark = quirks.end_mark
        self._events = EventReader()
        self._chunks = ChunkReader(quirks.failures.event, reading)
        self._failure: BackendError | None = None
        self._owed = False  # the answer was broken off, and its usage may still come
        self._take: Take = _refuse
        self._left: list[Event] | None = None  # what `_take` did not take

    @property
    @override
    def upstream_id(self) -> str | None:
        return self._chunks.upstream_id

    @property
    @override
    def malformed(self) -> int:
        return self._chunks.malformed

    @override
    async def next(self, take: Take | None = None) -> list[Event]:
        if (failure := self._failed()) is not None:
            return await self._last_words(failure)
        response, reader = self._response, self._chunks
        events: list[Event] = []
        while not events and not reader.done:
            if take is not None:
                self._take = take
                response.sink = self._arrived
            try:
                data = await response.chunk()
            except BackendError as error:
                self._chunks.end(events)
                if not events:
                    raise
                self._failure = error
                return events
            finally:
                response.sink = None
            left = self._not_taken()
            if left is not None:
                events = left
            else:
                events = self._read(data)
                if not data:
                    self._note_end()
            if (failure := self._failed()) is not None:
                if not self._owed:
                    response.abort()
                # What came before the failure is still the caller's.
                return events or await self._last_words(failure)
        return events

    def _failed(self) -> BackendError | None:
        return self._failure

    async def _last_words(self, failure: BackendError) -> list[Event]:
        """The usage that vLLM states behind the end of an answer that it breaks off; then the failure.

        Raises:
            BackendError: the failure.
        """
        if self._owed:
            self._owed = False
            usage: list[Event] = []
            with suppress(BackendError, TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    while not usage and not self._chunks.done:
                        if not (data := await self._response.chunk()):
                            break
                        usage = self._usage_in(self._events.feed(data))
            self._response.abort()
            if usage:
                return usage
        failure.conceal(self._key)
        raise failure

    def _usage_in(self, payloads: Iterable[bytes]) -> list[Event]:
        events: list[Event] = []
        for payload in payloads:
            with suppress(BackendError):
                self._chunks.read(payload, events)
        return [event for event in events if isinstance(event, Usage)]

    def _read(self, data: bytes) -> list[Event]:
        """The events in `data`; in what is left at the end of the body, if that is empty."""
        events: list[Event] = []
        payloads: Iterable[bytes] = ()
        try:
            payloads = iter(self._events.feed(data) if data else self._events.flush())
            for payload in payloads:
                self._chunks.read(payload, events)
            if not data:
                self._chunks.end(events)
        except BackendError as error:
            self._failure = error
            self._chunks.end(events)
            if self._chunks.broken_off:
                usage = self._usage_in(payloads)
                self._owed = not usage
                events += usage
        return events

    def _not_taken(self) -> list[Event] | None:
        """What `_arrived` could not hand on, once; None if it handed on everything."""
        left, self._left = self._left, None
        return left

    def _note_end(self) -> None:
        """The body has ended: that is a failure unless the answer had, or something failed before."""
        if self._failure is None and not self._chunks.done:
            if self._end_mark:
                self._failure = BadReply("the stream ended without [DONE]")
            elif not self._chunks.finished:
                self._failure = BadReply("the stream ended without a finish reason")
            else:
                self._chunks.done = True

    def _arrived(self, data: bytes) -> bool:
        """Called by the connection with each piece; hands events on without waking the task."""
        events = self._read(data)
        going_on = self._failure is None and not self._chunks.done
        if going_on and (not events or self._take(events)):
            return True
        self._left = events
        return False

    @override
    def abort(self) -> None:
        # After [DONE] only the end of the body is missing: the client pools the connection itself.
        if not self._chunks.done:
            self._response.abort()


class WholeReply:
    """An answer that came in one piece."""

    def __init__(
        self,
        upstream_id: str | None,
        events: list[Event],
        dropped: tuple[str, ...],
        failure: BackendError | None = None,
    ) -> None:
        """`failure` is raised behind the events: a reply that is no good may have said what it cost."""
        self.upstream_id = upstream_id
        self.dropped = dropped
        self.malformed = 0
        self._left = events
        self._failure = failure

    async def next(self, take: Take | None = None) -> list[Event]:
        """All events at once, then none; nothing is left for `take`.

        Raises:
            BackendError: the reply is no good.
        """
        del take
        events, self._left = self._left, []
        if not events and self._failure is not None:
            raise self._failure
        return events

    def abort(self) -> None:
        """Nothing is under way any more."""
