"""A request that came back to its gateway is refused; one that goes on says where it has been."""

import pytest

from gateway.errors import InvalidRequest, LoopDetected
from gateway.flow.hops import MOST, via
from tests.builders import END, USAGE, candidate, chat, text
from tests.fakes.flow import FakeHead, Rig

ANSWER = ([text("Hi")], [END], [USAGE])


def head(value: str | None) -> FakeHead:
    return FakeHead({} if value is None else {"x-tidegate-via": value})


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "here"), ("a", "a,here"), ("a, b,c", "a,b,c,here"), ("there", "there,here")],
)
def test_this_gateway_comes_last(value: str | None, told: str) -> None:
    assert via(head(value), "here") == told


@pytest.mark.parametrize("value", ["here", "a,here", "here , b", ",".join("abcdefgh")])
def test_a_loop_or_too_many_gateways_are_refused(value: str) -> None:
    with pytest.raises(LoopDetected) as caught:
        via(head(value), "here")
    assert (caught.value.status, caught.value.code) == (508, "loop_detected")


def test_one_gateway_less_than_the_most_is_let_through() -> None:
    assert via(head(",".join("abcdefgh"[: MOST - 1])), "here").count(",") == MOST - 1


@pytest.mark.parametrize("value", ["", "a;b", "A", "a,,b", "a b", "x" * 65, "é"])
def test_what_is_no_list_of_ids_goes_nowhere(value: str) -> None:
    with pytest.raises(InvalidRequest, match="x-tidegate-via") as caught:
        via(head(value), "here")
    assert caught.value.code == "invalid_header"


async def test_the_endpoint_is_told_and_a_loop_costs_nothing() -> None:
    gateway = Rig(candidate("a"))
    gateway.script("a", ANSWER)
    exchange = await gateway.ask(chat(), x_tidegate_via="there")
    assert exchange.status == 200
    assert [call.via for call, _, _ in gateway.backend.calls] == ["there,here"]
    exchange = await gateway.ask(chat(), x_tidegate_via="there,here")
    assert exchange.status == 508
    assert exchange.json["error"]["code"] == "loop_detected"
    assert len(gateway.backend.calls) == 1
    assert gateway.log.count("admit") == 1
