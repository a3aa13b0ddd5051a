"""A request under a data policy reaches only endpoints with evidence, at every attempt."""

import itertools

import pytest
from msgspec.structs import replace

from backends import BackendError
from backends.errors import Overloaded, RequestRefused, UpstreamFault, UpstreamTimeout
from gateway.flow.dialects import ANTHROPIC, OPENAI, Dialect
from gateway.values import UNKNOWN_POLICY, Candidate, DataPolicy, Principal
from tests.builders import END, USAGE, anthropic, candidate, chat, principal, text
from tests.fakes.flow import Rig

GOOD = ([text("Hi")], [END], [USAGE])
ZDR = principal(zdr=True)
NO_TRAINING = principal(no_training=True)
SAFE = DataPolicy(trains=False, retains=False, source="an agreement", date="2026-10-01")
UNTIL_TODAY = replace(SAFE, valid_until="2026-11-22")
TERMS = DataPolicy(trains=True, retains=True, source="terms of 2026-07-30", date="2026-09-03")
DAY = 86_400.0


def endpoints(**policies: DataPolicy | None) -> list[Candidate]:
    """The first is the cheapest; None is unknown."""
    return [
        candidate(name, price=(str(price), "2"), policy=policy or UNKNOWN_POLICY)
        for price, (name, policy) in enumerate(policies.items(), 1)
    ]


@pytest.mark.parametrize("caller", [ZDR, NO_TRAINING], ids=["zdr", "no training"])
async def test_the_first_attempt_is_with_evidence_though_others_are_cheaper(
    caller: Principal,
) -> None:
    rig = Rig(*endpoints(a=None, b=TERMS, c=SAFE), principal=caller)
    rig.script("c", GOOD)
    exchange = await rig.ask(chat())
    assert (exchange.status, rig.asked) == (200, ["c"])


async def test_failover_stays_among_those_with_evidence() -> None:
    rig = Rig(*endpoints(a=None, b=SAFE, c=TERMS, d=SAFE), principal=ZDR)
    rig.script("b", Overloaded("x", status=503))
    rig.script("d", GOOD)
    exchange = await rig.ask(chat())
    assert (exchange.status, rig.asked) == (200, ["b", "d"])


async def test_when_all_with_evidence_fail_the_others_are_not_the_last_resort() -> None:
    rig = Rig(*endpoints(a=None, b=SAFE, c=TERMS), principal=ZDR)
    rig.script("b", *(UpstreamFault("x", status=500) for _ in range(4)))
    for _ in range(4):  # until it is set aside, and beyond
        exchange = await rig.ask(chat())
        assert exchange.status == 502
    assert rig.asked == ["b"] * 4


@pytest.mark.parametrize(
    ("dialect", "body"), [(OPENAI, chat()), (ANTHROPIC, anthropic())], ids=["chat", "messages"]
)
async def test_without_any_evidence_nothing_is_sent_and_the_caller_reads_why(
    dialect: Dialect, body: bytes
) -> None:
    rig = Rig(*endpoints(a=TERMS, b=None), principal=ZDR, dialect=dialect)
    exchange = await rig.ask(body)
    assert exchange.status == 404
    assert rig.asked == []
    assert rig.state.reservations == []
    told = exchange.error["message"]
    assert "zero data retention" in told
    assert "a/kimi: trains, retains (terms of 2026-07-30, read 2026-09-03)" in told
    assert "b/kimi: not known, counts as trains and retains" in told
    assert b"privacy_restricted" in exchange.sent
    assert b"data_policy:zdr" in exchange.sent


async def test_evidence_that_ends_while_the_gateway_runs_ends_there() -> None:
    rig = Rig(*endpoints(a=UNTIL_TODAY), principal=ZDR)
    rig.script("a", GOOD)
    assert (await rig.ask(chat())).status == 200
    rig.clock.advance(DAY)
    exchange = await rig.ask(chat())
    assert exchange.status == 404
    assert "evidence valid until 2026-11-22" in exchange.error["message"]
    assert rig.asked == ["a"]


async def test_others_are_served_as_before() -> None:
    rig = Rig(*endpoints(a=None, b=SAFE))
    rig.script("a", GOOD)
    assert (await rig.ask(chat())).status == 200
    assert rig.asked == ["a"]


