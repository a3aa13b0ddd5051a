"""Every route but inference: a plain ASGI application."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.auth.header import one_key
from gateway.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound
from gateway.ids import IdSource
from gateway.services import Services
from gateway.usage import queries
from gateway.values import Outcome, Principal
from gateway.wire import anthropic_errors, openrouter
from gateway.wire.anthropic_reply import generation_id
from gateway.wire.errors import error_body, error_headers, openrouter_body
from pricing import ModelFacts

_log = logging.getLogger(__name__)
_JSON = "application/json"
_MAX_ID = 64
_SHIPPED_WITHIN = 1.5  # seconds; a process ships what has ended twice a second
_LOOK_AGAIN = 0.25

Handler = Callable[[Request, Services], Awaitable[Response]]

BASES = ("/v1", "/api/v1")
CHAT = "/chat/completions"
MESSAGES = "/messages"
_ANTHROPIC = tuple(base + MESSAGES + "/" for base in BASES)  # whose errors are in Anthropic's form


class Pages:
    """The handlers, with what they need.

    `services` is asked at each request: the parts exist only once the gateway has started. `facts`
    gives what is known of a canonical model.
    """

    def __init__(
        self, services: Callable[[], Services], facts: Callable[[str], ModelFacts | None]
    ) -> None:
        self._services = services
        self._facts = facts

    def routes(self) -> list[Route]:
        """Every route but inference."""
        table: list[tuple[str, Handler]] = [
            ("/livez", self._livez),
            ("/readyz", self._readyz),
            ("/healthz", self._readyz),
            ("/metrics", self._metrics),
        ]
        for base in BASES:
            table += [(base + "/models", self._models), (base + "/generation", self._generation)]
        routes = [Route(path, served(self._services, handler)) for path, handler in table]
        # POST never gets here: the edge serves it.
        others = ["GET", "PUT", "PATCH", "DELETE"]
        for base in BASES:
            routes += [
                Route(base + CHAT, served(self._services, self._wrong_method), methods=others),
                Route(base + MESSAGES, served(self._services, self._wrong_method), methods=others),
                Route(
                    base + MESSAGES + "/count_tokens",
                    served(self._services, self._no_counting),
                    methods=[*others, "POST"],
                ),
            ]
        return routes

    async def _models(self, request: Request, running: Services) -> Response:
        principal = await _principal(request, running)
        book = running.book()
        usable = book.permitted(principal.access)
        models = {slug: found for slug, found in book.models.items() if slug in usable}
        known = {slug: self._facts(slug) for slug in models}
        return Response(openrouter.model_list(models, known), media_type=_JSON)

    async def _generation(self, request: Request, running: Services) -> Response:
        principal = await _principal(request, running)
        wanted = request.query_params.get("id")
        if not wanted or len(wanted) > _MAX_ID:
            raise InvalidRequest(
                "name the generation: /v1/generation?id=gen-…, as in the X-Generation-Id header",
                param="id",
                code="missing_field",
            )
        wanted = generation_id(wanted)
        outcome = running.recent.get(wanted)
        if outcome is None:
            outcome = await _shipped(running, wanted, principal.team_id)
        if outcome is None or outcome.team_id != principal.team_id:
            raise NotFound(
                "there is no such generation among those of this key's team; it appears once its"
                " answer has ended",
                code="generation_not_found",
                param="id",
            )
        return Response(openrouter.generation(outcome), media_type=_JSON)

    async def _readyz(self, _: Request, running: Services) -> Response:
        if (reason := running.standing.why_not()) is not None:
            return Response(f"{reason}\n", 503, media_type="text/plain")
        return Response("ok\n", media_type="text/plain")

    async def _livez(self, _: Request, __: Services) -> Response:
        return Response("ok\n", media_type="text/plain")

    async def _metrics(self, _: Request, running: Services) -> Response:
        text = running.metrics.render() if running.scrape is None else await running.scrape()
        return Response(text, media_type="text/plain; version=0.0.4")

    async def _wrong_method(self, _: Request, __: Services) -> Response:
        raise MethodNotAllowed("send chat completions and messages with POST")

    async def _no_counting(self, _: Request, __: Services) -> Response:
        raise NotFound(
            "tokens are not counted ahead here, as only the provider's tokenizer could; 'usage' of each"
            " answer has the exact counts",
            code="no_route",
        )


def served(
    services: Callable[[], Services], handler: Handler
) -> Callable[[Request], Awaitable[Response]]:
    """A handler whose refusals and faults are answered as everywhere, with the headers of every answer."""

    async def serve(request: Request) -> Response:
        running = services()
        identity = running.ids.generation()
        request.scope["request_id"] = echoed_request_id(request.headers) or identity
        try:
            response = await handler(request, running)
        except GatewayError as error:
            response = error_response(error, request, identity)
        except Exception:  # noqa: BLE001 - as in the flow
            _log.exception("request %s failed inside the gateway", identity)
            response = error_response(
                GatewayError(
                    f"the gateway failed to serve this request; its log has the reason under {identity}"
                ),
                request,
                identity,
            )
        response.headers["x-request-id"] = echoed_request_id(request.headers) or identity
        response.headers["cache-control"] = "no-store"
        return response

    return serve


def application(routes: Sequence[BaseRoute], ids: IdSource) -> Starlette:
    """The ASGI application, with the framework's own refusals in our shape."""

    def refused(request: Request, error: GatewayError) -> Response:
        identity = ids.generation()
        response = error_response(error, request, identity)
        response.headers["x-request-id"] = echoed_request_id(request.headers) or identity
        return response

    async def missing(request: Request, _: Exception) -> Response:
        message = f"there is no {request.url.path} here; see the API reference"
        return refused(request, NotFound(message, code="no_route"))

    async def wrong_method(request: Request, _: Exception) -> Response:
        message = f"{request.method} is not a method of {request.url.path}"
        return refused(request, MethodNotAllowed(message))

    app = Starlette(routes=routes, exception_handlers={404: missing, 405: wrong_method})
    # A path with one slash more is another path: no caller is sent elsewhere, by a Host header of its own.
    app.router.redirect_slashes = False
    return app


