"""One cell of the wall: a fault is switched on, a caller asks, and everybody's account is compared."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from gateway.values import AttemptRecord, Basis, Result
from tests.fakes.stage import Response
from tests.faultwall.expectations import Before, Good, How, Midway, Outcome, Row, Told
from tests.faultwall.wall import CAP, COLUMNS, PROMPT, TOOL, Spot, Wall, body_of

REASONING = "These words stand for reasoning."
PROMPT_TOKENS = 7  # of `PROMPT`, four bytes each
THOUGHTS = 6
TOOL_PIECES = 3  # a name, and its arguments in pieces of eight characters
PICO = {"input": 2_000_000, "output": 8_000_000}  # per token, at `PRICE`
SECOND_PICO = {"input": 3_000_000, "output": 9_000_000}
OPENROUTERS_PICO = {"input": 950_000, "output": 4_000_000}  # what its stand-in says it takes
_TRACES = (b"Traceback", b'File "', b"org-5a4d6b0c", b"ak-sandbox", b"user_sandbox")


class Seen(Struct):
    """What the caller got.

    Attributes:
        status: HTTP status.
        error: the error, whether it came as a reply or in a stream.
        done: whether a stream ended with its mark.
        pieces, size: deltas of a stream with something in them, and the bytes of their text.
        notes: what is told beside the answer.
    """

    status: int
    error: Any = None
    done: bool = False
    content: str = ""
    reasoning: str = ""
    tool: str | None = None
    finish: str | None = None
    usage: Any = None
    pieces: int = 0
    size: int = 0
    notes: Any = None

    @property
    def shown(self) -> str:
        """In a word, for the matrix."""
        if self.error is None:
            return "ok~" if (self.usage or {}).get("estimated") else "ok"
        return "cut" if self.pieces else str(self.status)


def seen_by_caller(answer: Response, *, streamed: bool) -> Seen:
    """Read an answer as a client does."""
    found = Seen(answer.status)
    if not answer.headers["content-type"].startswith("text/event-stream"):
        document = answer.document
        found.error = document.get("error")
        if found.error is None:
            assert not streamed, "a stream was asked for"
            (choice,) = document["choices"]
            _add(found, choice["message"], choice["finish_reason"])
            found.pieces = 0
            found.usage, found.notes = document["usage"], document.get("tidegate")
        return found
    assert streamed, "no stream was asked for"
    *events, last = answer.events
    found.done = last == "[DONE]"
    for event in events if found.done else [*events, last]:
        found.error = found.error or event.get("error")
        found.usage = event.get("usage") or found.usage
        found.notes = event.get("tidegate") or found.notes
        for choice in event["choices"]:
            _add(found, choice["delta"], choice.get("finish_reason"))
    return found


def _add(found: Seen, delta: Mapping[str, Any], finish: str | None) -> None:
    texts = [delta.get("content") or "", delta.get("reasoning") or ""]
    found.content += texts[0]
    found.reasoning += texts[1]
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        found.tool = function.get("name") or found.tool
        texts += [function.get("arguments") or "", function.get("name") or ""]
    found.pieces += any(texts)
    found.size += sum(len(text.encode()) for text in texts)
    found.finish = finish or found.finish


class Cell:
    """One fault at one kind of endpoint, for one sort of caller, alone or with a second endpoint."""

    def __init__(self, wall: Wall, row: Row, kind: str, how: How, *, alone: bool) -> None:
        self.wall, self.row, self.kind, self.how, self.alone = wall, row, kind, how, alone
        spot = Spot(kind, how, row.ground)
        self.first = spot.endpoint("alone" if alone else "first")
        self.second = spot.endpoint("second")
        self.body = body_of(spot.model(alone=alone), how, tools=row.tools)
        # Tools count twice: a template may render them longer than they come.
        size = len(self.body) + (len(json.dumps([TOOL])) if row.tools else 0)
        self.estimated_prompt = -(-size // 4)
        self.shown = "?"

    def run(self) -> None:
        """Ask, and compare with what is expected.

        Raises:
            AssertionError: it is not so.
        """
        wall, streamed = self.wall, self.how == "stream"
        asked = wall.second.received.count
        logged = len(wall.log)
        if self.row.fault is not None:
            wall.strike(self.kind, self.row.fault)
        try:
            answer = wall.ask(self.body)
            self._harmless(answer)
            self.seen = seen_by_caller(answer, streamed=streamed)
            self.shown = self.seen.shown
            self.outcome = wall.ledger(answer.generation)
            self.aside = self._set_aside()
        finally:
            wall.heal(self.kind)
            self.counted = wall.moved()
        assert not wall.log[logged:], [record.getMessage() for record in wall.log[logged:]]

        expected = self.row.outcome(self.kind, self.how)
        saved = not self.alone and isinstance(expected, Before) and expected.told.elsewhere
        assert wall.second.received.count - asked == saved, "the second endpoint"
        if saved and isinstance(expected, Before):
            self.shown += "+"
            assert answer.headers["x-tidegate-provider"] == f"second-{self.kind}"
            assert answer.headers["x-tidegate-attempts"] == "2"
            self._saved(expected)
        else:
            self._by_first(expected)

    def _by_first(self, expected: Outcome) -> None:
        (attempt,) = self.outcome.attempts
        assert attempt.endpoint_id == self.first
        if isinstance(expected, Good):
            self._good(expected, attempt)
            self._counted(attempt, "success")
            assert self.aside == {}
        elif isinstance(expected, Before):
            told = expected.told
            self._refused(told)
            self._nothing_for_the_caller(expected, attempt)
            self._counted(attempt, told.code, error=told)
            assert self.aside == self._expected_aside(told)
        else:
            self._broken(expected, attempt)
            self._counted(attempt, expected.told.code)
            assert self.aside == self._expected_aside(expected.told)

    # what the caller sees

    def _harmless(self, answer: Response) -> None:
        leaked = [trace for trace in _TRACES if trace in answer.body]
        assert not leaked, leaked
        assert answer.generation.startswith("gen-")

    def _refused(self, told: Told) -> None:
        seen = self.seen
        assert seen.error is not None, f"no error: {seen}"
        assert (seen.status, seen.error["code"]) == (told.status, told.code)
        assert {"message", "type", "code", "param", "metadata"} <= seen.error.keys()
        (attempt,) = seen.error["metadata"]["attempts"]
        assert (attempt["endpoint"], attempt["code"]) == (self.first, told.code)
        assert (seen.content, seen.reasoning, seen.tool) == ("", "", None)

    def _broken(self, expected: Midway, attempt: AttemptRecord) -> None:
        told, seen = expected.told, self.seen
        assert self.how == "stream"
        assert seen.error is not None, "a broken answer ended as if it were whole"
        assert not seen.done
        assert (seen.status, seen.error["code"], seen.finish) == (200, told.code, "error")
        assert seen.pieces
        assert (attempt.result, attempt.error_code) == (Result.FAILED, told.code)
        assert attempt.basis == expected.basis
        if expected.basis == Basis.ESTIMATED:
            self._estimated(attempt)
        else:
            assert attempt.quantities.input_total == PROMPT_TOKENS
            assert attempt.quantities.output == seen.pieces
        assert attempt.charge == attempt.cost
        assert attempt.charge.pico == self._price(attempt) > 0

    def _good(self, expected: Good, attempt: AttemptRecord) -> None:
        seen = self.seen
        assert seen.error is None, seen.error
        assert seen.status == 200
        assert seen.done == (self.how == "stream")
        assert seen.finish == expected.finish
        assert seen.tool == expected.tool
        if not (expected.raw or expected.tool or expected.pieces == 0):
            self._whole_text(self.kind, mended=expected.mended)
        assert (attempt.result, attempt.error_code) == (Result.SUCCESS, None)
        assert attempt.basis == expected.basis
        # Of wrong counts some is used.
        if expected.basis == Basis.ESTIMATED and self.row.name != "wrong_usage":
            self._estimated(attempt)
        else:
            assert attempt.quantities.input_total == PROMPT_TOKENS
            assert attempt.quantities.cache_read == 0
            assert attempt.quantities.output == self._written(expected)
        assert attempt.charge == attempt.cost
        assert attempt.charge.pico == self._price(attempt)
        self._told_usage(attempt, estimated=expected.basis == Basis.ESTIMATED)
        if expected.told is not None:
            (fault,) = seen.notes["tool_call_faults"]
            assert (fault["index"], fault["name"], fault["fault"]) == (0, seen.tool, expected.told)
        else:
            assert "tool_call_faults" not in (seen.notes or {})
        assert self._moved("tool_calls", "provider") == (
            {} if seen.tool is None else {(attempt.provider,): 1.0}
        )
        assert self._moved("tool_call_faults", "provider", "fault") == (
            {} if expected.told is None else {(attempt.provider, expected.told): 1.0}
        )

    def _whole_text(self, kind: str, *, mended: bool = False) -> None:
        title = "Novita AI" if kind == "second" else COLUMNS[kind].dialect().title
        text = (
            f"This is Tidegate's sandbox of {title}, not a model."
            f" The last user message has {len(PROMPT)} characters."
        )
        content, reasoning = self.seen.content, self.seen.reasoning
        if mended:
            assert "\ufffd" in content + reasoning, "something is missing, and nobody says so"
            content, reasoning = (s.replace("\ufffd", "") for s in (content, reasoning))
        assert (content, reasoning) == (text, REASONING)

    def _told_usage(self, attempt: AttemptRecord, *, estimated: bool) -> None:
        usage, quantities = self.seen.usage, attempt.quantities
        assert usage is not None
        told = (usage["prompt_tokens"], usage["completion_tokens"])
        assert told == (quantities.input_total, quantities.output)
        assert Decimal(usage["cost"]) * 10**12 == attempt.charge.pico
        assert bool(usage.get("estimated")) == estimated

    # what the ledger says

    def _written(self, expected: Good) -> int:
        if expected.pieces is not None:
            return expected.pieces
        if self.row.tools:
            return THOUGHTS + TOOL_PIECES
        return THOUGHTS + len(self._text().split(" ")) + expected.extra

    def _text(self) -> str:
        title = COLUMNS[self.kind].dialect().title
        return f"This is Tidegate's sandbox of {title}, not a model. The last user message has 1 x."

    def _estimated(self, attempt: AttemptRecord) -> None:
        """By the rule of docs/concepts/accounting.md."""
        assert attempt.quantities.input_total == self.estimated_prompt
        pieces = self.seen.pieces if self.how == "stream" else self._written(Good())
        least = max(pieces if self.how != "native" else 1, -(-self.seen.size // 4))
        least = min(least, CAP)  # no provider can ask for more than it was allowed to write
        # A whole reply's texts are counted as the JSON strings that they came as.
        most = least + (self.how == "native")
        assert least <= attempt.quantities.output <= most

    def _price(self, attempt: AttemptRecord) -> int:
        quantities = attempt.quantities
        reports = COLUMNS[self.kind].reports_cost and attempt.reported_cost is not None
        price = OPENROUTERS_PICO if reports else PICO
        return quantities.input_total * price["input"] + quantities.output * price["output"]

    def _nothing_for_the_caller(self, expected: Before, attempt: AttemptRecord) -> None:
        told = expected.told
        assert (attempt.result, attempt.error_code) == (Result.FAILED, told.code)
        assert attempt.charge.pico == 0
        quantities = attempt.quantities
        if not told.billed:
            assert attempt.basis == Basis.MEASURED
            assert (attempt.cost.pico, quantities.input_total, quantities.output) == (0, 0, 0)
            return
        assert expected.basis in {None, attempt.basis}
        reported = attempt.basis == Basis.REPORTED
        prompt = PROMPT_TOKENS if reported else self.estimated_prompt
        assert quantities.input_total == prompt
        assert attempt.cost.pico == self._price(attempt) > 0

    def _saved(self, expected: Before) -> None:
        """The second endpoint answered, and the caller is none the wiser."""
        told = expected.told
        failed, served = self.outcome.attempts
        assert failed.endpoint_id == self.first
        self._nothing_for_the_caller(expected, failed)
        assert (served.endpoint_id, served.result) == (self.second, Result.SUCCESS)
        assert served.basis == Basis.REPORTED
        seen = self.seen
        assert (seen.status, seen.error, seen.done) == (200, None, self.how == "stream")
        if not self.row.tools:
            self._whole_text("second")
        quantities = served.quantities
        price = quantities.input_total * SECOND_PICO["input"]
        price += quantities.output * SECOND_PICO["output"]
        assert served.charge.pico == served.cost.pico == price > 0
        self._told_usage(served, estimated=False)
        self._counted(failed, told.code, then=served)
        assert self.aside == self._expected_aside(told)

    # health and metrics

    def _set_aside(self) -> dict[str, int]:
        """Failures that the breaker remembers: of endpoints, and of accounts in brackets."""
        breaker = self.wall.services.breaker
        found = {name: record.failures for name, record in breaker._records.items()}
        return found | {f"({name})": one.failures for name, one in breaker._accounts.items()}

    def _expected_aside(self, told: Told) -> dict[str, int]:
        # An endpoint that names no account has one of its own, called as it is.
        return {
            "nothing": {},
            "endpoint": {self.first: 1},
            "account": {f"({self.first})": 1},
        }[told.aside]

    def _counted(
        self,
        attempt: AttemptRecord,
        outcome: str,
        *,
        error: Told | None = None,
        then: AttemptRecord | None = None,
    ) -> None:
        """The counters moved by this one request and nothing else."""
        attempts = {(attempt.provider, outcome): 1.0}
        if then is not None:
            attempts[then.provider, "success"] = 1.0
        assert self._moved("upstream_attempts", "provider", "outcome") == attempts
        assert self._moved("request_errors", "code", "status") == (
            {} if error is None else {(error.code, str(error.status)): 1.0}
        )
        assert self._moved("failovers", "reason") == ({} if then is None else {(outcome,): 1.0})
        ended = (str(self.outcome.status), self.outcome.result.value)
        assert self._moved("requests", "status", "result") == {ended: 1.0}

    def _moved(self, counter: str, *labels: str) -> dict[tuple[str, ...], float]:
        """By how much a counter moved, by these of its labels."""
        return {
            tuple(found[label] for label in labels): change
            for name, found, change in self.counted
            if name == f"tidegate_{counter}_total"
        }
