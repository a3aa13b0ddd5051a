"""Journal lines say what they were made of."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from gateway.usage.journal import Journal
from gateway.usage.lines import Card, Close, Line, begin, decode, encode, ids
from tests.unit.gateway.usage.samples import CARD, NOW_MS, OTHER_CARD, opened, outcome, progress

LINES: list[Line] = [opened(), progress(), Close(outcome()), Card(OTHER_CARD, NOW_MS)]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_is_read_as_it_was_written(line: Line) -> None:
    assert decode(encode(line)) == line
    assert b"\n" not in encode(line)


def test_a_close_line_from_before_entries_had_a_cost_basis_is_read() -> None:
    now = encode(Close(outcome()))
    before = now.replace(b',"cost_basis":"provider_reported"', b"")
    assert before != now
    read = decode(before)
    assert isinstance(read, Close)
    (entry,) = read.outcome.attempts
    assert entry == msgspec.structs.replace(outcome().attempts[0], cost_basis=None)


def test_text_with_line_breaks_stays_on_one_line() -> None:
    line = Close(outcome(model_requested="a\nb\x00\u2028"))
    assert b"\n" not in encode(line)
    assert decode(encode(line)) == line


def test_the_ids_of_open_and_close_lines_are_found_without_decoding_them() -> None:
    block = b"\n".join(
        [
            *map(encode, LINES),
            encode(opened("gen-7", request_id='{"type":"open","id":"no"}')),
            encode(Close(outcome("gen-8"))),
        ]
    )
    assert ids(block) == ([b"gen-1", b"gen-7"], [b"gen-1", b"gen-8"])


@pytest.mark.parametrize("junk", [b"", b"{}", b'{"type":"open"', b'{"type":"other"}', b"\0" * 9])
def test_what_is_no_line_is_an_error(junk: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(junk)


async def test_the_cards_of_a_plan_are_journalled_once_before_the_first_open(
    folder: Path,
) -> None:
    journal = Journal(folder, loop=asyncio.get_running_loop())
    first, second = opened("gen-1"), opened("gen-2", created_ms=NOW_MS + 9)
    await begin(journal, first, (CARD,))
    await begin(journal, second, (CARD, OTHER_CARD))
    lines = [decode(line) for line in journal.files[0].path.read_bytes().splitlines()]
    assert lines == [Card(CARD, NOW_MS), first, Card(OTHER_CARD, NOW_MS + 9), second]
    await journal.close()
    journal.release()
