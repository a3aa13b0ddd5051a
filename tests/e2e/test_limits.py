"""Limits, allow-lists, default models and presets over real sockets, with the vendors' own clients."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from typing_extensions import override

from gateway.auth.keys import PREFIX
from tests.fakes.stage import K26, LINEAR, Stage, chat

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello!"}]
_shown = len(PREFIX) + 4


class LimitsStage(Stage):
    """A stage on which teams, members and keys have settings.

    They are written where administration puts them, before any request of the key.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._teams = 0

    @override
    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "auth": {"max_age": 0.2}}

    def team_key(self, **settings: Any) -> tuple[str, str]:
        """A team with these settings; gives its name and a key of it."""
        self._teams += 1
        team = f"limited-{self._teams}"
        self.administer("teams", "create", team)
        self._write(
            "UPDATE teams SET settings = :settings WHERE name = :team",
            settings=json.dumps(settings),
            team=team,
        )
        return team, self.new_key(team=team)

    def set_key(self, key: str, **settings: Any) -> None:
        """Give a key settings of its own."""
        self._write(
            "UPDATE api_keys SET settings = :settings WHERE prefix = :prefix AND last4 = :last4",
            settings=json.dumps(settings),
            prefix=key[:_shown],
            last4=key[-4:],
        )

    def set_member(self, key: str, member: str) -> None:
        """Say whose key it is."""
        self._write(
            "UPDATE api_keys SET member_id = :member WHERE prefix = :prefix AND last4 = :last4",
            member=member,
            prefix=key[:_shown],
            last4=key[-4:],
        )

    def new_member(self, name: str, **settings: Any) -> str:
        """A member of the organisation; gives its id."""
        identity = f"mem_{name}"
        self._write(
            "INSERT INTO members (id, organisation_id, kind, name, role, created_ms, settings)"
            " SELECT :identity, id, 'person', :name, 'member', 0, :settings FROM organisations LIMIT 1",
            identity=identity,
            name=name,
            settings=json.dumps(settings),
        )
        return identity

    def _write(self, statement: str, **values: str) -> None:
        assert self.gateway.write(statement, **values) == 1

    def anthropic(self, key: str) -> anthropic.Anthropic:
        """Anthropic's own client."""
        client = anthropic.Anthropic(
            base_url=self.base_url.removesuffix("/v1"), api_key=key, max_retries=0
        )
        self._up.callback(client.close)
        return client


@pytest.fixture(scope="module")
def the_limits_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitsStage]:
    with LimitsStage(tmp_path_factory.mktemp("limits")) as stage:
        yield stage


@pytest.fixture
def stage(the_limits_stage: LimitsStage) -> Iterator[LimitsStage]:
    seen = len(the_limits_stage.gateway.log)
    yield the_limits_stage
    new = the_limits_stage.gateway.log[seen:]
    assert not [line for line in new if "Traceback" in line or " ERROR " in line], "\n".join(new)


def limit(what: str, amount: int, **more: str) -> dict[str, Any]:
    per = {} if what == "concurrency" else {"per": "minute"}
    return {"what": what, "amount": amount, **per, **more}


def refused(call: Callable[[], Any]) -> openai.RateLimitError:
    with pytest.raises(openai.RateLimitError) as caught:
        call()
    return caught.value


def test_requests_per_minute_end_in_openais_rate_limit_error(stage: LimitsStage) -> None:
    team, key = stage.team_key(limits=[limit("requests", 2)])
    other = stage.new_key(team=team)
    client = stage.client(api_key=key)
    remaining = []
    for asked in (client, stage.client(api_key=other)):  # one count for the whole team
        raw = asked.chat.completions.with_raw_response.create(model=K26, messages=HELLO)
        assert raw.headers["x-ratelimit-limit-requests"] == "2"
        remaining.append(raw.headers["x-ratelimit-remaining-requests"])
        assert re.fullmatch(r"(\d+m)?[\d.]+s|\d+ms", raw.headers["x-ratelimit-reset-requests"])
    assert remaining == ["1", "0"]
    error = refused(lambda: client.chat.completions.create(model=K26, messages=HELLO))
    assert error.code == "rate_limit_exceeded"
    assert "limit of this team is 2 requests per minute" in error.message
    wait = int(error.response.headers["retry-after"])
    assert 25 <= wait <= 30
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"
    counted = 'tidegate_rate_limited_total{scope="team",what="requests"}'
    assert stage.metrics()[counted] == 1


def test_what_a_small_answer_did_not_use_is_given_back(stage: LimitsStage) -> None:
    _, key = stage.team_key(limits=[limit("tokens", 1000)])
    remaining = []
    for _ in range(3):
        answer = stage.ask(chat(max_tokens=600), key=key)
        assert answer.status == 200
        remaining.append(int(answer.headers["x-ratelimit-remaining-tokens"]))
        assert answer.document["usage"]["total_tokens"] < 60
    # By the estimates alone the second would have been refused.
    assert all(300 < left < 400 for left in remaining)
    too_large = stage.ask(chat(max_tokens=2000), key=key)
    assert (too_large.status, too_large.headers["x-should-retry"]) == (429, "false")
    assert "retry-after" not in too_large.headers


