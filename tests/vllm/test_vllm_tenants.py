"""One vLLM, several teams: nobody can tell by the prefix cache what another team asked."""

import uuid
from typing import Any

import pytest

from tests.fakes.stage import TEAM
from tests.vllm.stage_with_vllm import VllmStage


@pytest.fixture(scope="module")
def rival(the_stage: VllmStage) -> str:
    """A key of another team."""
    the_stage.administer("teams", "create", "rivals")
    return the_stage.new_key(team="rivals")


def prompt() -> str:
    """Several blocks of the cache, as nobody asked before."""
    return f"{uuid.uuid4()} " + "The secret plan of our team. " * 20


def cached(stage: VllmStage, text: str, key: str, model: str = "tests/prefix", **more: Any) -> int:
    """Tokens that vLLM took from its cache, as it states."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 1,
        **more,
    }
    answer = stage.ask(body, key=key)
    assert answer.status == 200, answer.body
    return int(answer.document["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_a_team_has_its_own_cache_whoever_of_it_asks(stage: VllmStage) -> None:
    text = prompt()
    colleague = stage.new_key(team=TEAM)
    assert cached(stage, text, stage.key) == 0
    assert cached(stage, text, stage.key) > 0
    assert cached(stage, text, colleague) > 0


def test_another_team_never_sees_what_it_cached(stage: VllmStage, rival: str) -> None:
    text = prompt()
    assert cached(stage, text, stage.key) == 0
    assert cached(stage, text, rival) == 0
    assert cached(stage, text, stage.key) == cached(stage, text, rival) > 0, "each its own"
    for guess in ("", "default", TEAM):
        own = {"cache_salt": guess} if guess else {}
        fresh = prompt()
        assert cached(stage, fresh, stage.key) == 0
        assert cached(stage, fresh, rival, **own) == 0


def test_a_callers_own_salt_only_divides_its_teams_cache(stage: VllmStage, rival: str) -> None:
    text = prompt()
    assert cached(stage, text, stage.key, cache_salt="patient-1") == 0
    assert cached(stage, text, stage.key) == 0
    assert cached(stage, text, stage.key, cache_salt="patient-2") == 0
    assert cached(stage, text, rival, cache_salt="patient-1") == 0
    assert cached(stage, text, stage.key, cache_salt="patient-1") > 0


def test_where_the_settings_say_so_all_teams_share_a_cache(stage: VllmStage, rival: str) -> None:
    """Which shows that the cache would be shared."""
    text = prompt()
    assert cached(stage, text, stage.key, "tests/shared") == 0
    assert cached(stage, text, rival, "tests/shared") > 0
