"""Trying an endpoint step by step: what is free first, and what is billed only when that was wanted."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal

from msgspec import Raw, Struct, structs

from backends import (
    BackendError,
    Call,
    Dialer,
    Endpoint,
    Finish,
    HttpClient,
    Origin,
    Usage,
    open_backends,
)
from backends.account_api import balance, models, try_key
from backends.errors import AccessRefused, BadReply, ConnectFailed, ConnectionLost, UpstreamTimeout
from backends.http_addresses import address_fault, why_not
from gateway.routing.accounts import Account
from gateway.usage.quantify import InconsistentUsage, quantify
from gateway.values import Candidate
from pricing import Money, ceiling, total_pico

_OURS = (BadReply, ConnectFailed, ConnectionLost, UpstreamTimeout)  # whose words are our own
_MESSAGES = [{"role": "user", "content": "Hi"}]
# Tokens: one message of two letters, with all that a chat template and a provider's own prompt add.
_MOST_PROMPT = 512
_SECONDS = 60.0


class Step(Struct, frozen=True):
    """One thing that was tried. `good` is None where it could not be told, which is no failure."""

    name: str
    good: bool | None
    said: str


def worst_cost(candidate: Candidate) -> Money:
    """The most that `chat` can cost there."""
    if candidate.card is None:
        raise ValueError("it has no price")
    return ceiling(candidate.card, prompt_tokens=_MOST_PROMPT, output_tokens=1)


async def free_steps(
    client: HttpClient, dialer: Dialer, candidate: Candidate, account: Account
) -> AsyncIterator[Step]:
    """What can be tried without cost: address, connection, each key, model, balance.

    Ends early where what follows cannot go well.
    """
    endpoint = candidate.endpoint
    origin = Origin.of(endpoint.base_url, local=endpoint.local)
    address = await _address(dialer, origin)
    yield address
    if address.good is False:
        return
    listed: tuple[str, ...] | None = None
    accepted = False
    keys = (endpoint.api_key, *endpoint.spare_keys)
    for position, key in enumerate(keys):
        name = "no key" if key is None else f"key {key.fingerprint}"
        try:
            row = structs.replace(endpoint, api_key=key, spare_keys=())
            listed = await models(client, row)
            await try_key(client, row)
        except (ConnectFailed, ConnectionLost, UpstreamTimeout) as error:
            yield Step("connection", False, str(error))
            return
        except BackendError as error:
            if position == 0:
                yield Step("connection", True, _secured(origin))
            refused = error.next_key and not isinstance(error, AccessRefused)
            yield Step(name, False if refused else None, explain(error))
        else:
            accepted = True
            if position == 0:
                yield Step("connection", True, _secured(origin))
            yield Step(name, True, "accepted")
    if listed is not None:
        yield _listed(endpoint, listed)
    if accepted:
        yield await _balance(client, account)


def _listed(endpoint: Endpoint, listed: tuple[str, ...]) -> Step:
    if endpoint.model in listed:
        return Step("model", True, f"{endpoint.model} is listed")
    said = (
        f"{endpoint.model} is not among the {len(listed)} models listed: see"
        f" `tidegate backends models {endpoint.provider}`"
    )
    return Step("model", False, said)


async def _address(dialer: Dialer, origin: Origin) -> Step:
    if dialer.route(origin).proxy is not None:
        fault = address_fault(origin.host, local=origin.local)
        said = fault or f"{origin.host} is looked up by the proxy"
        return Step("address", fault is None, said)
    try:
        found = await dialer.look_up(origin.host, origin.port)
    except (OSError, ValueError) as error:
        said = f"{origin.host} cannot be looked up: {error}; check 'base_url' and the DNS"
        return Step("address", False, said)
    faults = [why_not(str(where[0]), local=origin.local) for _, where in found]
    if faults and all(faults):
        return Step("address", False, f"{origin.host}: {faults[0]}")
    shown = ", ".join(dict.fromkeys(str(where[0]) for _, where in found))
    return Step("address", True, shown if shown == origin.host else f"{origin.host} is {shown}")


def _secured(origin: Origin) -> str:
    return "TLS, certificate verified" if origin.scheme == "https" else "plain HTTP, not encrypted"


async def _balance(client: HttpClient, account: Account) -> Step:
    try:
        found = await balance(client, account.endpoint)
    except BackendError as error:
        return Step("balance", None, f"could not be read: {explain(error)}")
    if found is None:
        return Step("balance", None, "the provider does not tell it")
    return Step("balance", found.amount > 0, f"{found.amount:f} {found.currency}")


async def chat(client: HttpClient, candidate: Candidate) -> Step:
    """A chat request with an answer of one token, which the provider bills."""
    endpoint = candidate.endpoint
    call = Call(
        fields={"messages": Raw(json.dumps(_MESSAGES).encode())},
        stream=not endpoint.native_non_stream,
        output_cap=1,
        request_id="probe",
    )
    usage: Usage | None = None
    ended = ""
    try:
        reply = await open_backends(client)[endpoint.kind].open(call, endpoint, timeout=_SECONDS)
        try:
            while events := await reply.next():
                for event in events:
                    if isinstance(event, Usage):
                        usage = event
                    elif isinstance(event, Finish):
                        ended = event.reason
        finally:
            reply.abort()
    except BackendError as error:
        return Step("chat", False, explain(error))
    return Step("chat", True, f"answered, finish reason {ended or '-'}; {_cost(candidate, usage)}")


def _cost(candidate: Candidate, usage: Usage | None) -> str:
    if usage is None or candidate.card is None:
        return "the provider stated no usage, so what it cost is not known"
    counts = f"{usage.prompt} prompt and {usage.completion} output tokens"
    try:
        pico = total_pico(quantify(usage), candidate.card)
    except InconsistentUsage:
        return f"{counts} are stated, which cannot be: what it cost is not known"
    cost = f"{counts} cost {Money(candidate.card.currency, pico)}"
    if usage.reported_cost is not None:
        cost += f" by the rate card; the provider says {Decimal(usage.reported_cost):f}"
    return cost


def explain(error: BackendError) -> str:
    """What went wrong, and what to do about it, in one line."""
    if isinstance(error, _OURS):
        return str(error)
    status = f"HTTP {error.status}" if error.status is not None else "no HTTP status"
    native = f", {error.native_code!r}" if error.native_code else ""
    return f"{error.public} ({error.code}, {status}{native}){_advice(error.code)}"


def _advice(code: str) -> str:
    match code:
        case "credential_refused":
            return "; check 'api_key', and that it belongs to this region of the provider"
        case "access_refused":
            return "; the key is known, but may not do this: see the provider's console"
        case "quota_exhausted":
            return "; top the account up"
        case "rate_limited":
            return "; wait, and set the account's 'limits' to those of its tier"
        case "model_unavailable":
            return "; check the 'model' of the endpoint with `tidegate backends models`"
        case _:
            return ""
