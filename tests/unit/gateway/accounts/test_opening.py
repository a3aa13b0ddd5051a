"""Where an installation is, by its settings or by its folder, and nothing of it shown."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.accounts import pepper
from gateway.accounts.opening import Installation, opened
from gateway.errors import ConfigurationError
from gateway.settings import Whereabouts, check, load_whereabouts

URL = "postgresql://tidegate:sesame@db.example:5432/tidegate"
DIGITS = "0123456789abcdef" * 4


def _file(folder: Path, **tree: Any) -> Path:
    path = folder / "tidegate.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def _whereabouts(folder: Path, **tree: Any) -> Whereabouts:
    return load_whereabouts(_file(folder, **tree), {"DB_PASSWORD": "sesame", "DIGITS": DIGITS})


def test_without_a_database_url_it_is_a_file_in_the_data_folder(tmp_path: Path) -> None:
    found = Installation.of(_whereabouts(tmp_path, data=str(tmp_path / "d")))
    assert found == Installation.in_folder(tmp_path / "d")
    assert found.url == f"sqlite+aiosqlite:///{tmp_path}/d/tidegate.db"
    assert not found.shared


def test_by_a_database_url_the_data_folder_is_only_of_this_machine(tmp_path: Path) -> None:
    database = {"url": URL.replace("sesame", "${DB_PASSWORD}"), "pool_size": 7}
    found = Installation.of(_whereabouts(tmp_path, data=str(tmp_path), database=database))
    assert (found.url, found.data, found.pool_size, found.shared) == (URL, tmp_path, 7, True)


def test_all_settings_and_those_of_its_place_say_the_same(tmp_path: Path) -> None:
    tree = {"data": str(tmp_path), "database": {"url": URL}, "auth": {"pepper": DIGITS}}
    provider = {"kind": "moonshot", "api_key": "sk-of-nobody"}
    whole = Installation.of(check({**tree, "providers": [provider]}))
    assert whole == Installation.of(_whereabouts(tmp_path, **tree))
    assert whole.pepper() == bytes.fromhex(DIGITS)


def test_neither_the_password_nor_the_pepper_is_shown(tmp_path: Path) -> None:
    tree = {"database": {"url": URL}, "auth": {"pepper": DIGITS}}
    found = _whereabouts(tmp_path, **tree)
    for shown in (repr(Installation.of(found)), repr(found), str(found)):
        assert "sesame" not in shown
        assert DIGITS not in shown


@pytest.mark.parametrize("url", ["mysql://tidegate:sesame@db/x", "no URL, sesame"])
def test_another_kind_of_database_is_refused_and_its_url_not_shown(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"database\.url: .*postgresql://") as refused:
        Installation.of(_whereabouts(tmp_path, database={"url": url}))
    assert "sesame" not in str(refused.value)


def test_the_pepper_of_the_settings_counts_over_that_of_the_folder(tmp_path: Path) -> None:
    of_folder = Installation.in_folder(tmp_path).pepper()
    assert (tmp_path / "pepper").read_bytes() == of_folder
    auth = {"pepper": "${DIGITS}"}
    chosen = Installation.of(_whereabouts(tmp_path, data=str(tmp_path), auth=auth))
    assert chosen.pepper() == bytes.fromhex(DIGITS) != of_folder


def test_no_pepper_file_is_made_where_the_settings_have_one(tmp_path: Path) -> None:
    tree = {"data": str(tmp_path / "d"), "auth": {"pepper": DIGITS}}
    assert Installation.of(_whereabouts(tmp_path, **tree)).pepper() == bytes.fromhex(DIGITS)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("text", [DIGITS, DIGITS.upper(), f" {DIGITS}\n"])
def test_a_pepper_in_digits_may_be_worded_in_several_ways(text: str) -> None:
    assert pepper.read(text) == bytes.fromhex(DIGITS)


@pytest.mark.parametrize("text", ["", DIGITS[:-2], DIGITS + "00", DIGITS[:-1] + "g", "\u0660" * 64])
def test_what_is_no_pepper_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"64 hexadecimal digits.*openssl") as refused:
        pepper.read(text)
    assert not text or text not in str(refused.value)


def test_faults_elsewhere_in_the_settings_are_not_in_the_way_of_administration(
    tmp_path: Path,
) -> None:
    found = _whereabouts(
        tmp_path, data="here", providers=[{"kind": "moonshot", "api_key": "${NOT_SET}"}], colour=1
    )
    assert found.data == Path("here")


def test_faults_of_its_place_are_told_all_at_once(tmp_path: Path) -> None:
    tree = {"database": {"url": "${NOT_SET}"}, "auth": {"pepper": "${NOR_THIS}"}}
    with pytest.raises(ConfigurationError) as refused:
        _whereabouts(tmp_path, **tree)
    told = {fault.partition(":")[0] for fault in refused.value.faults}
    assert told == {"database.url", "auth.pepper"}
    with pytest.raises(ConfigurationError, match=r"database\.pool_size"):
        _whereabouts(tmp_path, database={"pool_size": -1})


def test_variables_count_over_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, data="by-file")
    variables = {"TIDEGATE_DATA": "by-variable", "TIDEGATE_DATABASE__URL": URL}
    assert load_whereabouts(path, {}).data == Path("by-file")
    found = Installation.of(load_whereabouts(path, variables))
    assert (found.data, found.url) == (Path("by-variable"), URL)


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_whereabouts(None, {}).data == Path("tidegate-data")
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        load_whereabouts(tmp_path / "none.yaml", {})


async def test_a_mistyped_folder_is_no_new_installation(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tidegate migrate"):
        async with opened(tmp_path / "mistyped"):
            pass
    assert not (tmp_path / "mistyped").exists()
