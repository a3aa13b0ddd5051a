"""One answer is one answer, streamed or whole: the same message, the same counts, the same money.

The request differs in `stream` alone. What is not streamed to the caller comes from the provider as a
stream that is collected, or, from `whole-<kind>`, in one piece.
"""

import time
from typing import Any

from tests.fakes.anthropic_events import message
from tests.fakes.kinds import ONE, KindsStage
from tests.fakes.openai_events import of_chunks, of_document
from tests.fakes.stage import Response, chat

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "get_weather", "parameters": PARAMETERS}
LONG = (
    "The same long beginning. " * 100
)  # 2500 bytes: 625 tokens, of which two blocks of 256 are cached
CASES: dict[str, dict[str, Any]] = {
    "reasoning": {"text": "Hello, é 🌊!"},
    "no reasoning": {"text": "[[think=0]] Hello!"},
    "tool call": {"text": "Weather?", "tool": True},
    "tool call without reasoning": {"text": "[[think=0]] Weather?", "tool": True},
    "cached tokens": {"text": LONG},
    "cut by the cap": {"text": "[[n=50,think=2]]", "max_tokens": 12},
    "cut while it thinks": {"text": "[[n=50,think=9]]", "max_tokens": 6},
    # Not in Anthropic's dialect, whose whole answers cannot hold half a call: it is left out.
    "cut in a tool call": {
        "text": "[[think=2]] Weather?",
        "tool": True,
        "max_tokens": 4,
        "dialects": (False,),
    },
    "content filter": {"text": "[[fault=finish_filter,after=9]]"},
}
BOOKED = (
    "SELECT g.id, fresh_input, cache_read, cache_write_5m, cache_write_1h, output, reasoning_tokens,"
    " requests, images, searches, l.basis, cost_currency, cost_pico, charge_currency, charge_pico,"
    " reported_cost, l.result, g.finish_reason, g.native_finish_reason FROM generations g"
    " JOIN ledger_entries l ON l.generation_id = g.id WHERE g.id IN ({})"
)


def asked(case: dict[str, Any], model: str, *, anthropic: bool) -> dict[str, Any]:
    """The body of a request in one dialect."""
    body = chat(case["text"], model=model, max_tokens=case.get("max_tokens", 1000))
    if case.get("tool") and anthropic:
        body["tools"] = [{"name": "get_weather", "input_schema": PARAMETERS}]
    elif case.get("tool"):
        body["tools"] = [{"type": "function", "function": FUNCTION}]
    return body


def told(answer: Response, *, anthropic: bool, stream: bool) -> Any:
    """What an answer says, without what is new in each."""
    assert answer.status == 200, answer.body
    if anthropic:
        whole = message(answer.body) if stream else answer.document
        del whole["id"], whole["model"]
        blocks = [
            {name: value for name, value in block.items() if name not in {"id", "signature"}}
            for block in whole.pop("content")
        ]
        usage = {name: float(v) if name == "cost" else v for name, v in whole.pop("usage").items()}
        return whole, blocks, usage
    assert not stream or answer.events[-1] == "[DONE]"
    return of_chunks(answer.events[:-1]) if stream else of_document(answer.document)


def booked(kinds: KindsStage, identities: list[str]) -> list[tuple[Any, ...]]:
    """What stands in the ledger of some generations, once all of it was shipped."""
    wanted = {f"g{at}": identity for at, identity in enumerate(identities)}
    query = BOOKED.format(",".join(f":{name}" for name in wanted))
    until = time.monotonic() + 10
    while time.monotonic() < until:
        rows = {row.pop("id"): tuple(row.values()) for row in kinds.read(query, **wanted)}
        if len(rows) == len(identities):
            return [rows[identity] for identity in identities]
        time.sleep(0.02)
    raise AssertionError("the ledger lacks a generation")


@ONE
def test_streamed_and_whole_answers_say_and_cost_the_same(kinds: KindsStage, kind: str) -> None:
    generations: dict[str, str] = {}
    for name, case in CASES.items():
        for owner in ("only", "whole"):  # what is cached of it is from now on
            kinds.ask(asked(case, f"{owner}-{kind}/k2.6", anthropic=False))
        for anthropic in case.get("dialects", (False, True)):
            path = "/v1/messages" if anthropic else "/api/v1/chat/completions"
            seen = []
            for owner, stream in (("only", False), ("only", True), ("whole", False)):
                body = asked(case, f"{owner}-{kind}/k2.6", anthropic=anthropic)
                answer = kinds.ask(body | {"stream": stream}, path=path)
                generations[answer.generation] = name
                seen.append(told(answer, anthropic=anthropic, stream=stream))
            assert seen[1:] == seen[:1] * 2, name
    rows = booked(kinds, list(generations))
    for name in CASES:
        these = {row for row, case in zip(rows, generations.values(), strict=True) if case == name}
        assert len(these) == 1, (name, these)
