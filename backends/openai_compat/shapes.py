"""What surrounds the text in the chunks of one stream, learned from a chunk.

A shape is found by trial: another text is put in the place of the delta's own, and the right place is the
one where that changes what is decoded. The same bytes may stand elsewhere too, as a key or an id.
"""

from itertools import combinations
from typing import NamedTuple

from backends.openai_compat.chunks import Choice, decode_chunk
from backends.openai_compat.failure_bodies import UNREADABLE
from backends.openai_compat.reasoning import DETAILS, TEXT_NAMES, read_details

_PLACES = 8  # at which a text is looked for in its chunk
_PROBE = b"-tidegate-probe-"  # no provider's text, key or id
_QUOTED_PROBE = b'"%b"' % _PROBE

# Head and tail up to the quotes; where the text begins and, from the end, ends; the size that a chunk
# must exceed; whether it is reasoning.
Shape = tuple[bytes, bytes, int, int, int, bool]


class Doubled(NamedTuple):
    """A shape with the same text twice, as OpenRouter sends reasoning: `middle` stands between."""

    head: bytes
    middle: bytes
    tail: bytes
    size: int  # of all three


def learn(payload: bytes, quoted: bytes, *, reasoning: bool) -> Shape | None:
    """The shape of a chunk whose first choice says just `quoted`, a JSON string."""
    for at in _places(payload, quoted):
        head, tail = payload[: at + 1], payload[at + len(quoted) - 1 :]
        if _texts(head + _PROBE + tail, reasoning=reasoning) == [_QUOTED_PROBE]:
            return head, tail, at, 1 - len(tail), len(head) + len(tail), reasoning
    return None


def learn_doubled(payload: bytes, quoted: bytes) -> Doubled | None:
    """The shape of a chunk that says `quoted`, reasoning, under two names."""
    for first, second in combinations(_places(payload, quoted), 2):
        head = payload[: first + 1]
        middle = payload[first + len(quoted) - 1 : second + 1]
        tail = payload[second + len(quoted) - 1 :]
        tried = head + _PROBE + middle + _PROBE + tail
        if _texts(tried, reasoning=True) == [_QUOTED_PROBE, _QUOTED_PROBE]:
            return Doubled(head, middle, tail, len(head) + len(middle) + len(tail))
    return None


def tellings(choice: Choice, *, reasoning: bool) -> list[bytes]:
    """The texts that a delta has, each as often as it is told."""
    delta = choice.delta or {}
    if not reasoning:
        return [bytes(delta[name]) for name in ("content",) if name in delta]
    texts = [bytes(delta[name]) for name in TEXT_NAMES if name in delta]
    if DETAILS in delta:
        texts.append(bytes(read_details(delta[DETAILS]).text or b"null"))
    return [text for text in texts if text not in {b"null", b'""'}]


def _texts(document: bytes, *, reasoning: bool) -> list[bytes]:
    try:
        choices = decode_chunk(document).choices
    except UNREADABLE:
        return []
    return tellings(choices[0], reasoning=reasoning) if choices else []


def _places(payload: bytes, quoted: bytes) -> list[int]:
    """Where `quoted` stands in `payload`. Two finds may share a quote: one ends where the next begins."""
    places: list[int] = []
    at = payload.find(quoted)
    while at >= 0 and len(places) < _PLACES:
        places.append(at)
        at = payload.find(quoted, at + 1)
    return places
