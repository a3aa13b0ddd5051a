"""The reference pages say what the code says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Raw

from backends import KINDS, UNASKED, BackendError, Blame, Endpoint, errors, unsupported
from backends.openai_compat.quirks import GATEWAY_ONLY, WRITTEN
from docs.reference import generate
from gateway.errors import GatewayError
from gateway.flow.failures import STATUS
from gateway.telemetry.metrics import FAMILIES
from gateway.usage.aborted import ERROR_CODE
from gateway.wire import anthropic_content, anthropic_messages, anthropic_reply
from gateway.wire.anthropic_errors import _BY_STATUS
from gateway.wire.openai_reply import KEEP_ALIVE
from gateway.wire.request import UNSUPPORTED

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs/reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("|-"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def family(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def raised(folder: str) -> set[str]:
    """Every code that a call in `folder` names."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found |= {
                    word.value.value
                    for word in node.keywords
                    if word.arg == "code"
                    and isinstance(word.value, ast.Constant)
                    and isinstance(word.value.value, str)
                }
    return found


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_what_the_generator_writes(name: str) -> None:
    fresh = generate.PAGES[name]()
    assert page(name) == fresh, "run: .venv/bin/python docs/reference/generate.py"


def test_every_error_code_is_documented_and_no_other() -> None:
    known = raised("gateway")
    known |= {kind.code for kind in family(GatewayError) if issubclass(kind, GatewayError)}
    known |= {kind.code for kind in family(BackendError) if issubclass(kind, BackendError)}
    known.add(ERROR_CODE)
    text = page("errors.md")
    assert known - set(re.findall(r"`([a-z0-9_]+)`", text)) == set()
    documented = {cells[1].strip("`") for cells in rows(text) if re.match(r"\d", cells[0])}
    assert documented - known == set()


def test_the_error_tables_have_the_status_and_type_of_the_code() -> None:
    documented = {cells[1].strip("`"): cells for cells in rows(page("errors.md"))}
    for kind in family(GatewayError):
        assert issubclass(kind, GatewayError)
        if kind.code in documented and kind.code != "upstream_error":
            status, _, typ = documented[kind.code][:3]
            assert (int(status), typ.strip("`")) == (kind.status, kind.type)
    for failure in family(BackendError):
        assert issubclass(failure, BackendError)
        if failure.blame is not Blame.CALLER:
            assert int(documented[failure.code][0]) == STATUS.get(failure.code, 502)


def test_the_tree_of_upstream_errors_is_drawn_in_full() -> None:
    assert errors.__doc__ is not None
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__))
    assert drawn == {kind.__name__ for kind in family(BackendError)} - {"BackendError"}


def test_every_metric_is_documented_with_its_type_and_no_other() -> None:
    documented = {
        cells[0].strip("`"): cells[1] for cells in rows(page("metrics.md")) if "`" in cells[0]
    }
    assert documented == {name: kind for name, (kind, _) in FAMILIES.items()}


def test_the_field_tables_are_what_the_adapters_do() -> None:
    found: set[str] = set()
    for section in page("fields.md").split("\n## ")[1:]:
        title, _, table = section.partition("\n")
        if not title.startswith("Kind "):
            continue
        fates = {cells[0].strip("`"): cells[1] for cells in rows(table)}
        for kind in re.findall("`([a-z_]+)`", title):
            found.add(kind)
            row = Endpoint(id="", provider="", kind=kind, base_url="", model="")
            for field, fate in fates.items():
                if field == "field":
                    continue
                dropped = unsupported(row, {field: Raw(b'{"a":1}')}, UNASKED)
                told = fate in {"refused", "fixed"}
                assert dropped == ((field,) if told else ()), (kind, field)
                forwarded = field in KINDS[kind].quirks.forwarded
                assert (fate == "forwarded") is forwarded, (kind, field)
    assert found == set(KINDS)


def test_every_field_with_a_fate_of_its_own_is_named() -> None:
    named = set(re.findall(r"`([a-z_.]+)`", page("api.md")))
    assert UNSUPPORTED.keys() | GATEWAY_ONLY <= named
    assert WRITTEN - {"stream_options"} <= named
    assert "stream_options.include_usage" in named


def test_the_keep_alive_comment_is_as_documented() -> None:
    assert f"    {KEEP_ALIVE.decode().strip()}\n" in page("api.md")


def test_every_field_of_anthropics_dialect_with_a_fate_of_its_own_is_named() -> None:
    text = page("api.md").partition("## Messages: Anthropic's dialect")[2]
    named = set(re.findall(r"`([a-z_.]+)`", text))
    assert anthropic_messages._REFUSED.keys() - UNSUPPORTED.keys() <= named
    assert set(anthropic_messages._LEFT_OUT) | anthropic_messages._FOREIGN <= named
    assert all(f"`{name}" in text for name in anthropic_messages.FIELD_NAMES.values())
    dropped: set[str] = set()
    for module in (anthropic_messages, anthropic_content):
        source = Path(module.__file__ or "").read_text(encoding="utf-8")
        dropped |= set(re.findall(r'dropped\["([a-z_.]+)"\]', source))
        dropped |= set(re.findall(r'\("((?:tools\.)[a-z_.]+)", tool', source))
    assert len(dropped) > 8
    assert dropped <= named


def test_anthropics_error_types_and_stop_reasons_are_as_documented() -> None:
    text = page("api.md").partition("## Messages: Anthropic's dialect")[2]
    documented = {cells[0]: cells[1].strip("`") for cells in rows(text) if cells[0].isdigit()}
    assert documented == {str(status): kind for status, kind in _BY_STATUS.items()}
    reasons = {cells[0].strip("`") for cells in rows(text.partition("### Answers")[2])}
    told = {reason.decode().strip('"') for reason in anthropic_reply._REASONS.values()}
    assert told | {"stop_sequence"} <= reasons


def test_anthropics_ping_is_as_documented() -> None:
    lines = anthropic_reply.KEEP_ALIVE.decode().splitlines()[:2]
    assert "".join(f"    {line}\n" for line in lines) in page("api.md")


def test_every_header_of_ours_is_documented() -> None:
    sent = set()
    for path in (ROOT / "gateway").rglob("*.py"):
        sent |= set(re.findall(r"[\"'](x-[a-z-]+)[\"']", path.read_text(encoding="utf-8")))
    assert sent
    assert sent <= set(re.findall(r"`(x-[a-z-]+)`", page("api.md")))
