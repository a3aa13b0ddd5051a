"""A litellm worker before stand-ins of providers, and short ways to ask there.

All of it lives on an event loop in a thread of its own: the worker takes seconds to start, and serves every
test of the session.
"""

import contextlib
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from msgspec import Raw

from backends import (
    KINDS,
    Backend,
    BackendError,
    Call,
    Deadlines,
    Endpoint,
    Event,
    HttpClient,
    LitellmPlan,
    LitellmRow,
    LitellmWorker,
    Reply,
    Secret,
    open_backends,
)
from backends.sandbox import Novita, SandboxServer
from tests.fakes.answers import Answer, answer
from tests.fakes.stage import LoopThread

Result = TypeVar("Result")

# litellm's providers, each with the stand-in that speaks its wire, and what it calls a model.
MODELS = {
    "openai": "openai/moonshotai/kimi-k2.6",
    "moonshot": "moonshot/kimi-k2.6",
    "novita": "novita/moonshotai/kimi-k2.6",
    "openrouter": "openrouter/moonshotai/kimi-k2.6",
}
HOW = ("stream", "collected", "whole")
WITHIN = 30.0  # seconds for anything
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Ended(msgspec.Struct):
    """A reply read to its end."""

    reply: Reply
    events: list[Event]
    error: BackendError | None

    @property
    def answer(self) -> Answer:
        return answer(self.events)


def servers() -> dict[str, SandboxServer]:
    """The stand-ins, by the names in `MODELS`."""
    keys = {"sk-good"}
    return {
        "openai": SandboxServer(Novita("openai"), keys=keys),
        "moonshot": SandboxServer("moonshot", keys=keys),
        "novita": SandboxServer("novita", keys=keys),
        "openrouter": SandboxServer("openrouter", keys=keys),
    }


def plan_for(rows: Mapping[str, LitellmRow], python: Path, **more: Any) -> LitellmPlan:
    """What a worker is started with, as the gateway would."""
    quirks = KINDS["litellm"].quirks
    fields = quirks.forwarded | {quirks.cap_field}
    return LitellmPlan(endpoints=rows, fields=fields, python=str(python), **more)


class Desk:
    """The worker, its stand-ins, and the adapter before it.

    Args:
        python: an interpreter that has litellm.

    Attributes:
        servers: the stand-ins, by the names in `MODELS`.
        worker: the worker, ready.
        rows: further endpoints, beside those of `MODELS`.
    """

    def __init__(self, python: Path, rows: Mapping[str, LitellmRow] | None = None) -> None:
        self.loop = LoopThread()
        self.servers = servers()
        self.rows = dict(rows or {})
        self._python = python
        self._up = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._up.callback(self.loop.close)
        for server in self.servers.values():
            self.run(server.start())
            self._up.callback(lambda one: self.run(one.aclose()), server)
        rows = {
            name: LitellmRow(model=model, base_url=self.servers[name].base_url)
            for name, model in MODELS.items()
        } | self.rows
        plan = plan_for(rows, self._python, environment={"DESK_SECRET": Secret("tuna-sandwich")})
        self.worker, self.backend = self.run(self._begin(plan))
        self.run(self.worker.ready(), within=120)
        return self

    async def _begin(self, plan: LitellmPlan) -> tuple[LitellmWorker, Backend]:
        worker = LitellmWorker(plan, clock=time.monotonic)
        client = HttpClient(clock=time.monotonic)
        self._up.callback(lambda: self.run(client.aclose()))
        self._up.callback(lambda: self.run(worker.aclose()))
        worker.start()
        return worker, open_backends(client, litellm=worker)["litellm"]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._up.close()

    def run(self, work: Coroutine[Any, Any, Result], within: float = WITHIN) -> Result:
        """Run on the desk's loop, and wait for the result here."""
        return self.loop.run(work, within)

    def endpoint(
        self, name: str, how: str = "stream", *, key: str = "sk-good", **more: Any
    ) -> Endpoint:
        """The endpoint of that name, as the gateway has it."""
        return Endpoint(
            id=name,
            provider=name,
            kind="litellm",
            base_url="",
            model=MODELS.get(name, name),
            api_key=Secret(key) if key else None,
            native_non_stream=how == "whole",
            **{"deadlines": Deadlines(first_byte=10, idle=10), **more},
        )

    async def open(
        self,
        name: str,
        text: str = "Hi",
        how: str = "stream",
        *,
        messages: Any = None,
        cap: int = 10_000,
        row: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Reply:
        """Ask, and return when the answer begins. `row`: members of the endpoint."""
        asked = messages or [{"role": "user", "content": text}]
        call = Call(
            fields={
                field: Raw(msgspec.json.encode(value))
                for field, value in {**fields, "messages": asked}.items()
            },
            stream=how == "stream",
            output_cap=cap,
            request_id="gen-1",
        )
        endpoint = self.endpoint(name, how, **(row or {}))
        return await self.backend.open(call, endpoint, timeout=WITHIN)

    def ask(self, name: str, text: str = "Hi", how: str = "stream", **more: Any) -> Ended:
        """Ask, and read to the end, which may be an error; one before the answer is raised."""

        async def both() -> Ended:
            return await read(await self.open(name, text, how, **more))

        return self.run(both())

    def outcome(
        self, name: str, text: str
    ) -> tuple[str, list[tuple[str, str]], BackendError | None]:
        """Content, finish reasons and failure of a stream, wherever it failed."""
        try:
            ended = self.ask(name, text)
        except BackendError as error:
            return "", [], error
        return ended.answer.content, ended.answer.finish, ended.error

    def refusal(
        self, name: str, text: str = "Hi", how: str = "stream", **more: Any
    ) -> BackendError:
        """Ask where no answer begins, and give the reason."""
        try:
            ended = self.ask(name, text, how, **more)
        except BackendError as error:
            return error
        raise AssertionError(f"answered: {ended.answer}, {ended.error!r}")


async def read(reply: Reply) -> Ended:
    """Read a reply to its end."""
    events: list[Event] = []
    try:
        while batch := await reply.next():
            events += batch
    except BackendError as error:
        return Ended(reply, events, error)
    return Ended(reply, events, None)
