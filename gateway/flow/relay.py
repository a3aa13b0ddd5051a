"""From a chosen reply to the caller: piece by piece, or collected into one."""

import asyncio
from collections.abc import Sequence

from backends import BackendError, BadReply, Event, Piece, Text
from gateway.errors import AllAttemptsFailed
from gateway.exchange import Exchange
from gateway.flow.admit import Admission
from gateway.flow.answer import Answer
from gateway.flow.attempt import MAX_WHOLE, Chosen, over_cap
from gateway.flow.dialects import StreamEncoder
from gateway.flow.failures import Failure, as_openrouter, describe
from gateway.flow.tools import NO_TOOLS

_REASONING = frozenset({"reasoning", "reasoning_details"})  # members of a delta
PROGRESS_INTERVAL = 1.0  # seconds between notes in the journal during a long answer


class _Progress:
    """Notes each second how far an answer has come, until it is closed."""

    __slots__ = ("_admission", "_loop", "_timer")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(PROGRESS_INTERVAL, self._tick)

    def _tick(self) -> None:
        self._admission.note_progress()
        self._timer = self._loop.call_later(PROGRESS_INTERVAL, self._tick)

    def close(self) -> None:
        self._timer.cancel()


async def stream(
    chosen: Chosen,
    admission: Admission,
    exchange: Exchange,
    answer: Answer,
    *,
    model: str,
    created: int,
    include_usage: bool,
    exclude: bool,
    most: int,
) -> None:
    """Relay a reply as it comes. A failure from here on is told inside the stream.

    `exclude`: send none of its reasoning, which is charged all the same.
    `most`: pieces that the answer may have: what was held covers no more.
    """
    encoder = answer.dialect.new_stream(
        generation_id=answer.generation_id,
        created=created,
        model=model,
        provider=chosen.attempt.entry.candidate.endpoint.provider,
        exclude=exclude,
    )
    admission.encoder = answer.encoder = encoder
    admission.chosen = chosen
    progress = _Progress(admission)
    reply, events = chosen.reply, chosen.events
    searches = admission.walker.heard.searches

    def take(arrived: list[Event]) -> bool:
        """Relay events from within the upstream's callback; not while the caller is slow."""
        if exchange.congested or encoder.deltas > most or encoder.size > MAX_WHOLE:
            return False
        if searches is not None and searches.grows_by(arrived):
            return False  # its fee is noted first
        if exclude and not encoder.told and _visible(arrived, exclude=True):
            return False  # so is the first piece that is not left out
        data = encoder.encode(arrived)
        if data:
            answer.stream(data)
        return True

    try:
        await _note_first(events, admission, exclude=exclude)
        while events:
            data = encoder.encode(events)
            _require_bounds(encoder, most)
            if data:
                answer.stream(data)
                if exchange.congested:
                    await exchange.drain()
            events = await reply.next(take)
            if exclude or searches is not None:
                await _note_more(events, admission, encoder, exclude=exclude)
        if encoder.fault is not None:
            raise encoder.fault
    except BackendError as error:
        admission.walker.hush(error)
        await admission.broke_off(error, 200)
        answer.fail(_broken(chosen, error, answer, admission))
        return
    finally:
        progress.close()
    if encoder.tool_deltas:
        answer.note_tools(admission.look_at_tools(encoder))
    view = await admission.succeed()
    answer.end_stream(encoder.end(view if include_usage else None, answer.notes))


def _require_bounds(encoder: StreamEncoder, most: int) -> None:
    if encoder.deltas > most:
        raise over_cap(most)
    if encoder.size > MAX_WHOLE:
        raise BadReply(f"an answer of more than {MAX_WHOLE} bytes")


async def _note_first(events: Sequence[Event], admission: Admission, *, exclude: bool) -> None:
    """Before the first piece goes out: should this process die, whatever came of it is charged.

    Raises:
        BadReply: there are more web searches in it than are held for.
    """
    if (searches := admission.walker.heard.searches) is not None:
        searches.pass_on(events)
    if pieces := _visible(events, exclude=exclude):
        await _note(admission, pieces)


async def _note_more(
    events: Sequence[Event], admission: Admission, encoder: StreamEncoder, *, exclude: bool
) -> None:
    """The same for what comes later: fees of searches, and the first piece after unwanted reasoning.

    Raises:
        BadReply: as in `_note_first`.
    """
    searches = admission.walker.heard.searches
    if searches is not None and searches.pass_on(events):
        await _note(admission, 1)
    if exclude and not encoder.told and (pieces := _visible(events, exclude=True)):
        await _note(admission, encoder.deltas + pieces)


def _visible(events: Sequence[Event], *, exclude: bool) -> int:
    """The pieces of an answer that a caller sees, who may want to see no reasoning."""
    return sum(
        [
            not (exclude and event.reasoning)
            if isinstance(event, Text)
            else isinstance(event, Piece)
            and event.meaningful
            and not (exclude and event.delta.keys() <= _REASONING)
            for event in events
        ]
    )


async def _note(admission: Admission, sending: int) -> None:
    if (noted := admission.note_progress(sending=sending)) is not None:
        await noted


async def whole(
    chosen: Chosen,
    admission: Admission,
    answer: Answer,
    *,
    model: str,
    created: int,
    exclude: bool,
) -> None:
    """Send a reply that is complete in one piece. `exclude` as in `stream`."""
    encoder = answer.dialect.new_whole(exclude=exclude)
    admission.encoder = encoder
    admission.chosen = chosen
    try:
        encoder.add(chosen.events)
        encoder.check()
    except BackendError as error:
        admission.walker.hush(error)
        failure = _broken(chosen, error, answer, admission)
        await admission.broke_off(error, failure.status)
        answer.fail(failure)
        return
    if chosen.tools is not NO_TOOLS:
        admission.tools = chosen.tools
        answer.note_tools(chosen.tools.findings)
    view = await admission.succeed()
    answer.whole(
        encoder.end(
            generation_id=answer.generation_id,
            created=created,
            model=model,
            provider=chosen.attempt.entry.candidate.endpoint.provider,
            view=view,
            notes=answer.notes,
        )
    )


def _broken(
    chosen: Chosen, error: BackendError, answer: Answer, admission: Admission
) -> AllAttemptsFailed:
    provider = chosen.attempt.entry.candidate.endpoint.provider
    failures = [*admission.walker.failures, Failure(chosen.attempt, error, 0.0)]
    kept = "what was sent of it is charged" if answer.streaming else "it is not charged"
    return AllAttemptsFailed(
        f"the answer broke off at {provider}: {error.public}; {kept}",
        code=error.code,
        metadata={"attempts": [describe(failure) for failure in failures]}
        | as_openrouter(failures[-1], failures),
    )
