"""A long answer is not held in the worker, whoever reads it."""

from pathlib import Path

from tests.litellm.desk import Desk, Ended, read

PIECES = 5_000
GROWTH = 15_000  # kB; seven are buffers, and litellm's own memory of the chunks would be another 20


def peak(pid: int) -> int:
    """The most memory that a process has had since `forget_peak`, in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def test_a_long_answer_to_a_slow_reader_is_not_held_and_is_counted_right(desk: Desk) -> None:
    desk.ask("openai", "[[n=300,think=0]]")  # what a first stream loads is not of this one
    pid, sent = desk.worker.pid, desk.servers["openai"].completed
    assert pid is not None

    async def slowly() -> Ended:
        count = sent.count
        reply = await desk.open("openai", f"[[n={PIECES},think=0]]", cap=100_000)
        await sent.wait(count + 1, within=20)  # all of it is on its way, and nobody has read
        return await read(reply)

    forget_peak(pid)
    before = peak(pid)
    ended = desk.run(slowly())
    grown = peak(pid) - before
    assert ended.error is None
    assert ended.answer.finish == [("stop", "stop")]
    assert ended.answer.usage is not None
    assert ended.answer.usage.completion == PIECES
    assert grown < GROWTH
