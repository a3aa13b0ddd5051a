"""What a caller asks of the endpoints that may serve it: `provider`, as OpenRouter has it.

    provider                                     require_parameters, zdr, data_collection,
                                                 only, ignore, max_price, allow_fallbacks
    providerOptions.gateway                      zeroDataRetention, disallowPromptTraining, only

Preferences are read strictly. One that was ignored could send a prompt where its owner never wanted it,
so whatever is not acted on is refused by name. The members are those of OpenRouter's contract
(2026-08-22, and its Python SDK 1.3.84 of 2026-10-27); the second form is Vercel's AI Gateway's.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.values import NO_PREFERENCES, MaxPrice, Preferences
from gateway.wire.request import decoded

FIELDS = frozenset({"provider", "providerOptions"})
# Of OpenRouter's object, what this version does not act on yet.
REFUSED = frozenset(
    {"order", "enforce_distillable_text", "quantizations", "sort"}
    | {"preferred_min_throughput", "preferred_max_latency", "options"}
)
_ACTED_ON = "require_parameters, zdr, data_collection, only, ignore, max_price, allow_fallbacks"
_MOST_SHOWN = 60
_LONGEST_NUMBER = 80  # bytes; of none that is longer can the beginning be taken for a number
_MOST_SLUGS = 100
# Dollars per million tokens, or per request: what makes them picos per token, or per request.
_SCALES = {"prompt": 6, "completion": 6, "request": 12}
_PRICES_REFUSED = frozenset({"image", "audio"})
_NUMBER = re.compile(r"(-?)([0-9]{1,30})(?:\.([0-9]{1,40}))?(?:[eE]([+-]?[0-9]{1,2}))?")

_BOOL = msgspec.json.Decoder(bool | None).decode
_WORD = msgspec.json.Decoder(str | None).decode
_WORDS = msgspec.json.Decoder(list[str] | None).decode
_OBJECT = msgspec.json.Decoder(dict[str, Raw] | None).decode


def preferences_of(fields: Mapping[str, Raw]) -> Preferences:
    """The preferences that stand in a request's fields; either dialect's.

    Raises:
        InvalidRequest: one is not what it must be, is not acted on here, or is not known.
    """
    said: dict[str, Any] = {}
    for name, raw in _members(fields.get("provider"), "provider"):
        path = f"provider.{name}"
        if name in {"require_parameters", "zdr"}:
            said[name] = _flag(raw, path)
        elif name == "data_collection":
            said["no_training"] = _denied(raw, path)
        elif name == "allow_fallbacks":
            said["fallbacks"] = decoded(_BOOL, path, raw, "true or false") is not False
        elif name == "only":
            said[name] = _allowed(raw, path)
        elif name == "ignore":
            said[name] = _slugs(raw, path) or ()
        elif name == "max_price":
            said[name] = _max_price(raw, path)
        elif name in REFUSED:
            _refuse(raw, path, f"is not supported yet; remove it. Those that are: {_ACTED_ON}")
        else:
            raise _unknown(path, f"'provider' may hold {_ACTED_ON}")
    for owner, options in _members(fields.get("providerOptions"), "providerOptions"):
        path = f"providerOptions.{owner[:_MOST_SHOWN]}"
        if owner != "gateway":
            _refuse(options, path, "is not passed on to providers; remove it")
        else:
            _read_vercel(options, path, said)
    found = Preferences(**said)
    return NO_PREFERENCES if found == NO_PREFERENCES else found


def tightened(wide: Preferences, near: Preferences) -> Preferences:
    """What both ask for together: neither can take anything of the other back.

    Slugs that may be asked are those of both; `novita` and `novita/fp8` make `novita/fp8`.
    """
    if wide is NO_PREFERENCES or near is NO_PREFERENCES:
        return near if wide is NO_PREFERENCES else wide
    return Preferences(
        require_parameters=wide.require_parameters or near.require_parameters,
        zdr=wide.zdr or near.zdr,
        no_training=wide.no_training or near.no_training,
        only=_both(wide.only, near.only),
        ignore=tuple(dict.fromkeys((*wide.ignore, *near.ignore))),
        max_price=_lowest(wide.max_price, near.max_price),
        fallbacks=wide.fallbacks and near.fallbacks,
    )


def _both(wide: tuple[str, ...] | None, near: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if wide is None or near is None:
        return near if wide is None else wide
    found = [one for one in near if any(_within(one, other) for other in wide)]
    found += [one for one in wide if any(_within(one, other) for other in near)]
    return tuple(dict.fromkeys(found))


def _within(slug: str, other: str) -> bool:
    return slug == other or slug.startswith(f"{other}/")


def _lowest(wide: MaxPrice | None, near: MaxPrice | None) -> MaxPrice | None:
    if wide is None or near is None:
        return near if wide is None else wide

    def least(one: int | None, other: int | None) -> int | None:
        return min((price for price in (one, other) if price is not None), default=None)

    return MaxPrice(
        prompt=least(wide.prompt, near.prompt),
        completion=least(wide.completion, near.completion),
        request=least(wide.request, near.request),
    )


def _read_vercel(options: Raw, path: str, said: dict[str, Any]) -> None:
    """Add what is said by the names of Vercel's AI Gateway: it can only tighten what was said."""
    for name, raw in _members(options, path):
        where = f"{path}.{name[:_MOST_SHOWN]}"
        if name == "zeroDataRetention":
            said["zdr"] = _flag(raw, where) or said.get("zdr", False)
        elif name == "disallowPromptTraining":
            said["no_training"] = _flag(raw, where) or said.get("no_training", False)
        elif name == "only":
            only = _allowed(raw, where)
            if only is not None and said.get("only") is not None:
                raise InvalidRequest(
                    f"'{where}' and 'provider.only' say the same thing: send one of them",
                    param=where,
                    code="invalid_value",
                )
            said["only"] = only or said.get("only")
        else:
            _refuse(
                raw,
                where,
                "is not supported; remove it. Those that are: zeroDataRetention,"
                " disallowPromptTraining, only",
            )


