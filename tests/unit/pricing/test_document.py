"""Documents are read with the lines of their values, and what is no document is told, never thrown."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.sources.document import NotADocument, document


def test_every_value_has_its_line_and_the_text_as_it_is_written() -> None:
    root = document(b'schema: x\nprices:\n- input: 0.10\n  output: "2"\n- {input: 1e-7}\n')

    assert (root.kind, root.fields["schema"].line) == ("mapping", 1)
    first, second = root.fields["prices"].items
    assert (first.line, second.line) == (3, 5)
    price = first.fields["input"]
    assert (price.line, price.kind, price.text) == (3, "number", "0.10")
    assert (first.fields["output"].line, first.fields["output"].kind) == (4, "text")


def test_json_has_lines_too() -> None:
    root = document(b'{"a":\n\t[1,\n\t "b"]}', is_json=True)

    assert [(item.line, item.text) for item in root.fields["a"].items] == [(2, "1"), (3, "b")]


def test_a_name_that_is_there_twice_is_told_with_its_line() -> None:
    assert document(b"a: 1\nb: 2\na: 3").repeated == (("a", 3),)


def test_merged_fields_count_where_there_are_none_of_ones_own() -> None:
    root = document(b"x: &x {input: '1', output: '2'}\ny:\n  <<: *x\n  output: '3'\n")

    fields = root.fields["y"].fields
    assert {name: value.text for name, value in fields.items()} == {"input": "1", "output": "3"}


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (b"a: [1,\n2", 3, "is not valid YAML"),
        (b"a: 1\n\tb: 2", 2, "is not valid YAML"),
        (b"a: 1\nb: c: d", 2, "is not valid YAML"),
        (b"a: 1\n---\nb: 2", 2, "is not valid YAML"),
        (b"a: 1\nb: \xff", 2, "is not UTF-8 text"),
        (b"a: 1\nb: \x00", 1, "is not valid YAML"),
        (b"a: 1\nb: *c", 2, "is not valid YAML"),
        (b"a: 1\nb: &b [*b]", 2, "contains itself by an alias"),
        (b"a: &a\n  <<: *a", 1, "contains itself by an alias"),
        (b"? [a]\n: b", 1, "a name is a list or a mapping"),
        (b"[" * 100_000, 1, "nests deeper than 64 levels"),
        (b"{a: " * 3_000, 1, "nests deeper than 64 levels"),
        (b" " * (16 * 1024 * 1024 + 1), 1, "is larger than"),
    ],
)
def test_what_is_no_document_is_told_with_its_line(data: bytes, line: int, said: str) -> None:
    with pytest.raises(NotADocument, match=said) as caught:
        document(data)
    if line > 1:
        assert caught.value.line == line


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (b'{"a": 1,\n}', 2, "is not valid JSON"),
        (b"a: 1", 1, "is not valid JSON"),
        (b"", 1, "is not valid JSON"),
        (b"[" * 100_000, 1, "nests deeper"),
        (b"1" * 10_000, 1, "cannot be read"),
        (b'"\\ud800"', 1, "is not valid YAML"),
    ],
)
def test_json_that_is_none_is_told_with_its_line(data: bytes, line: int, said: str) -> None:
    with pytest.raises(NotADocument, match=said) as caught:
        document(data, is_json=True)
    assert caught.value.line == line


def test_what_aliases_share_is_read_once() -> None:
    lines = [b"a0: &a0 [x, x]"]
    lines += [b"a%d: &a%d [*a%d, *a%d]" % (at, at, at - 1, at - 1) for at in range(1, 40)]

    root = document(b"\n".join(lines))

    first, second = root.fields["a39"].items
    assert first is second


@given(st.binary(max_size=200) | st.text(alphabet="{}[]:,-&*<>!|? \n'\"ab0.", max_size=60))
def test_nothing_that_a_file_holds_is_more_than_a_fault(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    for is_json in (False, True):
        with contextlib.suppress(NotADocument):
            assert document(raw, is_json=is_json).line >= 1
