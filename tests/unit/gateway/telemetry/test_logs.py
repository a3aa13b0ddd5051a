"""A log says what went wrong and where, without what was being worked on."""

import asyncio

import pytest

from gateway.telemetry.logs import note_loop_fault, places

SECRET = "the-merger-is-on-friday"


def caught() -> BaseException:
    try:
        try:
            int(SECRET)  # whose message quotes it
        except ValueError as behind:
            raise LookupError(SECRET) from behind
    except LookupError as fault:
        return fault
    raise AssertionError("it was a number")


def test_kinds_and_places_of_the_whole_chain_without_messages() -> None:
    text = places(caught())
    kinds = [line for line in text.splitlines() if not line.startswith(" ")]
    assert kinds == ["builtins.LookupError", "after builtins.ValueError"]
    assert text.count("in caught: ") == 2
    assert "test_logs.py" in text
    assert SECRET not in text


def test_a_chain_that_leads_back_to_itself_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first
    assert places(first).splitlines() == ["builtins.ValueError", "after builtins.KeyError"]


async def test_what_fails_where_nobody_waits_is_logged_without_arguments(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(note_loop_fault)
    over = asyncio.Event()

    def callback(content: str) -> None:
        over.set()
        raise ValueError(content)

    loop.call_soon(callback, SECRET)
    await over.wait()
    assert "event loop: Exception in callback" in caplog.text
    assert "builtins.ValueError" in caplog.text
    assert "in callback: raise" in caplog.text
    assert SECRET not in caplog.text


def test_a_note_without_an_exception_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    note_loop_fault(loop, {"message": f"Task was destroyed but it is pending! ({SECRET})"})
    loop.close()
    assert "Task was destroyed but it is pending!: -" in caplog.text
    assert SECRET not in caplog.text
