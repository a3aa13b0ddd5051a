"""What the caller is told when no endpoint answered, and who is asked after a context was too short."""

from collections.abc import Iterator

import pytest

from backends import BackendError, UpstreamTimeout, errors
from backends.errors import (
    AccountRateLimited,
    Blame,
    ConnectFailed,
    ContentRefused,
    ContextLengthExceeded,
    CredentialRefused,
    Overloaded,
    ParameterUnsupported,
    RateLimited,
    RequestRefused,
    UpstreamFault,
)
from gateway.flow.dialects import ANTHROPIC
from gateway.flow.failures import Attempt, Failure, verdict
from gateway.values import PlanEntry
from tests.builders import END, USAGE, anthropic, candidate, chat, text
from tests.fakes.flow import Rig

GOOD = ([text("Hi")], [END], [USAGE])
TOO_LONG = ContextLengthExceeded("x", status=400, public="at most 1000 tokens")
UNKNOWN_THERE = ParameterUnsupported("x", status=404, public="top_a is not known here")

SMALL = candidate("small", context_length=1000)
SAME = candidate("same", price=("2", "3"), context_length=1000)
LARGE = candidate("large", price=("3", "4"), context_length=2000)


def family(kind: type[BackendError] = BackendError) -> Iterator[type[BackendError]]:
    for child in kind.__subclasses__():
        yield child
        yield from family(child)


def failed(error: BackendError) -> Failure:
    return Failure(Attempt(1, PlanEntry(SMALL, "x"), 0, 0.0), error, 1.0)


EXPECTED = {
    "timeout": 504,
    "overloaded": 503,
    "provider_unavailable": 503,
    "connect_failed": 503,
    "rate_limited": 429,
    "request_refused": 400,
    "unsupported_parameter": 400,
    "content_policy_violation": 400,
    "context_length_exceeded": 400,
}


@pytest.mark.parametrize("kind", list(family()), ids=lambda kind: kind.__name__)
def test_each_class_has_its_status_and_what_is_our_accounts_is_never_the_callers(
    kind: type[BackendError],
) -> None:
    error = UpstreamTimeout("idle", 1.0) if kind is UpstreamTimeout else kind("x")
    if not isinstance(error, UpstreamTimeout):
        error.status = 401  # of ours at the provider: no business of the caller's
    told = verdict("m", [failed(error)])
    assert told.status == EXPECTED.get(kind.code, 502)
    assert told.code == kind.code
    assert told.status not in {401, 402, 403}
    assert (told.type == "invalid_request_error") == (error.blame is Blame.CALLER)


def test_every_class_says_what_it_sets_aside() -> None:
    for kind in family():
        assert kind.sets_aside in {"nothing", "endpoint", "account"}
        if kind.blame is Blame.CALLER:
            assert kind.sets_aside == "nothing"
    assert UpstreamTimeout("pool", 1.0).sets_aside == "nothing"
    assert UpstreamTimeout("idle", 1.0).sets_aside == "endpoint"
    assert errors.LineFull.sets_aside == "nothing"


async def test_a_prompt_too_long_for_one_endpoint_goes_to_one_with_a_longer_context() -> None:
    rig = Rig(SMALL, SAME, LARGE)
    rig.script("small", TOO_LONG)
    rig.script("large", GOOD)
    exchange = await rig.ask(chat())
    assert rig.asked == ["small", "large"]
    assert exchange.status == 200
    assert rig.breaker.snapshot() == {}


async def test_a_prompt_too_long_for_all_is_the_callers_to_shorten() -> None:
    rig = Rig(SMALL, SAME, LARGE)
    rig.script("small", TOO_LONG)
    rig.script("large", TOO_LONG)
    exchange = await rig.ask(chat())
    error = exchange.error
    assert (exchange.status, error["code"]) == (400, "context_length_exceeded")
    assert (error["type"], error["param"]) == ("invalid_request_error", "messages")
    assert "at most 1000 tokens" in error["message"]
    assert error["metadata"]["error_type"] == "context_length_exceeded"
    assert error["metadata"]["excluded"] == [{"endpoint": "same/kimi", "reason": "context_length"}]
    assert [attempt["provider"] for attempt in error["metadata"]["attempts"]] == ["small", "large"]


async def test_so_it_is_in_anthropics_dialect() -> None:
    rig = Rig(SMALL, dialect=ANTHROPIC)
    rig.script("small", TOO_LONG)
    exchange = await rig.ask(anthropic())
    error = exchange.error
    assert (exchange.status, error["type"]) == (400, "invalid_request_error")
    assert error["details"]["error_code"] == "context_length_exceeded"


