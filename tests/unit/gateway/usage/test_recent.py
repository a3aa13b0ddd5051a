"""Outcomes between their end and the database."""

from gateway.usage.recent import Recent
from tests.unit.gateway.usage.samples import outcome


def test_an_outcome_is_found_until_it_is_dropped() -> None:
    recent = Recent()
    ended = outcome("gen-1")
    recent.put(ended)
    assert recent.get("gen-1") is ended
    recent.drop(["gen-1", "gen-unknown"])
    assert recent.get("gen-1") is None
    assert len(recent) == 0


def test_what_was_never_put_is_not_found() -> None:
    assert Recent().get("gen-1") is None


def test_beyond_its_limit_the_oldest_is_forgotten() -> None:
    recent = Recent(limit=2)
    for name in ("gen-1", "gen-2", "gen-3"):
        recent.put(outcome(name))
    assert len(recent) == 2
    assert recent.get("gen-1") is None
    assert recent.get("gen-3") is not None
    assert recent.forgotten == 1


def test_the_oldest_come_first() -> None:
    recent = Recent()
    ended = [outcome(f"gen-{n}") for n in range(3)]
    for one in ended:
        recent.put(one)
    assert recent.oldest(2) == ended[:2]
    assert recent.oldest(5) == ended
