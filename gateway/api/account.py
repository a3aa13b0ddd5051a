"""OpenRouter's key API: what a key is and may spend, and keys made and changed by a management key.

At `/api/v1` and `/v1`. The words are OpenRouter's, see `gateway.wire.openrouter_keys`; what is done is what
the administrative API does. A workspace is a team, and a key's limit its budget.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.accounts import budgets, key_hashes, keys, management_callers, management_keys, teams
from gateway.accounts.office import Office
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Budget, Key
from gateway.api.routes import BASES, Handler, one_header, served
from gateway.auth.header import bearer_token, one_key
from gateway.auth.keys import is_management_key, key_hash
from gateway.errors import BodyTooLarge, InvalidRequest, NotFound
from gateway.flow.spending import Spending, spending
from gateway.policies.budgets import window
from gateway.services import Services
from gateway.usage.by_key import KeyUsage, usage_of_keys, with_unshipped
from gateway.values import BudgetRule
from gateway.wire import openrouter_keys as wire
from gateway.wire.openrouter_keys import KeyBudget, KeyFacts

_JSON = "application/json"
_PAGE = 100  # keys, as there
_MAX_BODY = 64 * 1024
_PERIODS = ("total", "daily", "weekly", "monthly")
_DOLLARS = "USD"


def routes(services: Callable[[], Services], office: Callable[[], Office]) -> list[Route]:
    """The routes of the key API; both are asked at each request, as in `gateway.api.routes.Pages`."""
    desk = _Desk(office)
    table: list[tuple[str, str, Handler]] = [
        ("/key", "GET", desk.current),
        ("/keys", "GET", desk.listed),
        ("/keys", "POST", desk.create),
        ("/keys/{hash}", "GET", desk.one),
        ("/keys/{hash}", "PATCH", desk.change),
        ("/keys/{hash}", "DELETE", desk.delete),
    ]
    found = []
    for base in BASES:
        by_path: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {}
        for path, method, handler in table:
            by_path.setdefault(base + path, {})[method] = served(services, handler)
        found += [
            Route(path, _by_method(handlers), methods=list(handlers))
            for path, handlers in by_path.items()
        ]
    return found


def _by_method(
    handlers: Mapping[str, Callable[[Request], Awaitable[Response]]],
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await handlers[method](request)

    return endpoint


class _Desk:
    """The handlers."""

    def __init__(self, office: Callable[[], Office]) -> None:
        self._office = office

    async def current(self, request: Request, running: Services) -> Response:
        """`GET /key`: the key that it is asked with."""
        sent = one_key(one_header(request, b"authorization"), one_header(request, b"x-api-key"))
        token = bearer_token(sent)
        if is_management_key(token):
            return _json(await self._managing(request, token))
        principal = await running.keys.authenticate(sent)
        now = running.clock.now()
        rules = principal.budgets
        told = await spending(running.state, rules, now, f"look-{running.ids.generation()}")
        found = [
            await _budget(running, rule, seen, principal.key_id, now)
            for rule, seen in zip(rules, told, strict=True)
        ]
        own = next((budget for budget in found if budget.scope == "key"), None)
        currency = _DOLLARS if own is None else own.currency
        used = await _usage(running, {principal.key_id: currency})
        facts = KeyFacts(
            hash=key_hash(self._office().pepper, token).hex(),
            name=principal.key_name,
            label=_label(token.decode()),
            team_id=principal.team_id,
            organisation_id=principal.organisation_id,
            creator=principal.member_id,
            disabled=False,
            created_ms=0,
            updated_ms=None,
            expires_ms=None if principal.expires_at is None else int(principal.expires_at * 1000),
            last_used_ms=used[principal.key_id].last_used_ms,
            currency=currency,
            charged=used[principal.key_id].charged,
            limit=own,
        )
        return _json(wire.current_key(facts, found, manages=False))

    async def _managing(self, request: Request, token: bytes) -> bytes:
        actor = await self._actor(request, token)
        row = await management_keys.own(self._office(), actor)
        facts = KeyFacts(
            hash=key_hash(self._office().pepper, token).hex(),
            name=row.name,
            label=_label(token.decode()),
            team_id=None,
            organisation_id=row.organisation_id,
            creator=row.created_by,
            disabled=False,
            created_ms=row.created_ms,
            updated_ms=None,
            expires_ms=row.expires_ms,
            last_used_ms=None,
            currency=_DOLLARS,
            charged={},
            limit=None,
        )
        return wire.current_key(facts, (), manages=True)

    async def listed(self, request: Request, running: Services) -> Response:
        """`GET /keys`: from `offset`, a hundred; disabled ones only if asked for."""
        actor = await self._actor(request)
        offset = _offset(request.query_params.get("offset"))
        disabled = request.query_params.get("include_disabled", "false").lower() == "true"
        team = request.query_params.get("workspace_id")
        fits, cursor = [], None
        while True:
            page = await keys.list_page(self._office(), actor, team=team, limit=1000, cursor=cursor)
            fits += [row for row in page.items if disabled or row.disabled_ms is None]
            cursor = page.next_cursor
            if cursor is None or len(fits) >= offset + _PAGE:
                break
        rows = list(islice(fits, offset, offset + _PAGE))
        return _json(wire.key_list(await self._facts(running, actor, rows)))

    async def one(self, request: Request, running: Services) -> Response:
        """`GET /keys/{hash}`."""
        actor = await self._actor(request)
        key_id = await self._id(request, actor)
        return await self._answer(running, actor, key_id)

    async def create(self, request: Request, running: Services) -> Response:
        """`POST /keys`: 201, with the key, once."""
        actor = await self._actor(request)
        wanted = wire.new_key(await _body(request))
        if wanted.include_byok_in_limit:
            raise _no_byok()
        limit = None
        if (stated := wire.stated(wanted.limit)) is not None:
            limit = budgets.limit(wire.amount(stated), wire.period(wanted.limit_reset))
        elif wanted.limit_reset is not None:
            wire.period(wanted.limit_reset)
        row, secret = await keys.create(
            self._office(),
            actor,
            team=wanted.workspace_id or await self._first_team(actor),
            name=wanted.name,
            member=wanted.creator_user_id,
            expires_ms=None if wanted.expires_at is None else wire.moment(wanted.expires_at),
            budget=limit,
        )
        (facts,) = await self._facts(running, actor, [row])
        return _json(wire.key_answer(facts, secret), 201)

    async def change(self, request: Request, running: Services) -> Response:
        """`PATCH /keys/{hash}`: what is absent stays; `limit: null` takes the limit away."""
        actor = await self._actor(request)
        key_id = await self._id(request, actor)
        wanted = wire.key_change(await _body(request))
        if wanted.include_byok_in_limit:
            raise _no_byok()
        async with self._office().together(actor) as office:
            if wanted.name is not None or wanted.disabled is not None:
                await keys.update(office, actor, key_id, name=wanted.name, disabled=wanted.disabled)
            await _set_limit(office, self._office(), actor, key_id, wanted)
        return await self._answer(running, actor, key_id)

    async def delete(self, request: Request, _: Services) -> Response:
        """`DELETE /keys/{hash}`: it is refused from now on; what it spent goes on naming it."""
        actor = await self._actor(request)
        key_id = await self._id(request, actor)
        await keys.update(self._office(), actor, key_id, disabled=True)
        return _json(wire.deleted())

    async def _actor(self, request: Request, token: bytes | None = None) -> Actor:
        if token is None:
            token = bearer_token(one_header(request, b"authorization"))
        return await management_callers.authenticate_management(
            self._office(),
            token,
            source=request.client.host if request.client else None,
            request_id=request.scope["request_id"],
        )

    async def _id(self, request: Request, actor: Actor) -> str:
        return await key_hashes.id_of(self._office(), actor, request.path_params["hash"])

    async def _first_team(self, actor: Actor) -> str:
        page = await teams.list_page(self._office(), actor, limit=1)
        if not page.items:
            raise NotFound(
                "there is no team that the key could belong to; make one, and name it in workspace_id",
                code="team_not_found",
                param="workspace_id",
            )
        return page.items[0].id

    async def _answer(self, running: Services, actor: Actor, key_id: str) -> Response:
        row = await keys.get(self._office(), actor, key_id)
        (facts,) = await self._facts(running, actor, [row])
        return _json(wire.key_answer(facts))

    async def _facts(self, running: Services, actor: Actor, rows: Sequence[Key]) -> list[KeyFacts]:
        office, now = self._office(), running.clock.now()
        hashes = await key_hashes.hashes_of(office, [row.id for row in rows])
        limits = {row.id: await budgets.get_budget(office, actor, "key", row.id) for row in rows}
        currencies = {
            key_id: _DOLLARS if budget is None else budget.limit.currency
            for key_id, budget in limits.items()
        }
        used = await _usage(running, currencies)
        return [
            KeyFacts(
                hash=hashes[row.id],
                name=row.name,
                label=f"{row.prefix}...{row.last4}",
                team_id=row.team_id,
                organisation_id=row.organisation_id,
                creator=row.member_id or row.created_by,
                disabled=row.disabled_ms is not None,
                created_ms=row.created_ms,
                updated_ms=row.updated_ms,
                expires_ms=row.expires_ms,
                last_used_ms=used[row.id].last_used_ms,
                currency=currencies[row.id],
                charged=used[row.id].charged,
                limit=_of_ledger(limits[row.id], used[row.id], now),
            )
            for row in rows
        ]


async def _set_limit(
    inside: Office, office: Office, actor: Actor, key_id: str, wanted: wire.KeyChange
) -> None:
    if wire.is_absent(wanted.limit) and wanted.limit_reset is UNSET:
        return
    old = await budgets.get_budget(office, actor, "key", key_id)
    if (stated := wire.stated(wanted.limit)) is not None:
        amount, currency = wire.amount(stated), _DOLLARS
    elif not wire.is_absent(wanted.limit):
        if old is not None:
            await budgets.remove(inside, actor, "key", key_id)
        return
    elif old is None:
        raise InvalidRequest(
            "the key has no limit that could begin anew; set limit as well",
            code="missing_field",
            param="limit",
        )
    else:
        amount, currency = old.limit.decimal_string(), old.limit.currency
    if wanted.limit_reset is not UNSET:
        period = wire.period(wanted.limit_reset)
    else:
        period = "total" if old is None else old.period
    await budgets.set_budget(inside, actor, "key", key_id, budgets.limit(amount, period, currency))


async def _usage(running: Services, currencies: Mapping[str, str]) -> dict[str, KeyUsage]:
    """What keys were charged, each in its currency."""
    now = running.clock.now()
    since = {period: window(period, now).starts_at * 1000 for period in _PERIODS}
    found = {}
    for currency in sorted(set(currencies.values())):
        ids = [key_id for key_id, one in currencies.items() if one == currency]
        shipped = await usage_of_keys(running.database, ids, currency=currency, since_ms=since)
        waiting = running.recent.oldest(len(running.recent))
        for key_id in ids:
            found[key_id] = with_unshipped(
                shipped.get(key_id), waiting, key_id, currency=currency, since_ms=since
            )
    return found


async def _budget(
    running: Services, rule: BudgetRule, seen: Spending | None, key_id: str, now: float
) -> KeyBudget:
    resets_at: float | None = window(rule.period, now).resets_at
    spent = held = 0
    if seen is not None:
        spent, held = seen.spent_pico, seen.held_pico
    elif rule.scope == "key":  # the counters are out of reach: what the ledger knows
        used = await _usage(running, {key_id: rule.currency})
        spent = used[key_id].charged[rule.period]
    else:
        spent = rule.limit_pico  # nothing can be promised of what many share
    return KeyBudget(
        id=rule.id,
        scope=rule.scope,
        currency=rule.currency,
        limit_pico=rule.limit_pico,
        spent_pico=spent,
        held_pico=held,
        period=rule.period,
        resets_at=resets_at,
    )


def _of_ledger(budget: Budget | None, used: KeyUsage, now: float) -> KeyBudget | None:
    """A key's budget with what the ledger says is spent: what requests under way hold is not in it."""
    if budget is None:
        return None
    return KeyBudget(
        id=budget.id,
        scope="key",
        currency=budget.limit.currency,
        limit_pico=budget.limit.pico,
        spent_pico=used.charged[budget.period],
        held_pico=0,
        period=budget.period,
        resets_at=window(budget.period, now).resets_at,
    )


def _label(token: str) -> str:
    return f"{token[:10]}...{token[-4:]}"


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type=_JSON)


def _offset(text: str | None) -> int:
    if text is None or text == "":
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):  # noqa: PLR2004 - a thousand million
        raise InvalidRequest(
            "offset must be a whole number, 0 or more", code="invalid_value", param="offset"
        )
    return int(text)


def _no_byok() -> InvalidRequest:
    return InvalidRequest(
        "include_byok_in_limit cannot be set: callers' own provider keys are not taken here",
        code="unsupported_parameter",
        param="include_byok_in_limit",
    )


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _MAX_BODY:
            raise BodyTooLarge(f"the body may have {_MAX_BODY} bytes; send less")
        parts.append(part)
    return b"".join(parts)
