"""Every route but inference: a plain ASGI application."""

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound
from gateway.ids import IdSource
from gateway.services import Services
from gateway.usage import queries
from gateway.values import Principal
from gateway.wire import openrouter
from gateway.wire.errors import error_body, error_headers
from pricing import ModelFacts

_log = logging.getLogger(__name__)
_JSON = "application/json"
_MAX_ID = 64

Handler = Callable[[Request, Services], Awaitable[Response]]

BASES = ("/v1", "/api/v1")
CHAT = "/chat/completions"


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
        routes = [Route(path, self._served(handler)) for path, handler in table]
        # POST never gets here: the edge serves it.
        others = ["GET", "PUT", "PATCH", "DELETE"]
        return routes + [
            Route(base + CHAT, self._served(self._wrong_method), methods=others) for base in BASES
        ]

    def _served(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            running = self._services()
            identity = running.ids.generation()
            try:
                response = await handler(request, running)
            except GatewayError as error:
                response = error_response(error)
            except Exception:  # noqa: BLE001 - as in the flow
                _log.exception("request %s failed inside the gateway", identity)
                response = error_response(
                    GatewayError(
                        f"the gateway failed to serve this request; its log has the reason under"
                        f" {identity}"
                    )
                )
            response.headers["x-request-id"] = _echo(request) or identity
            response.headers["cache-control"] = "no-store"
            return response

        return serve

    async def _models(self, request: Request, running: Services) -> Response:
        await _principal(request, running)
        models = running.book().models
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
        outcome = running.recent.get(wanted)
        if outcome is None:
            outcome = await queries.generation(running.database, wanted, principal.team_id)
        if outcome is None or outcome.team_id != principal.team_id:
            raise NotFound(
                "there is no such generation among those of this key's team; it appears once its"
                " answer has ended",
                code="generation_not_found",
                param="id",
            )
        return Response(openrouter.generation(outcome), media_type=_JSON)

    async def _readyz(self, _: Request, running: Services) -> Response:
        if not running.journal.healthy:
            return Response("the journal cannot be written\n", 503, media_type="text/plain")
        return Response("ok\n", media_type="text/plain")

    async def _livez(self, _: Request, __: Services) -> Response:
        return Response("ok\n", media_type="text/plain")

    async def _metrics(self, _: Request, running: Services) -> Response:
        text = running.metrics.render()
        return Response(text, media_type="text/plain; version=0.0.4")

    async def _wrong_method(self, _: Request, __: Services) -> Response:
        raise MethodNotAllowed("send chat completions with POST")


def application(routes: list[Route], ids: IdSource) -> Starlette:
    """The ASGI application, with the framework's own refusals in our shape."""

    def refused(request: Request, error: GatewayError) -> Response:
        response = error_response(error)
        response.headers["x-request-id"] = _echo(request) or ids.generation()
        return response

    async def missing(request: Request, _: Exception) -> Response:
        message = f"there is no {request.url.path} here; see the API reference"
        return refused(request, NotFound(message, code="no_route"))

    async def wrong_method(request: Request, _: Exception) -> Response:
        message = f"{request.method} is not a method of {request.url.path}"
        return refused(request, MethodNotAllowed(message))

    return Starlette(routes=routes, exception_handlers={404: missing, 405: wrong_method})


def error_response(error: GatewayError) -> Response:
    """An error as a response."""
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(error_body(error), error.status, headers=headers)


async def _principal(request: Request, running: Services) -> Principal:
    found = [value for name, value in request.headers.raw if name == b"authorization"]
    if len(found) > 1:
        raise InvalidRequest(
            "the header 'authorization' is there more than once; send it once",
            code="duplicate_header",
        )
    return await running.keys.authenticate(found[0] if found else None)


def _echo(request: Request) -> str | None:
    theirs = request.headers.get("x-request-id", "")
    fit = 0 < len(theirs) <= 128 and theirs.isascii() and theirs.isprintable()  # noqa: PLR2004 - as for inference
    return theirs if fit else None
