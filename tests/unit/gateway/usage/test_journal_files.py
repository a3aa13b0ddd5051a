"""Journal files: framing, order, locks."""

from pathlib import Path

from gateway.usage import journal_files
from tests.unit.gateway.usage.samples import files_in


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_lines_come_with_the_offset_after_them(tmp_path: Path) -> None:
    write(tmp_path, "ab-1.jsonl", b"one\ntwo\n\nfour\n")
    with journal_files.orphans(tmp_path) as [[file]]:
        assert list(journal_files.lines(file, 0)) == [
            (b"one", 4),
            (b"two", 8),
            (b"", 9),
            (b"four", 14),
        ]
        assert list(journal_files.lines(file, 8)) == [(b"", 9), (b"four", 14)]


def test_a_torn_last_line_is_not_given_out(tmp_path: Path) -> None:
    write(tmp_path, "ab-1.jsonl", b"one\ntw")
    with journal_files.orphans(tmp_path) as [[file]]:
        assert list(journal_files.lines(file, 0)) == [(b"one", 4)]


def test_lines_longer_than_one_read_are_put_together(tmp_path: Path) -> None:
    long = b"x" * (3 << 20)
    write(tmp_path, "ab-1.jsonl", long + b"\nend\n")
    with journal_files.orphans(tmp_path) as [[file]]:
        assert list(journal_files.lines(file, 0)) == [
            (long, len(long) + 1),
            (b"end", len(long) + 5),
        ]


def test_files_of_one_process_come_together_in_the_order_they_were_written(tmp_path: Path) -> None:
    for name in ("ab-10.jsonl", "ab-9.jsonl", "cd-1.jsonl", "ab-1.jsonl"):
        write(tmp_path, name, b"")
    with journal_files.orphans(tmp_path) as groups:
        assert [[file.name for file in files] for files in groups] == [
            ["ab-1.jsonl", "ab-9.jsonl", "ab-10.jsonl"],
            ["cd-1.jsonl"],
        ]


def test_while_a_process_holds_one_of_its_files_none_of_them_is_an_orphan(tmp_path: Path) -> None:
    live = journal_files.create(tmp_path, "ab", 2)
    write(tmp_path, "ab-1.jsonl", b"")
    with journal_files.orphans(tmp_path) as groups:
        assert groups == []
    live.close()
    with journal_files.orphans(tmp_path) as groups:
        assert [file.name for file in groups[0]] == ["ab-1.jsonl", "ab-2.jsonl"]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    names = ["ab-1.jsonl.damaged", "notes.txt", "rejected.ndjson"]
    for name in names:
        write(tmp_path, name, b"x\n")
    with journal_files.orphans(tmp_path) as groups:
        assert groups == []
    assert files_in(tmp_path) == names


def test_what_a_process_left_that_died_while_making_a_file_is_removed(tmp_path: Path) -> None:
    write(tmp_path, "ab-1.jsonl.new", b"")
    with journal_files.orphans(tmp_path) as groups:
        assert groups == []
    assert files_in(tmp_path) == []


def test_a_file_that_is_set_aside_keeps_its_content(tmp_path: Path) -> None:
    write(tmp_path, "ab-1.jsonl", b"x\n")
    with journal_files.orphans(tmp_path) as [[file]]:
        file.set_aside(".damaged")
        file.remove()
    assert (tmp_path / "ab-1.jsonl.damaged").read_bytes() == b"x\n"
    assert files_in(tmp_path) == ["ab-1.jsonl.damaged"]
