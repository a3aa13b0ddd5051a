"""Generation ids."""

import re

from gateway.ids import IdSource
from tests.fakes.clock import HandClock


def test_an_id_has_its_form() -> None:
    assert re.fullmatch(r"gen-[0-9a-hjkmnp-tv-z]{20}", IdSource(HandClock()).generation())


def test_ids_of_one_moment_differ() -> None:
    ids = IdSource(HandClock())
    assert len({ids.generation() for _ in range(100_000)}) == 100_000


def test_processes_that_start_together_make_different_ids() -> None:
    clock = HandClock()
    assert IdSource(clock).boot != IdSource(clock).boot


def test_ids_sort_by_time() -> None:
    clock = HandClock()
    made = []
    for _ in range(100):
        made.append(IdSource(clock).generation())
        clock.advance(1.0)
    clock.advance(40 * 365 * 86_400.0)
    made.append(IdSource(clock).generation())
    assert made == sorted(made)


def test_all_ids_of_a_process_carry_its_part() -> None:
    ids = IdSource(HandClock())
    assert ids.generation()[-8:] == ids.generation()[-8:] == ids.boot
