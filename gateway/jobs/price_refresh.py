"""Taking prices over: what sources say is compared, small changes are taken, and others wait.

What changes the files of prices is under their lock, and in one transaction with its line in the audit log.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

from msgspec import Struct

from backends import KINDS
from gateway.accounts.office import Office
from gateway.accounts.roles import Actor
from gateway.errors import ConfigurationError
from gateway.jobs.price_fetch import LABELS, READERS, Failed, Fetched
from gateway.store.prices import ACCEPTED, WAITING, PriceFolder, Seen
from pricing import Catalogue, Listing, PriceDataError, load_packaged
from pricing.changes import (
    Change,
    begun,
    change_id,
    compare,
    costs_nothing,
    key_of,
    last_row,
    rank,
    taken,
)
from pricing.layers import layered
from pricing.plausible import Plausible
from pricing.sources.price_file import PriceFile, written
from pricing.sources.rows import Reading, Resolve

_ABOUT = {
    ACCEPTED: "Prices that were taken over from sources: see docs/guides/prices.md.",
    WAITING: "Prices that wait for `tidegate prices approve`; notes say why.",
}
_Noted = tuple[Listing, str | None]
# What a source answered: a body, None for no change, or why there is none.
Answer = Fetched | Failed | None


class Refreshed(Struct, frozen=True, kw_only=True):
    """What became of a refresh.

    Attributes:
        taken: changes that are in force now, or from the next day on.
        waiting: all that wait.
        told: what was not taken over, a line each.
        unchanged: sources that say what they said before.
        failed: why a source could not be had or read, by its name.
    """

    taken: tuple[Change, ...]
    waiting: tuple[Change, ...]
    told: tuple[str, ...]
    unchanged: tuple[str, ...]
    failed: Mapping[str, str]


def providers() -> frozenset[str]:
    """Those whose prices the gateway takes from the catalogue; other endpoints have theirs beside them."""
    return frozenset(kind.catalogue for kind in KINDS.values() if kind.catalogue)


def still_counts(folder: PriceFolder, source: str, url: str) -> Seen | None:
    """What a source said last, if it was compared with the prices that are in force now.

    Raises:
        ConfigurationError: a price file cannot be read.
    """
    seen = folder.seen().get(source)
    return seen if seen is not None and (seen.url, seen.basis) == (url, folder.basis()) else None


async def refresh(
    office: Office, actor: Actor, folder: PriceFolder, answers: Mapping[str, tuple[str, Answer]]
) -> Refreshed:
    """Take over what sources answered.

    Args:
        office: where it is recorded.
        actor: who does it.
        folder: the prices.
        answers: by source: its address and its answer.

    Raises:
        ConfigurationError: a price file is wrong or cannot be written; nothing is taken.
        Unavailable: the database cannot be used; code database_unavailable.
    """
    async with office.act(actor) as act:
        with folder.locked():
            now = dt.datetime.fromtimestamp(act.now_ms // 1000, dt.UTC)
            result, names = _taken_over(folder, answers, now)
        act.record(
            "prices.refresh",
            "prices",
            "catalogue",
            organisation_id=None,
            after={
                "sources": names,
                "taken": [_said(change.new) for change in result.taken],
                "waiting": [change.id for change in result.waiting],
            },
        )
    return result


def _taken_over(
    folder: PriceFolder, answers: Mapping[str, tuple[str, Answer]], now: dt.datetime
) -> tuple[Refreshed, list[str]]:
    current, today = folder.catalogue(), now.date()
    seen, basis = folder.seen(), folder.basis()
    readings: dict[str, Reading] = {}
    failed: dict[str, str] = {}
    unchanged: list[str] = []
    for source, (url, answer) in answers.items():
        known = seen.get(source)
        if isinstance(answer, Failed):
            failed[source] = str(answer)
        elif answer is None or (
            known is not None
            and (known.url, known.basis, known.sha256) == (url, basis, answer.sha256)
        ):
            unchanged.append(source)
        else:
            try:
                readings[source] = READERS[source](answer.body, today, _resolving(current))
            except PriceDataError as fault:
                failed[source] = str(fault)
    compared = compare(
        current,
        readings.values(),
        today=today,
        providers=providers(),
        plausible=Plausible(load_packaged().cards),
        pinned=folder.pinned(),
    )
    # What a source said before waits on, unless it was asked now: then it says so anew.
    asked = {LABELS[source] for source in readings}
    kept = {
        key_of(listing.card): (listing, note)
        for listing, note in _noted(folder.waiting())
        if listing.card.source not in asked
    }
    accepted = _noted(folder.accepted())
    done: list[Change] = []
    for change in compared.changes:
        key = key_of(change.new.card)
        before = kept.get(key)
        if before is not None and rank(before[0].card.source) < rank(change.new.card.source):
            continue  # one that knows better waits already
        if change.reasons:
            kept[key] = (change.new, "; ".join(change.reasons))
        else:
            kept.pop(key, None)
            accepted = taken(accepted, change.new, f"taken over at once on {today}")
            done.append(change)
    if readings:
        _write(folder, accepted, tuple(kept.values()))
        basis = folder.basis()
        for source in readings:
            url, answer = answers[source]
            if isinstance(answer, Fetched):
                seen[source] = Seen(
                    url=url,
                    etag=answer.etag,
                    last_modified=answer.last_modified,
                    sha256=answer.sha256,
                    basis=basis,
                    at=now.isoformat(),
                )
        folder.write_seen(seen)
    result = Refreshed(
        taken=tuple(done),
        waiting=waiting(folder, today),
        told=compared.told,
        unchanged=tuple(unchanged),
        failed=failed,
    )
    return result, sorted({*readings, *unchanged})


def waiting(folder: PriceFolder, today: dt.date) -> tuple[Change, ...]:
    """What waits, beside what is in force.

    Raises:
        ConfigurationError: a price file is wrong.
    """
    current = folder.catalogue()
    found = []
    for listing, note in _noted(folder.waiting()):
        old = last_row(current, listing.card, today)
        new = begun(listing, old, today)
        kind = "removed" if not new.offered else "added" if old is None else "changed"
        found.append(
            Change(kind=kind, old=old, new=new, reasons=tuple((note or "").split("; ")))  # type: ignore[arg-type]  # of literals
        )
    return tuple(found)


async def approve(
    office: Office, actor: Actor, folder: PriceFolder, ids: Sequence[str], *, everything: bool
) -> tuple[Change, ...]:
    """Put what waits in force, from today on.

    Args:
        office: where it is recorded.
        actor: who does it.
        folder: the prices.
        ids: names of changes that wait.
        everything: all of them instead, but for prices of zero: each of those has somebody say so.

    Raises:
        ConfigurationError: nothing of that name waits, or a price file is wrong or cannot be written. Then
            nothing is taken.
        Unavailable: the database cannot be used; code database_unavailable.
    """
    async with office.act(actor) as act:
        with folder.locked():
            today = dt.datetime.fromtimestamp(act.now_ms // 1000, dt.UTC).date()
            there = {change.id: change for change in waiting(folder, today)}
            if everything:
                ids = [name for name, one in there.items() if not costs_nothing(one.new)]
            if unknown := [name for name in ids if name not in there]:
                raise ConfigurationError(
                    [f"no price change called {unknown[0]!r} waits; {_those(there)}"]
                )
            accepted = _noted(folder.accepted())
            chosen = [there[name] for name in dict.fromkeys(ids)]
            for change in chosen:
                note = f"approved by {actor.name} on {today}: {'; '.join(change.reasons)}"
                accepted = taken(accepted, change.new, note)
            left = [one for one in _noted(folder.waiting()) if change_id(one[0]) not in ids]
            if chosen:
                _write(folder, accepted, left)
        for change in chosen:
            act.record(
                "prices.approve",
                "prices",
                change.id,
                organisation_id=None,
                before=None if change.old is None else _said(change.old),
                after=_said(change.new) | {"reasons": list(change.reasons)},
            )
    return tuple(chosen)


def _write(folder: PriceFolder, accepted: Sequence[_Noted], left: Sequence[_Noted]) -> None:
    """Write both files, the prices in force first: what waits and is in force is found again."""
    try:
        layered(load_packaged(), PriceFile(listings=tuple(listing for listing, _ in accepted)))
    except PriceDataError as fault:
        raise ConfigurationError([f"these prices cannot be taken over: {fault}"]) from None
    folder.write(ACCEPTED, written(accepted, _ABOUT[ACCEPTED]))
    folder.write(WAITING, written(left, _ABOUT[WAITING]))


def _noted(file: PriceFile) -> tuple[_Noted, ...]:
    return tuple(zip(file.listings, file.notes, strict=True))


def _resolving(current: Catalogue) -> Resolve:
    """What a provider calls a model, first by its own rows."""
    known = {(card.provider, card.provider_model_id): card.model for card in current.cards}

    def resolve(provider: str, name: str) -> str | None:
        return known.get((provider, name)) or current.resolve(name)

    return resolve


def _those(there: Mapping[str, Change]) -> str:
    return f"those that do: {', '.join(there)}" if there else "nothing does"


def _said(listing: Listing) -> dict[str, object]:
    """A row for the audit log."""
    card = listing.card
    fields = ("id", "provider", "provider_model_id", "tier", "currency", "input", "output")
    more = ("cache_read", "cache_write_5m", "cache_write_1h", "valid_from", "source")
    said: dict[str, object] = {name: getattr(card, name) for name in (*fields, *more)}
    return said | {"offered": listing.offered}
