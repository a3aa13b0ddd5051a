"""The document of the administrative API says what the API does: tried with all that it lets in."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from tests.contract.admin.operations import DOCUMENT, OPERATIONS
from tests.fakes.administration import Administration, populated

HERE = Path(__file__).parent
# Settings and budgets are the same code for each level: time goes to those of teams.
_SAME = r"_(organisation|member|key)_(budget|settings|effective_settings)$"
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@asynccontextmanager
async def listening(api: Administration) -> AsyncIterator[str]:
    """The application on a free port of this machine."""
    config = uvicorn.Config(
        api.app, port=0, lifespan="off", log_config=None, access_log=False, ws="none"
    )
    server = uvicorn.Server(config)
    with config.bind_socket() as listener:
        port = listener.getsockname()[1]
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            await serving


@pytest.mark.timeout(300)
async def test_no_request_finds_a_difference(tmp_path: Path) -> None:
    async with populated(tmp_path) as on, listening(on.api) as url:
        process = await asyncio.create_subprocess_exec(
            *(SCHEMATHESIS, "--config-file", HERE / "schemathesis.toml", "run"),
            f"{url}/admin/v1/openapi.json",
            *("-H", f"Authorization: Bearer {on.root}"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "4"),
            *("--continue-on-failure", "--no-color", "--warnings", "off"),
            *("--exclude-operation-id-regex", _SAME),
            env={
                **os.environ,  # noqa: TID251 - handed on
                "SCHEMATHESIS_HOOKS": "openapi_formats",
                "PYTHONPATH": str(HERE),
            },
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()


def test_every_operation_is_documented_in_full() -> None:
    for operation in OPERATIONS:
        about = operation.about
        assert about["summary"]
        assert about["tags"]
        assert about["security"] == [{"management_key": []}], operation.id
        assert {"401", "500", "503"} <= about["responses"].keys()
        assert "422" not in about["responses"]
        success = [status for status in about["responses"] if status.startswith("2")]
        assert len(success) == 1
        for status, response in about["responses"].items():
            assert status == "204" or "schema" in response["content"]["application/json"]
        if operation.takes_revision:
            assert {"412", "428"} <= about["responses"].keys()
        if operation.takes_body:
            assert {"400", "413", "415"} <= about["responses"].keys()


def test_ids_of_operations_are_words_that_occur_once() -> None:
    ids = [operation.id for operation in OPERATIONS]
    assert len(ids) == len(set(ids))
    assert all(name.replace("_", "").isalpha() for name in ids)


def test_tags_are_described() -> None:
    described = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for operation in OPERATIONS for tag in operation.about["tags"]} == described


def test_whoever_changes_something_must_say_of_which_revision() -> None:
    for operation in OPERATIONS:
        assert operation.takes_revision == (operation.method in {"PATCH", "PUT", "DELETE"})


def test_no_body_takes_what_is_not_named() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema.get("additionalProperties") is False or name == "JsonValue", name
