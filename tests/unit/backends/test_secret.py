"""A secret shows itself to nobody who does not ask for it by name."""

import copy
import json
import logging
import traceback
from collections.abc import Callable

import msgspec
import pytest

from backends import Endpoint, Secret

VALUE = "sk-5f1c2d"


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        ascii,
        lambda secret: f"{secret} {secret!r} {secret!s:>10}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - old style is what loggers use
        "{}".format,
        lambda secret: repr([secret, {secret: (secret,)}]),
        lambda secret: str(ValueError(secret)),
        lambda secret: repr(_endpoint(secret)),
        lambda secret: str(_endpoint(secret)),
        lambda secret: logging.LogRecord("", 0, "", 0, "%s", (secret,), None).getMessage(),
        lambda secret: repr(msgspec.structs.asdict(_endpoint(secret))),
    ],
)
def test_no_rendering_shows_it(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(VALUE))
    assert VALUE not in shown
    assert "***" in shown


def _endpoint(secret: Secret) -> Endpoint:
    return Endpoint(
        id="e", provider="p", kind="vllm", base_url="http://x", model="m", api_key=secret
    )


def test_no_encoder_writes_it() -> None:
    with pytest.raises(TypeError) as first:
        msgspec.json.encode(Secret(VALUE))
    with pytest.raises(TypeError) as second:
        json.dumps(Secret(VALUE))
    with pytest.raises(TypeError) as third:
        msgspec.json.encode(_endpoint(Secret(VALUE)))
    for caught in (first, second, third):
        assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_it_has_no_attributes_to_dump() -> None:
    secret = Secret(VALUE)
    with pytest.raises(TypeError):
        vars(secret)


def test_it_reveals_itself_when_asked() -> None:
    assert Secret(VALUE).reveal() == VALUE


def test_equal_secrets_are_one() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert len({Secret(VALUE), Secret(VALUE), Secret("other")}) == 2
    assert Secret(VALUE) != Secret("other")
    assert Secret(VALUE) != VALUE


def test_a_copy_is_as_silent_as_the_original() -> None:
    assert repr(copy.deepcopy(Secret(VALUE))) == "Secret(***)"
    assert VALUE not in repr(copy.copy(Secret(VALUE)))
