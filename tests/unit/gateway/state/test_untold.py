"""The mark of what the shared store was not told is a file, which outlives its process."""

import logging
from pathlib import Path

import pytest

from gateway.store.state.untold import UntoldFile


def test_it_is_a_file_for_as_long_as_it_is_set(tmp_path: Path) -> None:
    untold = UntoldFile(tmp_path, "ab12")
    seen = [(untold.marked, list(tmp_path.iterdir()))]
    assert untold.mark()
    assert untold.mark()
    seen.append((untold.marked, list(tmp_path.iterdir())))
    untold.clear()
    untold.clear()
    seen.append((untold.marked, list(tmp_path.iterdir())))
    assert seen == [(False, []), (True, [tmp_path / "ab12.leased"]), (False, [])]


def test_that_it_cannot_be_set_is_said_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    untold = UntoldFile(tmp_path / "gone", "ab12")
    with caplog.at_level(logging.ERROR):
        assert not untold.mark()
    assert not untold.marked
    assert "ab12.leased: No such file or directory; nothing is spent of leases" in caplog.text
