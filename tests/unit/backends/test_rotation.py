"""The keys of an account: one at a time, the next where one is refused, and for no other reason."""

import logging

import pytest
from msgspec import structs
from typing_extensions import override

from backends import Backend, BackendError, Call, Endpoint, Reply, Secret
from backends.errors import (
    AccessRefused,
    AccountRateLimited,
    ConnectionLost,
    CredentialRefused,
    Overloaded,
    QuotaExhausted,
    RateLimited,
)
from backends.rotation import RETRY, rotating
from tests.fakes.clock import HandClock

CALL = Call(fields={}, stream=True, output_cap=1, request_id="r")
KEYS = ("sk-one", "sk-two", "sk-three")
ROW = Endpoint(
    id="p/k",
    provider="p",
    kind="k",
    base_url="https://x.example",
    model="m",
    account="main",
    api_key=Secret(KEYS[0]),
    spare_keys=tuple(map(Secret, KEYS[1:])),
)
OTHER = structs.replace(ROW, id="p/other")
REFUSED = CredentialRefused("x", status=401)


class Good(Reply):
    dropped = ()

    @override
    def abort(self) -> None:
        """There is nothing to stop."""


class Inner(Backend):
    """An adapter that fails as `errors` says of a key, and remembers which keys it was given."""

    def __init__(self, clock: HandClock) -> None:
        self.errors: dict[str, BackendError] = {}
        self.used: list[str] = []
        self.timeouts: list[float] = []
        self.takes = 0.0  # seconds
        self._clock = clock

    @override
    async def open(self, call: Call, endpoint: Endpoint, *, timeout: float) -> Reply:
        key = "" if endpoint.api_key is None else endpoint.api_key.reveal()
        self.used.append(key)
        self.timeouts.append(timeout)
        self._clock.advance(self.takes)
        if key in self.errors:
            raise self.errors[key]
        return Good()  # type: ignore[abstract] # nothing else of it is asked for


class Rig:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.inner = Inner(self.clock)
        self.backends = rotating({"k": self.inner}, self.clock.monotonic)

    async def ask(self, endpoint: Endpoint = ROW, timeout: float = 10) -> list[str]:
        """The keys that one request used."""
        self.inner.used.clear()
        self.inner.timeouts.clear()
        await self.backends["k"].open(CALL, endpoint, timeout=timeout)
        return [*self.inner.used]


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_while_the_first_key_is_good_no_other_is_used(rig: Rig) -> None:
    assert [await rig.ask() for _ in range(20)] == [["sk-one"]] * 20


async def test_where_a_key_is_refused_the_next_one_is_used_and_stays_in_use(rig: Rig) -> None:
    rig.inner.errors["sk-one"] = REFUSED
    assert await rig.ask() == ["sk-one", "sk-two"]
    assert [await rig.ask() for _ in range(5)] == [["sk-two"]] * 5
    assert await rig.ask(OTHER) == ["sk-two"], "the account's other endpoints know it too"


async def test_several_refused_keys_are_passed_over(rig: Rig) -> None:
    rig.inner.errors |= {"sk-one": REFUSED, "sk-two": REFUSED}
    assert await rig.ask() == ["sk-one", "sk-two", "sk-three"]


async def test_with_all_keys_refused_the_refusal_is_told_and_later_requests_try_one(
    rig: Rig,
) -> None:
    rig.inner.errors |= dict.fromkeys(KEYS, REFUSED)
    with pytest.raises(CredentialRefused):
        await rig.ask()
    assert rig.inner.used == [*KEYS]
    with pytest.raises(CredentialRefused):
        await rig.ask()
    assert rig.inner.used == ["sk-one"]