def test_a_held_stream_takes_a_place(stage: LimitsStage) -> None:
    _, key = stage.team_key(limits=[limit("concurrency", 1)])
    client, cancelled = stage.client(api_key=key), stage.novita.cancelled.count
    slow: list[ChatCompletionMessageParam] = [{"role": "user", "content": "[[pace=20,n=500]]"}]
    with client.chat.completions.create(model=K26, messages=slow, stream=True) as held:
        next(iter(held))
        error = refused(lambda: client.chat.completions.create(model=K26, messages=HELLO))
        assert error.code == "concurrency_limit_exceeded"
        assert error.response.headers["retry-after"] == "1"
    stage.loop.run(stage.novita.cancelled.wait(cancelled + 1))
    until = time.monotonic() + 5
    while stage.ask(chat(), key=key).status != 200:
        assert time.monotonic() < until, "the place was never given back"


def test_end_users_have_a_count_each_in_both_dialects(stage: LimitsStage) -> None:
    _, key = stage.team_key(limits=[limit("requests", 1, each="end_user")])
    client, theirs = stage.client(api_key=key), stage.anthropic(key)
    for user in ("ada", "bob"):
        client.chat.completions.create(model=K26, messages=HELLO, user=user)
    error = refused(lambda: client.chat.completions.create(model=K26, messages=HELLO, user="ada"))
    assert "for each end user" in error.message
    with pytest.raises(anthropic.RateLimitError) as caught:
        theirs.messages.create(
            model=K26,
            max_tokens=20,
            messages=[{"role": "user", "content": "Hello!"}],
            metadata={"user_id": "bob"},
        )
    headers = caught.value.response.headers
    assert headers["anthropic-ratelimit-requests-limit"] == "1"
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", headers["anthropic-ratelimit-requests-reset"]
    )
    assert 0 < int(headers["retry-after"]) <= 60


def test_models_have_a_count_each(stage: LimitsStage) -> None:
    _, key = stage.team_key(limits=[limit("requests", 1, each="model")])
    for model in (K26, LINEAR):
        assert stage.ask(chat(model=model), key=key).status == 200
    for model in (K26, LINEAR):
        assert stage.ask(chat(model=model), key=key).status == 429


def test_members_have_a_count_each_and_limits_of_their_own(stage: LimitsStage) -> None:
    team, ada = stage.team_key(limits=[limit("requests", 2, each="member")])
    also_ada, bob = stage.new_key(team=team), stage.new_key(team=team)
    member = stage.new_member("ada")
    for key in (ada, also_ada):
        stage.set_member(key, member)
    stage.set_member(bob, stage.new_member("bob", limits=[limit("requests", 1)]))
    assert [stage.ask(chat(), key=key).status for key in (ada, also_ada)] == [200, 200]
    error = stage.ask(chat(), key=ada)
    assert (error.status, error.document["error"]["metadata"]["each"]) == (429, "member")
    assert stage.ask(chat(), key=bob).status == 200
    error = stage.ask(chat(), key=bob)
    assert error.document["error"]["metadata"]["scope"] == "member"


def test_only_allowed_models_are_listed_and_served(stage: LimitsStage) -> None:
    _, key = stage.team_key(models=["kimi-k2.6", LINEAR])
    stage.set_key(key, ignored_models=[LINEAR])
    client = stage.client(api_key=key)
    assert [model.id for model in client.models.list()] == [K26]
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model=LINEAR, messages=HELLO)
    assert caught.value.code == "model_not_allowed"
    assert "settings of its key" in caught.value.message
    assert client.chat.completions.create(model=K26, messages=HELLO).model == K26


def test_a_request_without_a_model_goes_to_the_default_one(stage: LimitsStage) -> None:
    _, key = stage.team_key(default_model=LINEAR)
    body = {"messages": HELLO}
    answer = stage.ask(body, key=key)
    assert (answer.status, answer.document["model"]) == (200, LINEAR)
    without = stage.ask(body)
    assert (without.status, without.document["error"]["param"]) == (400, "model")


def test_a_preset_serves_both_vendors_clients(stage: LimitsStage) -> None:
    preset = {"model": LINEAR, "system": "Be brief.", "parameters": {"max_tokens": 3}}
    _, key = stage.team_key(presets={"brief": preset})
    client = stage.client(api_key=key)
    answer = client.chat.completions.create(model="@preset/brief", messages=HELLO)
    assert answer.model == LINEAR
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert answer.choices[0].finish_reason == "length"
    named = client.chat.completions.create(
        model=K26, messages=HELLO, extra_body={"preset": "brief"}
    )
    assert named.model == K26
    message = stage.anthropic(key).messages.create(
        model="@preset/brief", max_tokens=4, messages=[{"role": "user", "content": "Hello!"}]
    )
    assert (message.model, message.usage.output_tokens) == (LINEAR, 4)
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="@preset/long", messages=HELLO)
    assert caught.value.code == "preset_not_found"
