"""What litellm remembers of a stream: what it looks at again, and few of the others."""

from types import SimpleNamespace
from typing import Any

import pytest

from backends.litellm.worker.chunks import ChunkLog, bound
from backends.litellm.worker.wire import stream_of

FEW = 64


def chunk(number: int, *, usage: Any = None, finish: str | None = None) -> Any:
    delta = SimpleNamespace(content=f"word {number}")
    choice = SimpleNamespace(index=0, delta=delta, finish_reason=finish)
    return SimpleNamespace(id="c", number=number, usage=usage, choices=[choice])


def remembered(chunks: list[Any]) -> list[int]:
    log = ChunkLog()
    for one in chunks:
        log.append(one)
        assert len(log) <= FEW
        assert log[-2:] == chunks[: one.number + 1][-2:]
    return [one.number for one in log]


def test_a_short_stream_is_remembered_whole() -> None:
    assert remembered([chunk(n) for n in range(FEW)]) == [*range(FEW)]


def test_the_first_the_last_and_what_has_usage_or_an_end_stay() -> None:
    telling: dict[int, dict[str, Any]] = {
        1: {"usage": 1},
        400: {"usage": 2},
        500: {"finish": "stop"},
    }
    found = remembered([chunk(n, **telling.get(n, {})) for n in range(1000)])
    assert {0, *telling, 998, 999} <= {*found}


def test_of_usage_with_each_chunk_the_first_and_the_last_stay() -> None:
    found = remembered([chunk(n, usage=n) for n in range(1000)])
    assert found[:9] == [*range(9)]
    assert found[-9:] == [*range(991, 1000)]


@pytest.mark.parametrize("odd", [object(), SimpleNamespace(chunks=None), SimpleNamespace()])
def test_a_stream_without_a_list_of_chunks_is_left_alone(odd: Any) -> None:
    before = dict(getattr(odd, "__dict__", {}))
    bound(odd)
    assert getattr(odd, "__dict__", {}) == before


async def test_the_chunks_of_an_answer_under_way_are_bounded() -> None:
    class Wrapper:
        """litellm's way with its chunks."""

        received_finish_reason = "stop"

        def __init__(self) -> None:
            self.chunks: list[Any] = []
            self._number = 0

        def __aiter__(self) -> "Wrapper":
            return self

        async def __anext__(self) -> Any:
            if self._number == 1000:
                raise StopAsyncIteration
            counted = {"prompt_tokens": 5, "completion_tokens": 7} if self._number == 9 else None
            self.chunks.append(chunk(self._number, usage=counted))
            self._number += 1
            return self.chunks[-1]

    wrapper = Wrapper()
    told = []
    async for one in stream_of(wrapper):
        told.append(one)
        assert len(wrapper.chunks) <= FEW
    assert len(told) == 1001
    assert told[-1]["usage"]["total_tokens"] == 12