async def test_with_all_keys_refused_a_good_one_is_found_long_before_they_are_due(rig: Rig) -> None:
    rig.inner.errors |= dict.fromkeys(KEYS, REFUSED)
    with pytest.raises(CredentialRefused):
        await rig.ask()
    del rig.inner.errors["sk-three"]  # it was a mistake of the provider, but for the first two
    tried: list[str] = []
    for _ in range(2):
        rig.clock.advance(5)
        with pytest.raises(CredentialRefused):
            await rig.ask()
        tried += rig.inner.used
    assert tried == ["sk-one", "sk-two"]
    rig.clock.advance(5)
    assert await rig.ask() == ["sk-three"]
    assert await rig.ask(OTHER) == ["sk-three"]


async def test_an_endpoint_and_an_account_of_one_name_are_two_things(rig: Rig) -> None:
    here = structs.replace(ROW, id="same", account="first")
    there = structs.replace(ROW, id="p/x", account="same")
    rig.inner.errors["sk-one"] = AccessRefused("x", status=403)
    assert await rig.ask(here) == ["sk-one", "sk-two"]
    rig.inner.errors.clear()
    assert await rig.ask(there) == ["sk-one"]


async def test_a_refused_key_is_tried_again_after_a_while_by_one_request(rig: Rig) -> None:
    rig.inner.errors["sk-one"] = REFUSED
    await rig.ask()
    rig.clock.advance(RETRY - 1)
    assert await rig.ask() == ["sk-two"]
    rig.clock.advance(2)
    assert await rig.ask() == ["sk-one", "sk-two"]
    assert await rig.ask() == ["sk-two"]
    rig.inner.errors.clear()
    rig.clock.advance(RETRY + 1)
    assert await rig.ask() == ["sk-one"]
    assert await rig.ask() == ["sk-one"]


@pytest.mark.parametrize(
    "error",
    [
        RateLimited("x", status=429),
        AccountRateLimited("x", status=429, retry_after=1),
        QuotaExhausted("x", status=402),
        Overloaded("x", status=503),
        ConnectionLost("x"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_nothing_but_a_refused_key_changes_it(rig: Rig, error: BackendError) -> None:
    rig.inner.errors["sk-one"] = error
    for _ in range(3):
        with pytest.raises(type(error)):
            await rig.ask()
        assert rig.inner.used == ["sk-one"]


async def test_a_refusal_inside_a_reply_may_be_billed_and_is_not_repeated(rig: Rig) -> None:
    begun = CredentialRefused("x", status=401)
    begun.in_work = True
    rig.inner.errors["sk-one"] = begun
    with pytest.raises(CredentialRefused):
        await rig.ask()
    assert rig.inner.used == ["sk-one"]


async def test_a_key_that_may_not_do_one_thing_is_good_for_others(rig: Rig) -> None:
    rig.inner.errors["sk-one"] = AccessRefused("x", status=403)
    assert await rig.ask() == ["sk-one", "sk-two"]
    assert await rig.ask() == ["sk-two"]
    rig.inner.errors.clear()
    assert await rig.ask(OTHER) == ["sk-one"]


async def test_the_time_that_a_refusal_took_is_not_given_again(rig: Rig) -> None:
    rig.inner.errors["sk-one"] = REFUSED
    rig.inner.takes = 3.0
    await rig.ask(timeout=10)
    assert rig.inner.timeouts == [10, 7]


async def test_the_log_names_keys_by_fingerprint_only(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.inner.errors["sk-one"] = REFUSED
    with caplog.at_level(logging.DEBUG):
        await rig.ask()
    (record,) = caplog.records
    told = record.getMessage()
    assert "account main" in told
    assert Secret("sk-one").fingerprint in told
    assert Secret("sk-two").fingerprint in told
    assert "sk-one" not in repr(record.__dict__) + told


async def test_an_endpoint_without_spare_keys_is_passed_on_as_it_is(rig: Rig) -> None:
    row = structs.replace(ROW, spare_keys=())
    rig.inner.errors["sk-one"] = REFUSED
    for _ in range(2):
        with pytest.raises(CredentialRefused):
            await rig.ask(row)
        assert rig.inner.used == ["sk-one"]
