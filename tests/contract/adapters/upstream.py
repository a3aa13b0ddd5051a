"""One kind of endpoint with a server behind it, and short ways to ask there."""

from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from backends import Backend, BackendError, Call, Deadlines, Endpoint, Event, Reply, Secret
from backends.sandbox import Novita, SandboxServer, count_prompt_tokens
from tests.fakes.answers import Answer, answer

KINDS = ("moonshot", "novita", "vllm", "openai_compat")
MODELS = {
    "moonshot": "kimi-k3",
    "novita": "moonshotai/kimi-k2.6",
    "vllm": "tiny-kimi",
    "openai_compat": "moonshotai/kimi-k2.6",
}
# "poured": a stream whose events are mostly taken as they arrive; the last two: the caller wants the
# answer in one piece.
HOW = ("stream", "poured", "collected", "whole")
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def server_of(kind: str) -> SandboxServer:
    """A sandbox for this kind; a plain OpenAI-compatible one is Novita's in its OpenAI form."""
    match kind:
        case "moonshot" | "novita" | "vllm":
            return SandboxServer(kind, keys={"sk-good"})
        case _:
            return SandboxServer(Novita("openai"), keys={"sk-good"})


class Ended(Struct):
    """A reply read to its end."""

    reply: Reply
    events: list[Event]
    error: BackendError | None

    @property
    def answer(self) -> Answer:
        """What was read of it."""
        return answer(self.events)


class Upstream(Struct):
    """An endpoint of one kind, its server and its adapter."""

    kind: str
    server: SandboxServer
    backend: Backend
    deadlines: Deadlines = Deadlines(first_byte=5, idle=5)
    key: str = "sk-good"

    def endpoint(self, how: str) -> Endpoint:
        """The row that has whole replies come as `how` says."""
        return Endpoint(
            id=f"{self.kind}/{how}/{self.deadlines}",
            provider=self.kind,
            kind=self.kind,
            base_url=self.server.base_url,
            model=MODELS[self.kind],
            api_key=Secret(self.key),
            deadlines=self.deadlines,
            native_non_stream=how == "whole",
        )

    async def open(
        self,
        text: str = "Hi",
        how: str = "stream",
        *,
        timeout: float = 10,
        cap: int = 10_000,
        **fields: Any,
    ) -> Reply:
        """Ask, and return when the answer begins."""
        call = Call(
            fields={name: Raw(msgspec.json.encode(fields[name])) for name in fields}
            | {"messages": Raw(msgspec.json.encode(messages(text)))},
            stream=how in {"stream", "poured"},
            output_cap=cap,
            request_id="gen-1",
        )
        return await self.backend.open(call, self.endpoint(how), timeout=timeout)

    async def ask(self, text: str = "Hi", how: str = "stream", **more: Any) -> Ended:
        """Ask, and read to the end, which may be an error; one before the answer is raised."""
        return await read(await self.open(text, how, **more), poured=how == "poured")

    def hurried(self, **seconds: float) -> "Upstream":
        """The same with shorter deadlines."""
        return replace(self, deadlines=Deadlines(**({"first_byte": 5.0, "idle": 5.0} | seconds)))

    def connections(self) -> set[object]:
        """The connections that the server has now."""
        return set(self.server._connections)


async def read(reply: Reply, *, poured: bool = False) -> Ended:
    """Read a reply to its end; poured, every third batch is refused by the one who takes them."""
    events: list[Event] = []
    offers = 0

    def take(batch: list[Event]) -> bool:
        nonlocal offers
        offers += 1
        if offers % 3 == 0:
            return False
        events.extend(batch)
        return True

    try:
        while batch := await reply.next(take if poured else None):
            events += batch
    except BackendError as error:
        return Ended(reply, events, error)
    return Ended(reply, events, None)


def messages(text: str) -> list[dict[str, str]]:
    """A conversation with one message."""
    return [{"role": "user", "content": text}]


def prompt_tokens(text: str) -> int:
    """What the sandbox counts for it."""
    return count_prompt_tokens(messages(text))
