"""The adapter for endpoints that litellm speaks to."""

from itertools import count

from msgspec import structs
from typing_extensions import override

from backends.base import Backend, Reply
from backends.errors import Blame, ConnectFailed, ModelUnavailable, NoHost
from backends.litellm.process import LitellmWorker
from backends.values import Call, Endpoint

# Fields that an endpoint is not sent where litellm would refuse the request for them. The caller is told;
# without any other field an answer would not be the one that was asked for.
DROPPABLE = frozenset(
    {"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "logit_bias"}
    | {"logprobs", "top_logprobs", "parallel_tool_calls", "prompt_cache_key"}
)


class LitellmBackend(Backend):
    """Sends calls to the worker, which knows an endpoint by its id.

    Args:
        inner: the adapter for OpenAI's dialect, with litellm's quirks.
        worker: what it sends to.
    """

    def __init__(self, inner: Backend, worker: LitellmWorker) -> None:
        self._inner = inner
        self._worker = worker
        self._rows: dict[tuple[str, object], tuple[Endpoint, Endpoint]] = {}
        self._numbers = count()

    @override
    async def open(self, call: Call, endpoint: Endpoint, *, timeout: float) -> Reply:
        worker = self._worker
        if worker.away is not None:
            raise _away(worker.away)
        unknown = worker.unknown.get(endpoint.id)
        if unknown is None:
            raise ModelUnavailable(f"litellm knows no provider of {endpoint.model!r}")
        left_out = tuple([name for name in call.fields if name in unknown])
        if left_out:
            call = _without(left_out, call, endpoint)
        reply = await self._inner.open(call, self._local(endpoint), timeout=timeout)
        if left_out:
            reply.dropped += left_out
        return reply

    def _local(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint as the worker has it.

        Its key goes along with each request: an account may have several.
        """
        key = endpoint.id, endpoint.api_key
        known = self._rows.get(key)
        if known is None or known[0] is not endpoint:
            row = structs.replace(
                endpoint,
                id=f"{endpoint.id}#{next(self._numbers)}",  # the inner adapter remembers rows by id
                base_url=self._worker.base_url,
                model=endpoint.id,
                local=True,
                spare_keys=(),
            )
            known = self._rows[key] = endpoint, row
        return known[1]


def _without(names: tuple[str, ...], call: Call, endpoint: Endpoint) -> Call:
    """The call without some fields.

    Raises:
        NoHost: the answer would not be the one that was asked for.
    """
    if missing := [name for name in names if name not in DROPPABLE]:
        raise NoHost(f"litellm knows no {missing[0]!r} of {endpoint.model!r}")
    fields = {name: raw for name, raw in call.fields.items() if name not in names}
    return structs.replace(call, fields=fields)


def _away(why: str) -> ConnectFailed:
    """A failure that says nothing of the endpoint's health."""
    error = ConnectFailed(f"there is no litellm worker now: {why}")
    error.blame = Blame.GATEWAY
    error.sets_aside = "nothing"
    return error