@pytest.mark.parametrize(("zdr", "no_training"), list(itertools.product((False, True), repeat=2)))
async def test_adapters_are_told_what_is_demanded(
    zdr: bool,  # noqa: FBT001 - a parameter
    no_training: bool,  # noqa: FBT001 - a parameter
) -> None:
    rig = Rig(*endpoints(a=SAFE), principal=principal(zdr=zdr, no_training=no_training))
    rig.script("a", GOOD)
    await rig.ask(chat())
    ((call, _, _),) = rig.backend.calls
    assert (call.zdr, call.no_training) == (zdr, no_training)


async def test_an_endpoint_with_evidence_that_cannot_serve_is_not_made_up_for() -> None:
    rig = Rig(
        candidate("a", price=("1", "2"), context_length=100_000),
        candidate("b", price=("2", "2"), context_length=1, policy=SAFE),
        principal=ZDR,
    )
    exchange = await rig.ask(chat(messages=[{"role": "user", "content": "x" * 1000}]))
    assert exchange.status == 404
    assert rig.asked == []
    assert "data_policy:zdr" in exchange.error["message"]
    assert "context_length" in exchange.error["message"]


# What a provider says may quote the prompt

SECRET = "the-merger-is-on-friday"
BODIES = pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (OPENAI, chat()),
        (OPENAI, chat(stream=True)),
        (ANTHROPIC, anthropic()),
        (ANTHROPIC, anthropic(stream=True)),
    ],
    ids=["chat", "chat stream", "messages", "messages stream"],
)


def quoting() -> RequestRefused:
    """A refusal that quotes the prompt wherever it can."""
    return RequestRefused(
        f"HTTP 400: bad {SECRET}", status=400, public=f"bad {SECRET}", native_code=SECRET
    )


@BODIES
async def test_under_zdr_a_refusal_does_not_hand_on_what_the_provider_said(
    dialect: Dialect, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(*endpoints(a=SAFE), principal=ZDR, dialect=dialect)
    rig.script("a", quoting())
    exchange = await rig.ask(body)
    assert exchange.status == 400
    assert b"request_refused" in exchange.sent
    assert SECRET.encode() not in exchange.sent
    assert SECRET not in caplog.text
    assert SECRET not in repr(rig.journal.lines)


@BODIES
async def test_under_zdr_nor_does_one_inside_an_answer(
    dialect: Dialect, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(*endpoints(a=SAFE), principal=ZDR, dialect=dialect)
    rig.script("a", ([text("Hi")], quoting()))
    exchange = await rig.ask(body)
    assert b"request_refused" in exchange.sent
    assert SECRET.encode() not in exchange.sent
    assert SECRET not in caplog.text
    assert SECRET not in repr(rig.journal.lines)


async def test_others_read_why_their_request_was_refused() -> None:
    rig = Rig(*endpoints(a=SAFE))
    rig.script("a", quoting())
    assert SECRET in (await rig.ask(chat())).error["message"]


async def test_what_is_our_own_word_is_told_under_zdr_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(*endpoints(a=SAFE), principal=ZDR)
    rig.script("a", *(UpstreamTimeout("idle", 3.0) for _ in range(3)))
    for _ in range(3):
        await rig.ask(chat())
    assert "idle deadline of 3 s passed" in caplog.text


@pytest.mark.parametrize("word", [f"a sentence on {SECRET}", f"{SECRET}\n", SECRET * 9])
async def test_a_sentence_where_a_code_should_be_is_not_logged(
    word: str, caplog: pytest.LogCaptureFixture
) -> None:
    """For all requests: nobody promised that a provider's `code` is one."""
    rig = Rig(*endpoints(a=SAFE))
    rig.script("a", *(UpstreamFault("x", status=500, native_code=word) for _ in range(3)))
    for _ in range(3):
        await rig.ask(chat())
    assert "a/kimi fails: upstream_fault" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("caller", [ZDR, principal()], ids=["zdr", "any"])
async def test_a_fault_of_the_gateway_is_logged_by_kind_and_place_only(
    caller: Principal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(*endpoints(a=SAFE), principal=caller)

    async def broken(*_: object, **__: object) -> None:
        try:
            raise quoting()
        except BackendError:
            raise KeyError(SECRET)  # noqa: B904 - what is behind it is part of the test

    monkeypatch.setattr(rig.backend, "open", broken)
    exchange = await rig.ask(chat())
    assert exchange.status == 500
    assert SECRET.encode() not in exchange.sent
    assert "builtins.KeyError" in caplog.text
    assert "after backends.errors.RequestRefused" in caplog.text
    assert "in broken" in caplog.text
    assert SECRET not in caplog.text