@pytest.mark.parametrize("order", [("small", "large"), ("large", "small")])
async def test_one_endpoint_without_room_does_not_hide_why_the_others_failed(
    order: tuple[str, str],
) -> None:
    first, second = order
    rig = Rig(
        candidate(first, context_length=1000),
        candidate(second, price=("2", "3"), context_length=2000),
    )
    rig.script("small", TOO_LONG)
    rig.script("large", Overloaded("x", status=503))
    exchange = await rig.ask(chat())
    assert (exchange.status, exchange.error["code"]) == (503, "overloaded")


@pytest.mark.parametrize("error", [TOO_LONG, UNKNOWN_THERE], ids=lambda error: error.code)
def test_an_account_at_its_limit_may_have_what_another_lacks(error: BackendError) -> None:
    told = verdict("m", [failed(error)], waits=[(PlanEntry(LARGE, "x"), 3.0)])
    assert (told.status, told.code, told.retry_after) == (429, "account_limit", 3.0)


async def test_a_parameter_that_one_provider_does_not_support_goes_to_the_next() -> None:
    rig = Rig(SMALL, SAME, LARGE)
    rig.script("small", UNKNOWN_THERE)
    rig.script("same", GOOD)
    exchange = await rig.ask(chat())
    assert rig.asked == ["small", "same"]
    assert exchange.status == 200
    assert rig.breaker.snapshot() == {}, "nothing is set aside for it"


async def test_a_parameter_that_nobody_supports_is_the_callers_to_leave_out() -> None:
    rig = Rig(SMALL, LARGE)
    rig.script("small", UNKNOWN_THERE)
    rig.script("large", UNKNOWN_THERE)
    exchange = await rig.ask(chat())
    error = exchange.error
    assert rig.asked == ["small", "large"]
    assert (exchange.status, error["code"]) == (400, "unsupported_parameter")
    assert error["type"] == "invalid_request_error"
    assert "top_a is not known" in error["message"]
    assert error["metadata"]["error_type"] == "invalid_request"


@pytest.mark.parametrize("order", [("small", "large"), ("large", "small")])
async def test_one_endpoint_without_a_parameter_does_not_hide_why_the_others_failed(
    order: tuple[str, str],
) -> None:
    first, second = order
    rig = Rig(candidate(first), candidate(second, price=("2", "3")))
    rig.script("small", UNKNOWN_THERE)
    rig.script("large", Overloaded("x", status=503))
    exchange = await rig.ask(chat())
    assert rig.asked == [first, second]
    assert (exchange.status, exchange.error["code"]) == (503, "overloaded")


def test_an_account_at_its_limit_does_not_hide_a_failure() -> None:
    told = verdict(
        "m", [failed(UpstreamFault("x", status=500))], waits=[(PlanEntry(LARGE, "x"), 3.0)]
    )
    assert (told.status, told.code) == (502, "upstream_fault")
    assert told.metadata is not None
    assert told.metadata["excluded"] == [{"endpoint": "large/kimi", "reason": "account_limit"}]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (RequestRefused("x", status=400), "invalid_request"),
        (RequestRefused("x", status=413), "payload_too_large"),
        (RequestRefused("x", status=422), "unprocessable"),
        (ParameterUnsupported("x", status=400), "invalid_request"),
        (ParameterUnsupported("x", status=404), "invalid_request"),
        (ContentRefused("x", status=403), "content_policy_violation"),
        (TOO_LONG, "context_length_exceeded"),
        (RateLimited("x", status=429), "rate_limit_exceeded"),
        (AccountRateLimited("x", status=429), "rate_limit_exceeded"),
        (Overloaded("x", status=503), "provider_overloaded"),
        (UpstreamTimeout("idle", 1.0), "timeout"),
        (CredentialRefused("x", status=401), "provider_unavailable"),
        (ConnectFailed("x"), "provider_unavailable"),
    ],
    ids=lambda value: value.code if isinstance(value, BackendError) else value,
)
def test_a_client_of_openrouter_finds_its_own_word(error: BackendError, word: str) -> None:
    metadata = verdict("m", [failed(error)]).metadata
    assert metadata is not None
    assert (metadata["error_type"], metadata["provider_name"]) == (word, "small")
    assert "previous_errors" not in metadata


async def test_a_client_of_openrouter_finds_the_attempts_before_the_last() -> None:
    rig = Rig(SMALL, LARGE)
    rig.script("small", UpstreamFault("secret", status=500))
    rig.script("large", RateLimited("x", status=429, retry_after=7.0))
    exchange = await rig.ask(chat())
    metadata = exchange.error["metadata"]
    assert metadata["provider_name"] == "large"
    assert metadata["previous_errors"] == [
        {"provider": "small", "code": "upstream_fault", "status": 500}
    ]
    assert exchange.headers["retry-after"] == "7"
    assert b"secret" not in exchange.sent
