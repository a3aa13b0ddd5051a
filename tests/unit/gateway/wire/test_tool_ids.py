"""Ids of tool calls, out to a caller and back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.tool_ids import incoming, outgoing

GENERATION = "gen-01ng671r3hxav5f190b3"
ANTHROPICS = re.compile(r"[a-zA-Z0-9_-]+")
NATIVE = st.text(st.characters(exclude_categories=["Cs"]))


def test_kimis_id_goes_out_in_anthropics_form_and_comes_back() -> None:
    theirs = outgoing("functions.get_weather:0", GENERATION)
    assert theirs == "toolu_tg_01ng671r3hxa_ZnVuY3Rpb25zLmdldF93ZWF0aGVyOjA"
    assert incoming(theirs) == "functions.get_weather:0"


@given(NATIVE)
def test_any_native_id_comes_back(native: str) -> None:
    theirs = outgoing(native, GENERATION)
    assert ANTHROPICS.fullmatch(theirs)
    assert incoming(theirs) == native


@given(NATIVE)
def test_an_id_that_went_out_can_itself_be_a_native_one(native: str) -> None:
    once = outgoing(native, GENERATION)
    assert incoming(outgoing(once, GENERATION)) == once


def test_the_same_call_in_two_answers_has_two_ids() -> None:
    first, second = (outgoing("functions.f:0", f"gen-0000000{n}0000boot") for n in "12")
    assert first != second
    assert incoming(first) == incoming(second) == "functions.f:0"


@pytest.mark.parametrize(
    "foreign",
    [
        "toolu_01A09q90qw90lq917835lq9",
        "call_abc",
        "functions.f:0",
        "",
        "toolu_tg_",
        "toolu_tg_short_QQ",
        "toolu_tg_01ng671r3hxa_!!",
        "toolu_tg_01ng671r3hxa_A",
        "toolu_tg_01ng671r3hxa__w",  # base64 of what is no UTF-8
    ],
)
def test_ids_made_elsewhere_are_left_as_they_are(foreign: str) -> None:
    assert incoming(foreign) == foreign


@given(st.text())
def test_no_id_is_too_odd(foreign: str) -> None:
    assert isinstance(incoming(foreign), str)
    assert isinstance(incoming("toolu_tg_01ng671r3hxa_" + foreign), str)
