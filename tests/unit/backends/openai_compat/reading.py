"""Short ways to read replies in these tests."""

from pathlib import Path

import msgspec

from backends.openai_compat.reply import PLAIN, ChunkReader, Reading, read_whole
from backends.sse import EventReader
from backends.values import Event
from tests.fakes.answers import Answer, answer

__all__ = ["RECORDINGS", "Answer", "answer", "chunk", "events_of", "recorded", "recorded_whole"]

RECORDINGS = Path(__file__).resolve().parents[3] / "recordings"


def chunk(delta: object, **more: object) -> bytes:
    """A payload with one choice; `more` goes into the choice."""
    return msgspec.json.encode({"id": "x", "choices": [{"index": 0, "delta": delta, **more}]})


def events_of(*payloads: bytes, reading: Reading = PLAIN) -> list[Event]:
    """All events of a stream with these payloads."""
    reader, events = ChunkReader(reading=reading), list[Event]()
    for payload in payloads:
        reader.read(payload, events)
    return events


def recorded(name: str) -> list[bytes]:
    """The payloads of a recorded stream."""
    reader = EventReader()
    return reader.feed((RECORDINGS / name).read_bytes()) + reader.flush()


def recorded_whole(name: str, reading: Reading = PLAIN) -> tuple[str | None, list[Event]]:
    """A recorded reply that was no stream, read."""
    return read_whole((RECORDINGS / name).read_bytes(), reading=reading)
