"""What has come of an attempt is counted right, and each event of it once."""

from time import perf_counter

import pytest

from backends.errors import BadReply
from gateway.flow.attempt import Heard
from tests.builders import END, USAGE, piece, text


def test_pieces_are_those_that_say_something_whenever_somebody_asks() -> None:
    heard = Heard()
    heard.events += [text("a"), USAGE]
    assert heard.pieces == 1
    heard.events += [piece(content="b"), END]
    assert heard.pieces == 2
    assert heard.pieces == 2
    assert heard.usage is USAGE


def test_usage_with_each_piece_does_not_have_all_of_them_counted_again() -> None:
    """As some hosts send it: an answer near its cap has twice as many events as pieces."""
    heard, most, begun = Heard(), 20_000, perf_counter()
    for _ in range(most):
        heard.events += [text("a"), USAGE]
        heard.bound(most)
    assert perf_counter() - begun < 2.0
    heard.events.append(text("a"))
    with pytest.raises(BadReply, match="output cap"):
        heard.bound(most)
