"""Which versions of litellm are run."""

from pathlib import Path

import pytest

from backends.litellm.worker.vetting import fault_of, installed


@pytest.mark.parametrize("version", ["1.94.3", "1.94.10", "1.106.2", "2.0.0", "1.95.0rc1"])
def test_a_version_without_known_faults_is_taken(version: str) -> None:
    assert fault_of(version) is None


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8", "1.94.2", "1.9.9", "0.1", "", None])
def test_any_other_is_refused_in_one_line(version: str | None) -> None:
    fault = fault_of(version)
    assert fault is not None
    assert "\n" not in fault
    assert ("steals" in fault) == (version in {"1.82.7", "1.82.8"})


def test_of_two_at_once_the_worse_one_decides(tmp_path: Path) -> None:
    for version in ("1.106.2", "1.82.8"):
        info = tmp_path / f"litellm-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: litellm\nVersion: {version}\n"
        )
    assert installed([str(tmp_path)]) == "1.82.8"
    assert installed([str(tmp_path / "none")]) is None
