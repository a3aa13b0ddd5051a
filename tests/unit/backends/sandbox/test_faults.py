"""Faults strike the requests they are meant for, as often as they are meant to."""

import msgspec
import pytest

from backends.sandbox.faults import (
    BadDirectiveError,
    Directives,
    Fault,
    FaultBoard,
    FaultName,
    parse_directives,
)


def test_a_fault_strikes_as_often_as_its_count_says() -> None:
    board = FaultBoard([Fault(name=FaultName.ERROR500, count=2)])
    struck = [board.take(chat=True) for _ in range(3)]
    assert [fault.name if fault else None for fault in struck] == ["error500", "error500", None]
    assert board.active() == []


def test_a_fault_without_a_count_strikes_until_it_is_cleared() -> None:
    board = FaultBoard([Fault(name=FaultName.STALL)])
    assert all(board.take(chat=True) for _ in range(5))
    board.clear()
    assert board.take(chat=True) is None


def test_faults_strike_in_the_order_they_were_switched_on() -> None:
    board = FaultBoard([Fault(name=FaultName.CUT, count=1), Fault(name=FaultName.EMPTY, count=1)])
    assert [getattr(board.take(chat=True), "name", None) for _ in range(2)] == ["cut", "empty"]


def test_model_lists_are_spared_unless_the_scope_says_all() -> None:
    board = FaultBoard([Fault(name=FaultName.ERROR503)])
    assert board.take(chat=False) is None
    board.add(Fault(name=FaultName.ERROR500, scope="all"))
    fault = board.take(chat=False)
    assert fault is not None
    assert fault.name is FaultName.ERROR500


def test_a_fault_for_one_model_spares_the_others() -> None:
    board = FaultBoard([Fault(name=FaultName.ERROR500, model="kimi-k3")])
    assert board.take(chat=True, model="kimi-k2.6") is None
    assert board.take(chat=True, model="kimi-k3") is not None


def test_only_a_refusal_can_strike_before_the_body_is_there() -> None:
    board = FaultBoard([Fault(name=FaultName.ERROR500)])
    assert board.take_refusal(chat=True) is None
    board = FaultBoard([Fault(name=FaultName.REFUSE, count=1)])
    assert board.take_refusal(chat=False) is None
    assert board.take_refusal(chat=True) is not None
    assert board.active() == []


def test_a_tag_anywhere_in_the_body_chooses_the_fault() -> None:
    body = b'{"messages":[{"content":"please [[fault=cut,after=3,delay=250,how=fin]] now"}]}'
    assert parse_directives(body).fault == Fault(
        name=FaultName.CUT, after=3, delay_s=0.25, how="fin"
    )


def test_a_tag_sets_pace_and_length() -> None:
    assert parse_directives(b"[[pace=10,n=200]] [[think=0,wait=5]]") == Directives(
        pace_ms=10, wait_ms=5, pieces=200, think=0
    )


def test_a_tag_for_another_server_is_ignored() -> None:
    body = b"[[fault=error500,at=moonshot]]"
    assert parse_directives(body, ["novita"]).fault is None
    assert parse_directives(body, ["moonshot"]).fault == Fault(name=FaultName.ERROR500)


def test_the_newest_tag_of_a_conversation_wins() -> None:
    body = b"[[fault=cut,after=2]] and later [[fault=empty]]"
    fault = parse_directives(body).fault
    assert fault is not None
    assert fault.name is FaultName.EMPTY


@pytest.mark.parametrize("body", [b"[[1,2],[3]]", b"a [[wiki=link]]", b"[[]]", b"x[[y]]"])
def test_brackets_that_are_not_ours_are_left_alone(body: bytes) -> None:
    assert parse_directives(body) == Directives()


@pytest.mark.parametrize(
    "body",
    [b"[[fault=nonsense]]", b"[[fault=cut,afetr=3]]", b"[[n=many]]", b"[[fault=cut,how=softly]]"],
)
def test_a_misspelt_tag_is_an_error(body: bytes) -> None:
    with pytest.raises(BadDirectiveError):
        parse_directives(body)


def test_a_fault_is_called_fault_in_json() -> None:
    fault = Fault(name=FaultName.SLOW, delay_s=0.5)
    assert msgspec.json.encode(fault) == b'{"fault":"slow","delay_s":0.5}'
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"fault":"slow","delay":1}', type=Fault)
