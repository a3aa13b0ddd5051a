"""Many callers at once, who note what they were told and what they were given."""

import json
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any

from msgspec import Struct

from tests.contract.sandbox.caller import Caller, Listening, Reply

MODEL = "moonshotai/kimi-k2.6"
PATH = "/api/v1/chat/completions"
DONE = b"data: [DONE]\n\n"


class Told(Struct, frozen=True):
    """What one caller knows of one generation.

    `cost` is what the answer said it cost, None if the answer did not come to its end; `pieces` is how
    many pieces of a stream came.
    """

    generation: str
    streamed: bool
    cost: Decimal | None
    pieces: int


def chat(content: str, **fields: Any) -> dict[str, Any]:
    """A small chat request."""
    return {"model": MODEL, "messages": [{"role": "user", "content": content}], **fields}


def generation_of(reply: Reply) -> str:
    return reply.headers["x-generation-id"]


def events_of(reply: Reply) -> list[dict[str, Any]]:
    """The complete events of a stream, without comments and the end mark; numbers are exact."""
    payloads = [event for event in reply.body.split(b"\n\n")[:-1] if event.startswith(b"data: ")]
    return [exact(payload[6:]) for payload in payloads if payload != b"data: [DONE]"]


def exact(document: bytes) -> Any:
    """A JSON document whose numbers are decimals."""
    return json.loads(document, parse_float=Decimal, parse_int=Decimal)


def pieces_of(reply: Reply) -> int:
    """How many pieces of answer came of a stream."""
    count = 0
    for event in events_of(reply):
        for choice in event.get("choices", ()):
            delta = choice["delta"]
            count += bool(delta.get("content") or delta.get("reasoning"))
    return count


def ended(reply: Reply) -> bool:
    """Whether an answer was received in full."""
    if reply.headers.get("content-type", "").startswith("text/event-stream"):
        return reply.body.endswith(DONE)
    return reply.complete


def told(reply: Reply, *, streamed: bool) -> Told | None:
    """What a reply, whole or cut, tells; None if not even its head came."""
    if reply.status == 0:
        return None
    assert reply.status == 200, reply.body
    if not ended(reply):
        pieces = pieces_of(reply) if streamed else 0
        return Told(generation_of(reply), streamed, None, pieces)
    if not streamed:
        answer = exact(reply.body)
        assert answer["id"] == generation_of(reply)
        return Told(answer["id"], streamed, Decimal(answer["usage"]["cost"]), 0)
    last = exact(reply.body[: -len(DONE)].rpartition(b"data: ")[2])
    return Told(last["id"], streamed, Decimal(last["usage"]["cost"]), 1)


def quick_requests(random: Random) -> Iterator[dict[str, Any]]:
    """Requests that are answered at once; some of them by the second endpoint."""
    while True:
        tag = "[[fault=error500,at=moonshot]]" if random.random() < 0.05 else ""
        pieces = random.randint(1, 6)
        content = f"[[n={pieces},think=0]]{tag} {'so ' * random.randint(1, 40)}"
        yield chat(content, stream=random.random() < 0.5)


def long_streams(random: Random) -> Iterator[dict[str, Any]]:
    """Streams that hardly end before somebody dies."""
    while True:
        pieces, pace = random.randint(2, 400), random.randint(1, 20)
        yield chat(f"[[n={pieces},pace={pace},think=0]]", stream=True)


async def call_until_lost(
    gateway: Listening, key: str, requests: Iterator[dict[str, Any]]
) -> list[tuple[bool, Reply]]:
    """Send one request after the other until the connection dies; each reply, and if it streams."""
    try:
        caller = await Caller.connect(gateway)
    except ConnectionError:
        return []
    replies: list[tuple[bool, Reply]] = []
    try:
        while not caller.lost:
            body = next(requests)
            caller.send("POST", PATH, body, key=key)
            reply = await caller.until(lambda _: False, within=60.0)
            replies.append((bool(body["stream"]), reply))
    finally:
        caller.leave()
    return replies
