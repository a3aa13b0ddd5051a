"""What the lines of the journal say.

    card*  open  progress*  close        of one generation, among those of others

A close line stands alone: it is enough for the ledger. Open and progress lines are read only when
the close line is missing because the process died; card lines hold the prices for that case, and
for whoever asks later what a ledger entry was priced by.
"""

import re
from collections.abc import Awaitable, Iterable

import msgspec
from msgspec import Struct

from gateway.usage.journal import Journal
from gateway.values import Outcome
from pricing import RateCard


class PlannedEndpoint(Struct, frozen=True, array_like=True, gc=False):
    """An endpoint that a request may be sent to."""

    endpoint_id: str
    provider: str
    upstream_model: str
    rate_card_id: str
    currency: str


class Held(Struct, frozen=True, array_like=True, gc=False):
    """An amount held in one budget counter, in nano-units."""

    bucket: str
    amount_nano: int


class Open(Struct, frozen=True, kw_only=True, tag="open"):
    """A request was admitted; `endpoints` in the order in which they would be tried."""

    id: str  # the generation id
    request_id: str
    created_ms: int
    organisation_id: str
    team_id: str
    key_id: str
    api: str
    model_requested: str
    model: str
    endpoints: tuple[PlannedEndpoint, ...]
    holds: tuple[Held, ...]
    est_prompt_tokens: int
    streamed: bool
    sandbox: bool


class Progress(Struct, frozen=True, kw_only=True, gc=False, tag="progress"):
    """How far an attempt has come: `output_tokens` is what the caller was sent, estimated.

    `searches` are the web searches in it, those included that go out once this line is written.

    One with no tokens may be written when an attempt begins; the last of each attempt counts.
    """

    id: str  # the generation id
    ordinal: int  # of the attempt, from 1
    endpoint_id: str
    output_tokens: int
    started_ms: int
    at_ms: int
    ttft_ms: int | None = None
    searches: int = 0


class Close(Struct, frozen=True, tag="close"):
    """A request has ended."""

    outcome: Outcome


class Card(Struct, frozen=True, tag="card"):
    """Prices that a later line of this file refers to by id."""

    card: RateCard
    seen_ms: int


Line = Open | Progress | Close | Card


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
# `encode` writes fields in order, so that ids stand where they can be cut out.
# No anchors, which make the search many times slower: inside a string the quotes would be escaped.
_OPENED = re.compile(rb'\{"type":"open","id":"([^"]*)"')
_CLOSED = re.compile(rb'\{"type":"close","outcome":\{"generation_id":"([^"]*)"')


def encode(line: Line) -> bytes:
    """One line, without its end."""
    return _encoder.encode(line)


def decode(line: bytes) -> Line:
    """The line that `encode` made.

    Raises:
        msgspec.DecodeError: it is no such line.
    """
    return _decoder.decode(line)


def ids(block: bytes) -> tuple[list[bytes], list[bytes]]:
    """The generation ids of the open lines and of the close lines in `block`, which is whole lines.

    Cheaper by far than to decode them.
    """
    return _OPENED.findall(block), _CLOSED.findall(block)


def begin(
    journal: Journal, line: Open, cards: Iterable[RateCard], together: str = ""
) -> Awaitable[None]:
    """Journal that a request was admitted, and the cards that its plan may be priced by.

    Args:
        journal: where to.
        line: the request.
        cards: of every endpoint that it may be sent to.
        together: a name of just this set of cards, if it comes again and again; saves looking at each.
    """
    if not together or journal.lacks_headers(together):
        for card in cards:
            if journal.lacks_header(card.id):
                journal.append_header(card.id, encode(Card(card, line.created_ms)))
    return journal.append(_encoder.encode(line))
