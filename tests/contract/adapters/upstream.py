"""One kind of endpoint with something behind it, and short ways to ask there."""

from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace
from typing_extensions import override

from backends import (
    UNASKED,
    Backend,
    BackendError,
    Call,
    Deadlines,
    Endpoint,
    Event,
    Mode,
    Reply,
    Secret,
    Usage,
    profile_of,
)
from backends.registry import KINDS as ALL_KINDS
from backends.sandbox import Novita, SandboxServer, count_prompt_tokens
from backends.sandbox.server import DIALECTS
from tests.fakes.answers import Answer, answer

# Of these, one has tests of its own, and the other is moonshot elsewhere.
ELSEWHERE = {"litellm", "moonshot_cn"}
KINDS = tuple(kind for kind in ALL_KINDS if kind not in ELSEWHERE)
# Of these, what tells its failures in words of its own; the stand-in of any other speaks plain OpenAI.
TELLING = (*(kind for kind in KINDS if kind in DIALECTS), "openai_compat")
_USUAL = "moonshotai/kimi-k2.6"
MODELS = dict.fromkeys(KINDS, _USUAL) | {
    "moonshot": "kimi-k3",
    "vllm": "tiny-kimi",
}
K26 = profile_of("moonshotai/kimi-k2.6")
SILENT = set(KINDS) - {
    "moonshot",
    "openrouter",
    "vercel",
    "vllm",
}  # no count of reasoning tokens in their usage
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
    own = {str(name): dialect for name, dialect in DIALECTS.items()}.get(kind)
    return SandboxServer(Novita("openai") if own is None else own(), keys={"sk-good"})


class Ended(Struct):
    """A reply read to its end."""

    reply: Reply
    events: list[Event]
    error: BackendError | None

    @property
    def answer(self) -> Answer:
        """What was read of it."""
        return answer(self.events)


class Source(Struct, kw_only=True):
    """An endpoint of one kind and its adapter, whatever is behind it.

    Attributes:
        says: what it answers to "Hi".
    """

    kind: str
    backend: Backend
    base_url: str
    model: str
    says: Answer
    deadlines: Deadlines = Deadlines(first_byte=5, idle=5)
    key: str = "sk-good"

    def endpoint(self, how: str) -> Endpoint:
        """The row that has whole replies come as `how` says."""
        return Endpoint(
            id=f"{self.kind}/{how}/{self.deadlines}",
            provider=self.kind,
            kind=self.kind,
            base_url=self.base_url,
            local=True,
            model=self.model,
            api_key=Secret(self.key),
            deadlines=self.deadlines,
            native_non_stream=how == "whole",
        )

    def k26(self, how: str) -> Endpoint:
        """The same with what is known of Kimi K2.6."""
        endpoint = self.endpoint(how)
        return replace(endpoint, id=f"{endpoint.id}/k2.6", profile=K26)

    async def open(
        self,
        text: str = "Hi",
        how: str = "stream",
        *,
        timeout: float = 10,
        cap: int = 1000,
        conversation: list[Any] | None = None,
        mode: Mode = UNASKED,
        endpoint: Endpoint | None = None,
        **fields: Any,
    ) -> Reply:
        """Ask, and return when the answer begins."""
        said = messages(text) if conversation is None else conversation
        call = Call(
            fields={
                name: Raw(msgspec.json.encode(value))
                for name, value in {**fields, "messages": said}.items()
            },
            stream=how in {"stream", "poured"},
            output_cap=cap,
            request_id="gen-1",
            mode=mode,
        )
        return await self.backend.open(call, endpoint or self.endpoint(how), timeout=timeout)

    async def ask(self, text: str = "Hi", how: str = "stream", **more: Any) -> Ended:
        """Ask, and read to the end, which may be an error; one before the answer is raised."""
        return await read(await self.open(text, how, **more), poured=how == "poured")


class Upstream(Source, kw_only=True):
    """One with a stand-in behind it."""

    server: SandboxServer

    @override
    def k26(self, how: str) -> Endpoint:
        endpoint = Source.k26(self, how)
        return replace(endpoint, model="kimi-k2.6") if self.kind == "moonshot" else endpoint

    def hurried(self, **seconds: float) -> "Upstream":
        """The same with shorter deadlines."""
        return replace(self, deadlines=Deadlines(**({"first_byte": 5.0, "idle": 5.0} | seconds)))

    def connections(self) -> set[object]:
        """The connections that the server has now."""
        return set(self.server._connections)


def upstream_of(kind: str, server: SandboxServer, backend: Backend) -> Upstream:
    """A kind with its stand-in."""
    return Upstream(
        kind=kind,
        backend=backend,
        base_url=server.base_url,
        model=MODELS[kind],
        says=says(server, counts_reasoning=kind not in SILENT),
        server=server,
    )


def says(server: SandboxServer, *, counts_reasoning: bool) -> Answer:
    """What a stand-in answers to "Hi"."""
    content = (
        f"This is Tidegate's sandbox of {server.dialect.title}, not a model."
        " The last user message has 2 characters."
    )
    usage = Usage(
        prompt=prompt_tokens("Hi"),
        completion=6 + len(content.split(" ")),
        reasoning=6 if counts_reasoning else 0,
    )
    return Answer(content, "These words stand for reasoning.", [], [("stop", "stop")], usage)


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
