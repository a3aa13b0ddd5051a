"""A secret shows itself to nobody who does not ask for it by name."""

import copy
import dataclasses
import hashlib
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pydantic
import pytest
import yaml

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
        lambda secret: f"{secret:>10}",
        lambda secret: pprint.pformat({"key": secret}),
        lambda secret: repr(dataclasses.asdict(_Holder(secret))),
        lambda secret: str(_Model(key=secret)) + repr(_Model(key=secret).model_dump()),
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


@dataclasses.dataclass
class _Holder:
    key: Secret


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    key: Secret


_ENCODERS: dict[str, Callable[[Any], object]] = {
    "json": json.dumps,
    "msgspec json": msgspec.json.encode,
    "msgspec msgpack": msgspec.msgpack.encode,
    "msgspec builtins": msgspec.to_builtins,
    "pydantic": pydantic.TypeAdapter(Any).dump_json,
    "pydantic model": lambda secret: _Model(key=secret).model_dump_json(),
    "pydantic mode json": lambda secret: _Model(key=secret).model_dump(mode="json"),
    "yaml": yaml.dump,
    "yaml safe": yaml.safe_dump,
    **{
        f"pickle {protocol}": partial(pickle.dumps, protocol=protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        *((name, False) for name in _ENCODERS),
        *((name, True) for name in _ENCODERS if not name.startswith("pydantic m")),
    ],
)
def test_no_encoder_writes_it(name: str, *, inside: bool) -> None:
    secret = Secret(VALUE)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each has its own
        _ENCODERS[name](_endpoint(secret) if inside else secret)
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_its_state_is_not_to_be_had() -> None:
    with pytest.raises(TypeError):
        Secret(VALUE).__getstate__()


def test_a_fingerprint_tells_keys_apart_and_no_more() -> None:
    fingerprint = Secret(VALUE).fingerprint
    assert fingerprint == hashlib.sha256(VALUE.encode()).hexdigest()[:4]
    assert fingerprint != Secret("other").fingerprint


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


def test_a_copy_is_the_secret_itself() -> None:
    secret = Secret(VALUE)
    assert copy.deepcopy({"key": secret})["key"] is secret
    assert copy.copy(secret) is secret
