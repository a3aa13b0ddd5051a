"""The files of prices: changed by one at a time, whole or not at all; damaged ones are refused."""

import os
import threading
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.store.prices import ACCEPTED, PriceFolder
from pricing import load_packaged


def test_who_changes_prices_keeps_others_waiting(tmp_path: Path) -> None:
    order: list[str] = []
    asked = threading.Event()

    def second() -> None:
        asked.set()
        with PriceFolder(tmp_path, None).locked():
            order.append("second")

    other = threading.Thread(target=second)
    with PriceFolder(tmp_path, None).locked():
        other.start()
        asked.wait(10)
        other.join(0.2)
        order.append("first")
    other.join(10)

    assert order == ["first", "second"]


def test_a_write_that_fails_leaves_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = PriceFolder(tmp_path, None)
    with folder.locked():
        folder.write(ACCEPTED, b"old")

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ConfigurationError, match="No space left"):
            folder.write(ACCEPTED, b"new")

    assert (folder.path / ACCEPTED).read_bytes() == b"old"
    assert sorted(path.name for path in folder.path.iterdir()) == [ACCEPTED, "lock"]


def test_a_damaged_file_is_refused_with_its_name_and_none_is_no_fault(tmp_path: Path) -> None:
    folder = PriceFolder(tmp_path, None)
    assert folder.catalogue().cards == load_packaged().cards

    folder.path.mkdir()
    (folder.path / ACCEPTED).write_bytes(b"{")

    with pytest.raises(ConfigurationError, match=r"accepted\.json:\d+: is not valid JSON"):
        folder.catalogue()
    missing = PriceFolder(tmp_path, tmp_path / "own.yaml")
    with pytest.raises(ConfigurationError):
        missing.catalogue()
