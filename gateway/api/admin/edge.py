"""The administrative API as the rest of the gateway sees it: an ASGI application to be mounted.

It is there from the start and costs next to nothing until somebody uses it: the framework and the models
behind it (0.3 s to import, some 15 MB) are loaded at the first request, in a thread, so that inference
goes on meanwhile.

Whatever comes out of it passes here, routed or not: `x-request-id`, `cache-control: no-store`, no body
where HEAD asked for none, and a masked 500 for what was no refusal.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.accounts.office import Office
from gateway.api import account
from gateway.api.routes import echoed_request_id
from gateway.errors import BodyTooLarge, GatewayError
from gateway.services import Services
from gateway.wire.errors import error_body, error_headers

_log = logging.getLogger(__name__)

BASE: Final = "/admin/v1"
MAX_BODY_BYTES: Final = 512 * 1024
"""Of a request to the administrative API: settings with some thousand models fit."""

_NO_STORE = "no-store"


class AdminApi:
    """The ASGI application. `services` and `office` are asked at each request, as in `Pages`."""

    def __init__(self, services: Callable[[], Services], office: Callable[[], Office]) -> None:
        self._services = services
        self._office = office
        self._app: ASGIApp | None = None
        self._loading = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        headers = Headers(scope=scope)
        identity = echoed_request_id(headers) or self._services().ids.generation()
        head_only = scope["method"] == "HEAD"
        started = False

        async def sent(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                answer = MutableHeaders(scope=message)
                answer["x-request-id"] = identity
                answer["cache-control"] = _NO_STORE
            elif head_only:
                message = {**message, "body": b""}
            await send(message)

        asked = {**scope, "request_id": identity}
        if head_only:
            asked["method"] = "GET"
        try:
            app = self._app or await self._loaded()
            body = await _body(headers, receive)
            await app(asked, _again(body, receive), sent)
        except GatewayError as error:
            await _response(error)(asked, receive, sent)
        except Exception:  # noqa: BLE001 - whoever ends the request logs it once
            _log.exception("request %s failed inside the gateway", identity)
            if not started:
                await _response(masked(identity))(asked, receive, sent)

    async def _loaded(self) -> ASGIApp:
        async with self._loading:
            if self._app is None:
                self._app = await asyncio.to_thread(self._build)
        return self._app

    def _build(self) -> ASGIApp:
        from gateway.api.admin.app import Desk, application  # noqa: PLC0415 - see the top

        desk: Desk = Desk(self._services, self._office)
        return application(desk)


def routes(services: Callable[[], Services], office: Callable[[], Office]) -> list[BaseRoute]:
    """The administrative API and OpenRouter's key API, for the table of routes.

    Args:
        services: gives the parts of the running gateway.
        office: gives where administrative acts are done.
    """
    return [*account.routes(services, office), Mount(BASE, app=AdminApi(services, office))]


async def _body(headers: Headers, receive: Receive) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: it is over the limit.
    """
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def masked(identity: str) -> GatewayError:
    """What a caller is told of a fault of the gateway."""
    return GatewayError(
        f"the gateway failed to serve this request; its log has the reason under {identity}"
    )


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"a request to the administrative API has {MAX_BODY_BYTES} bytes at most; send less"
    )


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, and then what comes after it."""
    waiting = [body]

    async def read() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return read


def _response(error: GatewayError) -> Response:
    return Response(error_body(error), error.status, headers=error_headers(error))
