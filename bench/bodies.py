"""The requests that the bench sends. Always the same bytes for the same model name."""

import json
import random
from pathlib import Path
from string import ascii_lowercase
from typing import NamedTuple

SMALL = 900  # characters
TURNS = 20  # a long prompt is a long conversation, not one huge message


class Bodies(NamedTuple):
    """Files with one request body each. The tag in the first message steers the fake upstream."""

    small: Path
    fast_stream: Path
    live_stream: Path
    large: dict[int, Path]  # by megabytes


class _Prose:
    """Made-up words, some with characters that JSON must escape, some that are not ASCII."""

    def __init__(self) -> None:
        self._random = random.Random(7)  # noqa: S311 - the same text each time, no secret
        self._words = [self._word() for _ in range(3000)]

    def _word(self) -> str:
        length = self._random.randint(2, 9)
        return "".join(self._random.choice(ascii_lowercase) for _ in range(length))

    def text(self, characters: int) -> str:
        words: list[str] = []
        count = 0
        while count < characters:
            word = self._random.choice(self._words)
            kind = self._random.random()
            if kind < 0.02:  # noqa: PLR2004 - a line break after one word in fifty
                word += "\n"
            elif kind < 0.03:  # noqa: PLR2004 - and so on
                word = f'"{word}"'
            elif kind < 0.04:  # noqa: PLR2004
                word += " é"
            words.append(word)
            count += len(word) + 1
        return " ".join(words)


def write_bodies(folder: Path, model: str) -> Bodies:
    """Write every body for `model` into `folder` and say where each one is."""
    folder.mkdir(parents=True, exist_ok=True)
    prose = _Prose()

    def write(name: str, tag: str, texts: list[str], *, stream: bool = False) -> Path:
        messages = [{"role": "system", "content": f"You are a helpful assistant. [[{tag}]]"}]
        for turn, text in enumerate(texts):
            messages.append({"role": "assistant" if turn % 2 else "user", "content": text})
        body: dict[str, object] = {
            "model": model,
            "messages": messages,
            "temperature": 0.7,
            "max_tokens": 256,
        }
        if stream:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        path = folder / f"{name}.json"
        path.write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")
        return path

    def large(megabytes: int) -> Path:
        turns = [prose.text(megabytes * 1_000_000 // TURNS) for _ in range(TURNS)]
        return write(f"large-{megabytes}mb", "n=1", [*turns, "go on"])

    return Bodies(
        small=write("small", "n=1", [prose.text(SMALL)]),
        fast_stream=write("fast-stream", "n=200,d=0", [prose.text(SMALL)], stream=True),
        live_stream=write("live-stream", "n=100,d=10", [prose.text(SMALL)], stream=True),
        large={megabytes: large(megabytes) for megabytes in (1, 4)},
    )
