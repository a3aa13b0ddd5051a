"""From a chosen reply to the caller: piece by piece, or collected into one."""

import asyncio

from backends import BackendError, BadReply, Event, Piece, Text
from gateway.errors import AllAttemptsFailed
from gateway.flow.admit import Admission
from gateway.flow.answer import Answer
from gateway.flow.attempt import Chosen, Failure, describe
from gateway.values import Exchange

PROGRESS_INTERVAL = 1.0  # seconds between notes in the journal during a long answer
MAX_WHOLE = 33_554_432  # bytes of a collected answer: as much as one that comes whole may have


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
    most: int,
) -> None:
    """Relay a reply as it comes. A failure from here on is told inside the stream.

    `most`: pieces that the answer may have: what was held covers no more.
    """
    encoder = answer.dialect.new_stream(
        generation_id=answer.generation_id,
        created=created,
        model=model,
        provider=chosen.attempt.entry.candidate.endpoint.provider,
    )
    admission.encoder = answer.encoder = encoder
    admission.chosen = chosen
    progress = _Progress(admission)
    reply, events = chosen.reply, chosen.events

    def take(arrived: list[Event]) -> bool:
        """Relay events from within the upstream's callback; not while the caller is slow."""
        if exchange.congested or encoder.deltas > most:
            return False
        data = encoder.encode(arrived)
        if data:
            answer.stream(data)
        return True

    try:
        # Before the first piece goes out: should this process die, whatever came of it is charged.
        pieces = sum([type(e) is Text or (type(e) is Piece and e.meaningful) for e in events])
        if pieces and (noted := admission.note_progress(sending=pieces)) is not None:
            await noted
        while events:
            data = encoder.encode(events)
            if encoder.deltas > most:
                raise _over_cap(most)
            if data:
                answer.stream(data)
                if exchange.congested:
                    await exchange.drain()
            events = await reply.next(take)
        if encoder.fault is not None:
            raise encoder.fault
    except BackendError as error:
        await admission.broke_off(error, 200)
        answer.fail(_broken(chosen, error, answer, admission))
        return
    finally:
        progress.close()
    view = await admission.succeed()
    answer.end_stream(encoder.end(view if include_usage else None))


async def whole(
    chosen: Chosen, admission: Admission, answer: Answer, *, model: str, created: int, most: int
) -> None:
    """Collect a reply and send it in one piece. `most` as in `stream`."""
    encoder = answer.dialect.new_whole()
    admission.encoder = encoder
    admission.chosen = chosen
    reply, events = chosen.reply, chosen.events
    try:
        while events:
            encoder.add(events)
            if encoder.deltas > most:
                raise _over_cap(most)
            if encoder.size > MAX_WHOLE:
                raise BadReply(f"an answer of more than {MAX_WHOLE} bytes")
            events = await reply.next()
        encoder.check()
    except BackendError as error:
        failure = _broken(chosen, error, answer, admission)
        await admission.broke_off(error, failure.status)
        answer.fail(failure)
        return
    view = await admission.succeed()
    answer.whole(
        encoder.end(
            generation_id=answer.generation_id,
            created=created,
            model=model,
            provider=chosen.attempt.entry.candidate.endpoint.provider,
            view=view,
        )
    )


def _over_cap(most: int) -> BadReply:
    return BadReply(
        f"more than {most} pieces: the output cap was ignored",
        public="the provider wrote more than it was asked for",
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
        metadata={"attempts": [describe(failure) for failure in failures]},
    )
