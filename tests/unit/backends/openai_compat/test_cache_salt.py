"""Who shares a vLLM server's prefix cache with whom is decided by salts that nobody can guess."""

import json
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from backends import Call, Endpoint
from backends.kinds.novita import QUIRKS as NOVITA
from backends.kinds.vllm import QUIRKS as VLLM
from backends.openai_compat import CacheSalts
from backends.openai_compat.request import body, form

KEY = bytes(range(32))


def sent(
    own: Any = None,
    *,
    team: str = "team_a",
    organisation: str = "org_1",
    isolation: str = "team",
    salts: CacheSalts | None = None,
    extra: frozenset[str] = frozenset(),
) -> tuple[Any, tuple[str, ...]]:
    """The salt that reaches vLLM, None if none does, and what was dropped; `own` is the caller's."""
    fields = {"messages": Raw(b"[]")}
    if own is not None:
        fields["cache_salt"] = Raw(msgspec.json.encode(own))
    call = Call(
        fields=fields,
        stream=True,
        output_cap=1,
        request_id="g",
        tenant=team,
        organisation=organisation,
    )
    endpoint = Endpoint(
        id="e",
        provider="p",
        kind="vllm",
        base_url="u",
        model="m",
        cache_isolation=isolation,
        extra_fields=extra,
    )
    slices, dropped = body(call, form(endpoint, VLLM, salts or CacheSalts(KEY)), stream=True)
    members = json.loads(b"".join(slices), object_pairs_hook=list)
    found = [value for name, value in members if name == "cache_salt"]
    assert len(found) <= 1, "a member is there twice"
    return (found[0] if found else None), dropped


def test_a_team_has_one_salt_and_no_other_team_has_it() -> None:
    salts = CacheSalts(KEY)
    first, second, other = (sent(team=team, salts=salts)[0] for team in ("a", "a", "b"))
    assert first == second != other


def test_a_salt_stays_after_a_restart_and_needs_the_key() -> None:
    assert sent(salts=CacheSalts(KEY)) == sent(salts=CacheSalts(KEY))
    assert sent(salts=CacheSalts(KEY)) != sent(salts=CacheSalts(bytes(32)))


def test_a_salt_is_of_a_form_that_vllm_and_what_stands_behind_it_take() -> None:
    for own in (None, "x", "é" * 5000):
        salt, dropped = sent(own)
        assert len(salt) == 43
        assert salt.isascii()
        assert not set(salt) & set("@/\\\0=+")
        assert dropped == ()


def test_a_salt_tells_nothing_of_the_team() -> None:
    assert "team_a" not in sent("team_a")[0]


def test_an_organisation_may_share_and_others_may_not() -> None:
    def salt(team: str, organisation: str) -> Any:
        return sent(team=team, organisation=organisation, isolation="organisation")[0]

    assert salt("a", "o") == salt("b", "o") != salt("a", "p")
    assert salt("a", "o") != sent(team="o")[0], "a team is no organisation of the same name"


def test_without_isolation_all_share_and_no_salt_is_sent() -> None:
    assert sent(isolation="none") == (None, ())


@pytest.mark.parametrize("isolation", ["team", "organisation", "none"])
def test_a_caller_may_divide_further_and_find_its_own_again(isolation: str) -> None:
    plain, one, again, other = (
        sent(own, isolation=isolation)[0] for own in (None, "one", "one", "other")
    )
    assert one == again
    assert len({plain, one, other}) == 3


OWN = st.none() | st.text() | st.integers() | st.lists(st.text(max_size=2), max_size=2)
TEAMS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@given(st.lists(st.tuples(TEAMS, OWN), min_size=2, max_size=4, unique_by=lambda pair: pair[0]))
def test_no_value_of_a_callers_own_reaches_another_teams_cache(
    callers: list[tuple[str, Any]],
) -> None:
    salts = CacheSalts(KEY)
    found = [sent(own, team=team, salts=salts)[0] for team, own in callers]
    assert all(one != other for one, other in combinations(found, 2))


def test_a_team_cannot_send_the_salt_that_it_learned_of_another() -> None:
    stolen = sent(team="victim")[0]
    assert sent(stolen, team="thief")[0] != stolen
    assert sent(stolen, isolation="none")[0] != stolen


def test_a_null_is_no_value() -> None:
    call = Call(fields={"cache_salt": Raw(b"null")}, stream=True, output_cap=1, request_id="g")
    member = CacheSalts(KEY).member_of("team")
    assert member(call) == member(msgspec.structs.replace(call, fields={}))
    assert CacheSalts(KEY).member_of("none")(call) == b""


@pytest.mark.parametrize("isolation", ["team", "organisation", "none"])
def test_the_endpoints_own_list_of_fields_opens_no_way_around(isolation: str) -> None:
    salt, dropped = sent("own", isolation=isolation, extra=frozenset({"cache_salt"}))
    assert salt == sent("own", isolation=isolation)[0] != "own"
    assert dropped == ()


def test_other_kinds_are_sent_no_salt_and_the_caller_is_told() -> None:
    call = Call(
        fields={"cache_salt": Raw(b'"x"')}, stream=True, output_cap=1, request_id="g", tenant="a"
    )
    endpoint = Endpoint(id="e", provider="p", kind="novita", base_url="u", model="m")
    slices, dropped = body(call, form(endpoint, NOVITA, CacheSalts(KEY)), stream=True)
    assert b"cache_salt" not in b"".join(slices)
    assert dropped == ("cache_salt",)


def test_a_salt_is_made_once_for_each_team() -> None:
    salts = CacheSalts(KEY)
    member = salts.member_of("team")
    call = Call(fields={}, stream=True, output_cap=1, request_id="g", tenant="a")
    assert member(call) is member(call)


def test_no_number_of_teams_fills_the_memory() -> None:
    salts = CacheSalts(KEY)
    member = salts.member_of("team")
    for number in range(10_000):
        member(Call(fields={}, stream=True, output_cap=1, request_id="g", tenant=f"team_{number}"))
    assert len(salts._known) <= 4096
    again = Call(fields={}, stream=True, output_cap=1, request_id="g", tenant="team_0")
    assert member(again) == CacheSalts(KEY).member_of("team")(again)
