"""What all tests share, and what the run as a whole tells."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.groups import GROUPS
from tests.servers.fixtures import (  # noqa: F401 - fixtures are found by being here
    blank_url,
    database_url,
    postgres_server,
    postgres_url,
    redis_server,
    shared_redis_server,
)

pytest.register_assert_rewrite("tests.faultwall.cells")

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--form",
        choices=("one", "many"),
        default="one",
        help="how the gateways of tests/e2e run: one process on a SQLite file, or three over PostgreSQL"
        " and Redis",
    )


@pytest.hookimpl(trylast=True)  # once all have their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for group, folders in GROUPS.items():
            if item.get_closest_marker(group) and not any(
                item.path.is_relative_to(HERE / folder) for folder in folders
            ):
                raise pytest.UsageError(
                    f"{item.nodeid} is marked {group!r}, and `make test` would not find it there: move it"
                    f" to one of {', '.join(folders)}, or name its folder in tests/groups.py and Makefile"
                )


@pytest.fixture(scope="session")
def few_authorities(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """A file with one of the system's certificates: nothing here speaks TLS, and to load all takes long."""
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not known:
        return None
    file = tmp_path_factory.mktemp("tls") / "one.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(known[0]))
    return str(file)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the fault wall, if it was tried.

    Here, and not beside it: the controller of xdist runs no tests, and would not find it there.
    """
    cells = [
        value
        for outcome in ("passed", "failed", "xfailed")
        for report in terminalreporter.stats.get(outcome, ())
        for name, value in getattr(report, "user_properties", ())
        if name == "fault wall" and report.when == "call"
    ]
    if not cells:
        return
    from tests.faultwall.matrix import picture  # noqa: PLC0415 - other runs need nothing of it

    terminalreporter.section("fault wall")
    for line in picture(cells):
        terminalreporter.write_line(line)
