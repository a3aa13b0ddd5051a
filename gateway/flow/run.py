"""The life of a request, in seven steps.

1 authenticate   who calls: before the upload is even read
2 parse          bytes to a request
3 plan           where it may go
4 admit          hold what it may cost
5 attempt        the first endpoint that answers
6 relay          its answer to the caller
7 settle         exact cost, journal, hold: on leaving the admission, however that happens
"""

import asyncio
import logging

from gateway.auth.header import one_key
from gateway.errors import GatewayError, InvalidRequest, Unavailable
from gateway.exchange import Exchange
from gateway.flow import hops, relay
from gateway.flow.admit import Admission
from gateway.flow.answer import Answer
from gateway.flow.attempt import most_pieces
from gateway.flow.completing import completed
from gateway.flow.dialects import Dialect
from gateway.flow.planning import plan_of
from gateway.flow.settle import Ticket
from gateway.flow.terms import TermsOfPlans
from gateway.services import Services
from gateway.telemetry import metrics
from gateway.telemetry.logs import places
from gateway.wire.presets import MARK

_log = logging.getLogger(__name__)


class ChatFlow:
    """Serves chat in one dialect."""

    def __init__(self, services: Services, dialect: Dialect) -> None:
        self._services = services
        self._dialect = dialect
        self._terms = TermsOfPlans()

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request. Never raises but for cancellation."""
        services = self._services
        arrived = services.clock.monotonic()
        created_ms = int(services.clock.now() * 1000)
        answer = Answer(exchange, self._dialect, services.ids.generation())
        try:
            await self._serve(exchange, answer, arrived, created_ms)
        except GatewayError as error:
            self._refuse(exchange, answer, error)
        except asyncio.CancelledError:
            answer.stop()
            if not exchange.gone:
                stopping = Unavailable(
                    "the gateway is shutting down; send the request again",
                    code="shutting_down",
                    retry_after=1.0,
                )
                answer.fail(stopping)
            raise
        except Exception as reason:  # noqa: BLE001 - whatever it is, the caller gets an answer and the log the reason
            # No traceback: it has messages, which may quote the request.
            _log.error(
                "request %s failed inside the gateway: %s", answer.generation_id, places(reason)
            )
            fault = GatewayError(
                f"the gateway failed to serve this request; its log has the reason under"
                f" {answer.generation_id}"
            )
            self._refuse(exchange, answer, fault)

    def _refuse(self, exchange: Exchange, answer: Answer, error: GatewayError) -> None:
        labels = (("api", self._dialect.api), ("code", error.code), ("status", str(error.status)))
        self._services.metrics.add(metrics.ERRORS, labels)
        answer.stop()
        if not exchange.gone:
            answer.fail(error)

    async def _serve(
        self, exchange: Exchange, answer: Answer, arrived: float, created_ms: int
    ) -> None:
        services, dialect = self._services, self._dialect
        head = exchange.head
        authorization = head.header(b"authorization")
        if dialect.api_key_header:
            authorization = one_key(authorization, head.header(b"x-api-key"))
        principal = services.keys.lookup(authorization)
        if principal is None:
            principal = await services.keys.authenticate(authorization)

        came_via = hops.via(head, services.instance)
        if (encoding := head.header(b"content-encoding")) is not None:
            _refuse_compressed(encoding)
        request = dialect.parse(await exchange.body())

        if not request.model or request.preset is not None or MARK in request.model:
            request = completed(request, principal)
        planned = plan_of(services, request, principal, dialect)

        ticket = Ticket(
            generation_id=answer.generation_id,
            request_id=answer.request_id,
            api=dialect.api,
            principal=principal,
            request=request,
            plan=planned,
            arrived=arrived,
            created_ms=created_ms,
            terms=self._terms.of(planned),
        )
        limits = services.settings.request
        async with Admission(services, exchange, ticket, answer) as admission:
            if request.stream:
                answer.keep_alive(limits.keep_alive_interval)
            chosen = await admission.walker.walk(
                request,
                planned,
                principal=principal,
                request_id=answer.generation_id,
                deadline=arrived + limits.total_timeout,
                via=came_via,
            )
            answer.describe(chosen, request.dropped)
            created = created_ms // 1000
            if request.stream:
                await relay.stream(
                    chosen,
                    admission,
                    exchange,
                    answer,
                    model=planned.model,
                    created=created,
                    include_usage=request.include_usage,
                    exclude=request.mode.exclude,
                    most=most_pieces(chosen.attempt.entry.candidate, request),
                )
            else:
                await relay.whole(
                    chosen,
                    admission,
                    answer,
                    model=planned.model,
                    created=created,
                    exclude=request.mode.exclude,
                )


def _refuse_compressed(encoding: bytes) -> None:
    if encoding.lower() != b"identity":
        raise InvalidRequest(
            "compressed request bodies are not taken; send the JSON as it is",
            code="invalid_content_encoding",
            status=415,
        )
