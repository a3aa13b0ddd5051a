"""What one team asked of a vLLM server cannot be found out by another, timing its prompt cache."""

from tests.fakes.stage import LINEAR, TEAM, Stage, chat


def salt(stage: Stage, key: str, **fields: str) -> str:
    """What the vLLM server is sent for a caller."""
    answer = stage.ask(chat(model=LINEAR, max_tokens=5, **fields), key=key)
    assert answer.status == 200, answer.body
    assert "x-tidegate-dropped" not in answer.headers
    found: str = stage.vllm.requests[-1].body["cache_salt"]
    return found


def test_each_team_has_a_cache_of_its_own_that_all_its_keys_share(stage: Stage) -> None:
    stage.administer("teams", "create", "neighbours")
    ours, ours_too, theirs = stage.key, stage.new_key(), stage.new_key(team="neighbours")
    assert salt(stage, ours) == salt(stage, ours_too) != salt(stage, theirs)
    assert TEAM not in salt(stage, ours)


def test_a_callers_own_salt_divides_its_teams_cache_and_opens_no_other(stage: Stage) -> None:
    stolen = salt(stage, stage.key)
    mine = salt(stage, stage.key, cache_salt=stolen)
    assert mine != stolen
    assert mine == salt(stage, stage.key, cache_salt=stolen)
    stage.administer("teams", "create", "thieves")
    assert salt(stage, stage.new_key(team="thieves"), cache_salt=stolen) not in {stolen, mine}
