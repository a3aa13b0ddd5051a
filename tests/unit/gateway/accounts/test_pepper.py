import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.accounts import pepper
from gateway.errors import ConfigurationError


def test_it_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    made = pepper.ensure(tmp_path)
    assert len(made) == 32
    assert pepper.ensure(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "pepper").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["pepper"]  # no draft is left behind


def test_installations_have_different_peppers(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert pepper.ensure(tmp_path / "a") != pepper.ensure(tmp_path / "b")


def test_several_starting_at_once_get_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them find no file, so that each makes one; the first to finish wins."""
    monkeypatch.setattr(Path, "exists", lambda _: False)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(pepper.ensure, [tmp_path] * 8))
    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pepper"]


def test_a_damaged_pepper_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="5 bytes where 32 are expected"):
        pepper.ensure(tmp_path)
    assert (tmp_path / "pepper").read_bytes() == b"short"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        pepper.ensure(tmp_path / "nowhere")


def test_each_purpose_has_a_secret_of_its_own_that_stays() -> None:
    one, other = bytes(32), bytes(31) + b"1"
    made = {pepper.derived(secret, purpose) for secret in (one, other) for purpose in ("a", "b")}
    assert len(made) == 4
    assert all(len(secret) == 32 for secret in made)
    assert pepper.derived(one, "a") in made
