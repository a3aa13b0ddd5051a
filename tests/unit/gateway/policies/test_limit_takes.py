"""What a request takes of its caller's limits."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.policies.limits import NOTHING, takes
from gateway.values import LimitRule, Principal, RateTake, SlotTake
from gateway.wire import anthropic_messages, openai_chat
from gateway.wire.request import ChatRequest
from tests.builders import MODEL, anthropic, chat, principal


def request(**fields: Any) -> ChatRequest:
    return openai_chat.parse(chat(**fields), usage_always=False)


def limited(*rules: LimitRule, **changes: Any) -> Principal:
    return replace(principal(), limits=rules, **changes)


def rule(each: str = "", what: str = "requests") -> LimitRule:
    period = 0 if what == "concurrency" else 60
    return LimitRule(f"lim:team_1:{what}", "team", what, 10, period, each)


def bucket(each: str, caller: Principal | None = None, **fields: Any) -> str:
    caller = caller or limited(rule(each))
    (rates, _) = takes(caller, request(**fields), MODEL, 100)
    return rates[0].bucket


def test_who_has_no_limits_takes_nothing() -> None:
    assert takes(principal(), request(user="u"), MODEL, 100) is NOTHING


def test_one_request_its_tokens_and_a_place() -> None:
    caller = limited(rule(), rule(what="tokens"), rule(what="concurrency"))
    assert takes(caller, request(), MODEL, 123) == (
        (
            RateTake("lim:team_1:requests", 10, 60, 1, "requests", "team"),
            RateTake("lim:team_1:tokens", 10, 60, 123, "tokens", "team"),
        ),
        (SlotTake("lim:team_1:concurrency", 10, "team"),),
    )


def test_each_has_a_counter_of_its_own() -> None:
    assert bucket("key") == "lim:team_1:requests:key-1"
    assert bucket("model") == f"lim:team_1:requests:{MODEL}"
    assert bucket("member") == "lim:team_1:requests:nobody"
    assert bucket("member", limited(rule("member"), member_id="mem_1")).endswith(":mem_1")


def test_an_end_user_is_a_hash_and_never_a_name() -> None:
    name = "ada@example.com"
    found = bucket("end_user", user=name)
    assert name not in found
    assert len(found) == len("lim:team_1:requests:") + 32
    assert found == bucket("end_user", user=name) == bucket("end_user", safety_identifier=name)
    assert found != bucket("end_user", user="ada@example.org")
    # Of any length: what a caller sends must not make counters' names long.
    assert len(bucket("end_user", user="x" * 100_000)) == len(found)


@pytest.mark.parametrize("fields", [{}, {"user": None}, {"user": ""}])
def test_without_an_end_user_it_is_nobodys(fields: dict[str, Any]) -> None:
    assert bucket("end_user", **fields) == "lim:team_1:requests:nobody"
    assert bucket("end_user", user="nobody") != "lim:team_1:requests:nobody"


def test_escapes_do_not_make_another_end_user() -> None:
    plain = chat(user="ada")
    escaped = plain.replace(b'"ada"', b'"\\u0061da"')
    assert json.loads(escaped) == json.loads(plain)
    found = [
        takes(limited(rule("end_user")), openai_chat.parse(body, usage_always=False), MODEL, 1)
        for body in (plain, escaped)
    ]
    assert found[0] == found[1]


def test_the_end_user_of_anthropics_dialect_is_the_same() -> None:
    asked = anthropic_messages.parse(anthropic(metadata={"user_id": "ada"}))
    (rates, _) = takes(limited(rule("end_user")), asked, MODEL, 1)
    assert rates[0].bucket == bucket("end_user", user="ada")
    assert bytes(asked.fields["user"]) == b'"ada"'  # and goes on upstream
