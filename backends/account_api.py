"""What a provider tells of our account there: its balance, and the models that it serves us.

None of this is on the request path, and none of it costs anything.
"""

import json
from decimal import Decimal
from functools import partial
from time import time
from typing import Any
from urllib.parse import urlsplit

from msgspec import structs

from backends.errors import BackendError, BadReply
from backends.http import HttpClient
from backends.kind import Balance, member
from backends.openai_compat.request import headers
from backends.registry import KINDS
from backends.values import Endpoint, Origin

__all__ = ["Balance", "balance", "models", "tells_balance", "try_key"]

TIMEOUT = 10.0  # seconds for one question


async def balance(client: HttpClient, endpoint: Endpoint) -> Balance | None:
    """The balance of the account that an endpoint is of; None where its provider has no way to tell.

    Raises:
        BackendError: it could not be had.
    """
    told = KINDS[endpoint.kind].balance
    return None if told is None else await told(partial(_get, client, endpoint))


def tells_balance(kind: str) -> bool:
    """Whether providers of this kind have a way to tell a balance."""
    return KINDS[kind].balance is not None


async def models(client: HttpClient, endpoint: Endpoint) -> tuple[str, ...]:
    """The ids of the models that the provider lists for our key, in its order.

    Raises:
        BackendError: they could not be had.
    """
    rows = member(await _get(client, endpoint, "/models"), "data")
    if not isinstance(rows, list):
        raise BadReply("the list of models is no list")
    names = [row.get("id") for row in rows if isinstance(row, dict)]
    return tuple(name for name in names if isinstance(name, str))


async def try_key(client: HttpClient, endpoint: Endpoint) -> None:
    """Try the endpoint's first key, where its being listed the models does not say that it is good.

    Raises:
        BackendError: it is refused, or that could not be found out.
    """
    if (path := KINDS[endpoint.kind].good_key_path) is not None:
        await _get_with(client, endpoint, path, at_root=False)


async def _get(client: HttpClient, endpoint: Endpoint, path: str, *, at_root: bool = False) -> Any:
    """The JSON at a path of the endpoint's base URL, or of its host, with the first key that is taken.

    Redirects are not followed: an answer of any status but 200 is a refusal.
    """
    for key in (endpoint.api_key, *endpoint.spare_keys):
        last = key is None or key is (endpoint.spare_keys or (key,))[-1]
        try:
            return await _get_with(
                client, structs.replace(endpoint, api_key=key), path, at_root=at_root
            )
        except BackendError as error:
            if last or not error.next_key:
                raise
    raise AssertionError("there is a first key, or none at all")


async def _get_with(client: HttpClient, endpoint: Endpoint, path: str, *, at_root: bool) -> Any:
    base = "" if at_root else urlsplit(endpoint.base_url).path.rstrip("/")
    response = await client.request(
        Origin.of(endpoint.base_url, local=endpoint.local),
        method=b"GET",
        target=(base + path).encode(),
        headers=headers(endpoint),
        body=(),
        deadlines=endpoint.deadlines,
        timeout=TIMEOUT,
        max_connections=endpoint.max_connections,
        resend_safe=True,
    )
    try:
        body = await response.read_all()
    except BaseException:
        response.abort()
        raise
    if response.status == 404:  # noqa: PLR2004 - it means no model here
        raise BadReply(f"there is no {path}", status=404)
    if response.status != 200:  # noqa: PLR2004 - the one status that is an answer
        rules = KINDS[endpoint.kind].quirks.failures
        refusal = rules.refusal(response.status, bytes(body), response.header, time())
        refusal.conceal(endpoint.api_key)
        raise refusal
    try:
        return json.loads(body, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:  # the latter for thousands of nested brackets
        raise BadReply(f"{path}: not JSON") from error