def error_response(error: GatewayError, request: Request, identity: str) -> Response:
    """An error as a response, in the form of the dialect that the path belongs to.

    `identity`: what the caller may name when asking about it.
    """
    headers = error_headers(error)
    if not (request.url.path + "/").startswith(_ANTHROPIC):
        body = openrouter_body if request.url.path.startswith("/api/") else error_body
        return Response(body(error), error.status, headers=headers)
    headers["request-id"] = identity
    return Response(anthropic_errors.error_body(error, identity), error.status, headers=headers)


async def _shipped(running: Services, wanted: str, team_id: str) -> Outcome | None:
    """A generation that is in the ledger, or will be in a moment, as another process has settled it."""
    theirs = running.settings.state.url is not None and not wanted.endswith(running.ids.boot)
    until = running.clock.monotonic() + (_SHIPPED_WITHIN if theirs else 0.0)
    while True:
        outcome = await queries.generation(running.database, wanted, team_id)
        if outcome is not None or running.clock.monotonic() >= until:
            return outcome
        await asyncio.sleep(_LOOK_AGAIN)


async def _principal(request: Request, running: Services) -> Principal:
    sent = one_key(one_header(request, b"authorization"), one_header(request, b"x-api-key"))
    return await running.keys.authenticate(sent)


def one_header(request: Request, wanted: bytes) -> bytes | None:
    """A header that decides something, by its name in lower case; None: it is not there.

    Raises:
        InvalidRequest: it is there more than once; code duplicate_header.
    """
    found = [value for name, value in request.headers.raw if name == wanted]
    if len(found) > 1:
        raise InvalidRequest(
            f"the header '{wanted.decode()}' is there more than once; send it once",
            code="duplicate_header",
        )
    return found[0] if found else None


def echoed_request_id(headers: Headers) -> str | None:
    """The caller's own id for the request, if it is fit to be sent back."""
    theirs = headers.get("x-request-id", "")
    fit = 0 < len(theirs) <= 128 and theirs.isascii() and theirs.isprintable()  # noqa: PLR2004 - as for inference
    return theirs if fit else None