def _members(raw: Raw | None, path: str) -> list[tuple[str, Raw]]:
    if raw is None:
        return []
    found = decoded(_OBJECT, path, raw, 'an object such as {"zdr": true}')
    return list((found or {}).items())


def _flag(raw: Raw, path: str) -> bool:
    return bool(decoded(_BOOL, path, raw, "true or false"))


def _denied(raw: Raw, path: str) -> bool:
    word = decoded(_WORD, path, raw, "'allow' or 'deny'")
    if word not in {None, "allow", "deny"}:
        raise InvalidRequest(
            f"'{path}' must be 'allow' or 'deny', not {word[:_MOST_SHOWN]!r}",
            param=path,
            code="invalid_value",
        )
    return bool(word == "deny")


def _slugs(raw: Raw, path: str) -> tuple[str, ...] | None:
    slugs = decoded(_WORDS, path, raw, 'a list of provider slugs such as ["novita"]')
    if slugs is not None and len(slugs) > _MOST_SLUGS:
        raise InvalidRequest(
            f"'{path}' has {len(slugs)} entries; it may have {_MOST_SLUGS}",
            param=path,
            code="invalid_value",
        )
    return None if slugs is None else tuple(slugs)


def _allowed(raw: Raw, path: str) -> tuple[str, ...] | None:
    """Providers that may be asked. Of an empty list nobody can say whether it means all or none."""
    slugs = _slugs(raw, path)
    if slugs == ():
        raise InvalidRequest(
            f"'{path}' is empty: name at least one provider, or remove it",
            param=path,
            code="invalid_value",
        )
    return slugs


def _max_price(raw: Raw, path: str) -> MaxPrice | None:
    limits: dict[str, int] = {}
    for name, price in _members(raw, path):
        where = f"{path}.{name}"
        if name in _SCALES:
            if not _is_null(price):
                limits[name] = _scaled(price, where, _SCALES[name])
        elif name in _PRICES_REFUSED:
            _refuse(price, where, "is not supported: no prices of that kind are known; remove it")
        else:
            raise _unknown(where, f"'{path}' may hold {', '.join(_SCALES)}")
    return MaxPrice(**limits) if limits else None


def _scaled(raw: Raw, path: str, decimals: int) -> int:
    """A number, or a decimal string, times 10**`decimals`; what is finer than that is cut off.

    Exact all the same: whole prices are above the number where they are above what is left of it.
    """
    text = bytes(memoryview(raw)[:_LONGEST_NUMBER]).decode("utf-8", "replace").strip('"')
    match = _NUMBER.fullmatch(text)
    if match is None or match[1]:
        raise InvalidRequest(
            f"'{path}' must be a number of dollars from 0 on, such as 0.6 or \"0.6\"",
            param=path,
            code="invalid_value",
        )
    _, whole, fraction, power = match.groups(default="")
    shift = decimals - len(fraction) + int(power or 0)
    digits = int(whole + fraction)
    return digits * int(10**shift) if shift >= 0 else digits // int(10**-shift)


def _is_null(raw: Raw) -> bool:
    return bytes(memoryview(raw)[:5]) == b"null"


def _refuse(raw: Raw, path: str, why: str) -> None:
    if not _is_null(raw):
        raise InvalidRequest(f"'{path}' {why}", param=path, code="unsupported_parameter")


def _unknown(path: str, known: str) -> InvalidRequest:
    shown = path[:_MOST_SHOWN]
    return InvalidRequest(
        f"'{shown}' is an unknown field; {known}", param=shown, code="unknown_parameter"
    )
