"""Whether the litellm that is installed may be used."""

import re
import sys
import sysconfig
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

OLDEST = (
    1,
    94,
    3,
)  # the first with the fixes of CVE-2026-69247 to 69249, as a distributor lists them
# Releases of 2026-03-24 that sent credentials away: MAL-2026-2144.
MALICIOUS = frozenset({"1.82.7", "1.82.8"})


def fault_of(version: str | None) -> str | None:
    """Why an installed version of litellm is not used; None: it may be.

    Args:
        version: None: none is installed.
    """
    where = sys.executable
    if version is None:
        return (
            f"litellm is not installed for {where}: pip install 'tidegate[litellm]' there, or name an"
            " interpreter that has it in 'litellm.python'"
        )
    if version in MALICIOUS:
        return (
            f"litellm {version}, installed for {where}, steals credentials (MAL-2026-2144): remove it,"
            " and change every credential that this machine has held since"
        )
    numbers = tuple(int(digits) for digits in re.findall(r"\d+", version)[:3])
    if numbers < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return (
            f"litellm {version}, installed for {where}, has known holes: install {wanted} or newer"
        )
    return None


def installed(paths: Iterable[str]) -> str | None:
    """The version of litellm in these folders; none of its code, nor anybody's `.pth` file, is run."""
    found = [one.version for one in metadata.distributions(name="litellm", path=list(paths))]
    # Two at once are the leavings of an upgrade that failed: the worse one decides.
    return next((version for version in found if fault_of(version)), found[0] if found else None)


def package_folders() -> list[str]:
    """Where this interpreter keeps packages, told without `site`, which runs `.pth` files.

    litellm 1.82.8 did its work in such a file. Without `site`, the prefix of a virtual environment is
    only known by where its interpreter is.
    """
    prefixes = {sys.prefix, str(Path(sys.executable).parent.parent)}
    folders = {
        sysconfig.get_path(name, vars={"base": prefix, "platbase": prefix})
        for prefix in prefixes
        for name in ("purelib", "platlib")
    }
    return sorted(folders)
