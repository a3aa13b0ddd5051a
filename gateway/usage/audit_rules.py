"""What must be true of the entries of a request, and of the rate cards that they name. Pure.

A rule that is broken becomes a `Fault`: what is said, what it should be, and what to do about it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import astuple

from gateway.usage.reported import stated_pico
from gateway.values import Result
from pricing import Money, PricingError, Quantities, RateCard, total_pico
from pricing import rate_card as made_card

RESTORE = (
    "rows of the ledger are never changed: somebody did it by hand; restore it from a backup, or from the"
    " journal"
)
CORRECT = "book the difference with a correction, once it is known which of the two is right"


class Fault(Struct, frozen=True):
    """A rule that is broken.

    Attributes:
        rule: its name.
        about: what breaks it: the id of an entry, of a generation or of a card, or the name of a file.
        says: what is found there.
        should: what it should be.
        to_do: what to do.
    """

    rule: str
    about: str
    says: str
    should: str
    to_do: str = RESTORE

    @property
    def line(self) -> str:
        """All of it, for people."""
        return f"{self.about}: {self.rule}: {self.says}; {self.should}. To do: {self.to_do}"


class Repeated(Struct, frozen=True):
    """What an entry repeats of its generation."""

    organisation_id: str
    team_id: str
    key_id: str
    model: str
    created_ms: int
    sandbox: bool


class Entry(Struct, frozen=True):
    """A row of `ledger_entries`, as far as rules look at it; `repeated` in the order of `Repeated`."""

    id: str
    generation_id: str
    ordinal: int
    repeated: Repeated
    rate_card_id: str
    result: str
    ttft_ms: int | None
    quantities: Quantities
    reasoning_tokens: int
    cost: Money
    charge: Money
    reported_cost: str | None
    cost_basis: str | None
    corrects: str | None


class Request(Struct, frozen=True):
    """A row of `generations`, likewise."""

    result: str
    repeated: Repeated


def card_faults(card_id: str, card: RateCard) -> Iterator[Fault]:
    """What is wrong with a card that is stored under `card_id`."""
    fields = {name: getattr(card, name) for name in card.__struct_fields__ if name != "id"}
    try:
        made = made_card(**fields).id
    except ValueError as wrong:
        made = str(wrong)
    if not card_id == card.id == made:
        yield Fault(
            "rate card",
            card_id,
            f"its content is that of {card.id}, whose prices make the id {made}",
            "prices under an id never change",
        )


def generation_faults(
    generation_id: str,
    request: Request | None,
    entries: Sequence[Entry],
    cards: Mapping[str, RateCard],
) -> Iterator[Fault]:
    """What is wrong with the entries of one generation.

    Args:
        generation_id: which one.
        request: its row; None where there is none.
        entries: all of its rows, corrections too, in any order.
        cards: those of the ledger that could be read, by id.
    """
    if request is None:
        yield Fault(
            "generation",
            generation_id,
            f"{len(entries)} entries name it, and there is no such generation",
            "each entry belongs to a generation",
        )
    attempts = sorted(
        (entry for entry in entries if entry.corrects is None), key=lambda entry: entry.ordinal
    )
    for entry in entries:
        if request is not None:
            yield from _repeated_faults(entry, request)
        yield from _price_faults(entry, cards)
    for entry in attempts:
        yield from _count_faults(entry)
        yield from _charge_faults(entry)
    yield from _ordinal_faults(generation_id, request, attempts)
    charged = [entry.id for entry in attempts if entry.charge.pico]
    if len(charged) > 1:
        yield Fault(
            "charged once",
            generation_id,
            f"{' and '.join(charged)} are charged",
            "at most one attempt of a request reaches the caller",
            CORRECT,
        )
    yield from _correction_faults(entries)


def _repeated_faults(entry: Entry, request: Request) -> Iterator[Fault]:
    if entry.repeated == request.repeated:
        return
    for name in Repeated.__struct_fields__:
        own, whole = getattr(entry.repeated, name), getattr(request.repeated, name)
        if own != whole:
            yield Fault(
                "repeated",
                entry.id,
                f"{name} is {own!r}",
                f"its generation has {whole!r}",
            )


def _count_faults(entry: Entry) -> Iterator[Fault]:
    quantities = entry.quantities
    if min(entry.reasoning_tokens, *astuple(quantities)) < 0:
        counts = {name: getattr(quantities, name) for name in quantities.__struct_fields__}
        for name, count in (counts | {"reasoning_tokens": entry.reasoning_tokens}).items():
            if count < 0:
                yield Fault(
                    "counts", entry.id, f"{name} is {count}", "no count is below zero", CORRECT
                )
    if entry.reasoning_tokens > quantities.output:
        yield Fault(
            "counts",
            entry.id,
            f"reasoning_tokens is {entry.reasoning_tokens}",
            f"it is a part of output, which is {quantities.output}",
            CORRECT,
        )


def _price_faults(entry: Entry, cards: Mapping[str, RateCard]) -> Iterator[Fault]:
    """Of its card, its currencies and its cost; of a correction, all but the cost."""
    if entry.cost.currency != entry.charge.currency:
        yield Fault(
            "currency",
            entry.id,
            f"cost is in {entry.cost.currency}, charge in {entry.charge.currency}",
            "both are in the currency of the rate card",
        )
    card = cards.get(entry.rate_card_id)
    if card is None:
        yield Fault(
            "rate card",
            entry.id,
            f"it names the rate card {entry.rate_card_id}, which is not in the ledger, or not legible",
            "the prices of each entry are kept beside it",
            "bring the card back from a backup, the journal or rejected.ndjson",
        )
        return
    if entry.cost.currency != card.currency:
        yield Fault(
            "currency",
            entry.id,
            f"cost is in {entry.cost.currency}",
            f"its rate card {card.id} is in {card.currency}",
        )
    if entry.corrects is None:
        yield from _cost_faults(entry, card)


def _cost_faults(entry: Entry, card: RateCard) -> Iterator[Fault]:
    by_card: int | None
    try:
        by_card = total_pico(entry.quantities, card)
    except PricingError:
        by_card = None  # searches, and no price for them
    stated = None if entry.reported_cost is None else stated_pico(entry.reported_cost)
    match entry.cost_basis:
        case "rate_card":
            right = {by_card: f"its counts by rate card {card.id}"}
        case "provider_reported":
            right = {stated: f"what the provider stated ({entry.reported_cost})"}
        case None:  # from before it was said: either
            right = {
                by_card: f"its counts by rate card {card.id}",
                stated: "what the provider stated",
            }
        case other:
            yield Fault(
                "cost basis", entry.id, f"cost_basis is {other!r}", "rate_card or provider_reported"
            )
            return
    if entry.cost.pico not in right:
        shown = " or ".join(
            f"{Money(card.currency, pico) if pico is not None else 'no amount'} ({what})"
            for pico, what in right.items()
        )
        yield Fault("cost", entry.id, f"cost is {entry.cost}", f"it should be {shown}", CORRECT)


def _charge_faults(entry: Entry) -> Iterator[Fault]:
    if entry.charge.pico not in {0, entry.cost.pico}:
        yield Fault(
            "charge",
            entry.id,
            f"charge is {entry.charge}",
            f"it should be the cost, {entry.cost}, or nothing",
            CORRECT,
        )
    elif entry.charge.pico and entry.ttft_ms is None:
        yield Fault(
            "charge",
            entry.id,
            f"{entry.charge} is charged for an attempt that ended as {entry.result} before its first token",
            "what delivered nothing is never charged",
            CORRECT,
        )


def _ordinal_faults(
    generation_id: str, request: Request | None, attempts: Sequence[Entry]
) -> Iterator[Fault]:
    for entry in attempts:
        if entry.id != f"{generation_id}-{entry.ordinal}":
            yield Fault(
                "id",
                entry.id,
                f"it is attempt {entry.ordinal} of {generation_id}",
                f"its id should be {generation_id}-{entry.ordinal}",
            )
    ordinals = [entry.ordinal for entry in attempts]
    # Of a request that its process died over, only the attempts are known that its journal tells of.
    aborted = request is not None and request.result == Result.ABORTED
    whole = list(range(1, len(ordinals) + 1))
    if ordinals != whole and not (aborted and len(set(ordinals)) == len(ordinals)):
        yield Fault(
            "ordinals",
            generation_id,
            f"its attempts are {_listed(ordinals)}",
            f"they should be {_listed(whole)}: an entry is missing, or too many",
        )


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _correction_faults(entries: Sequence[Entry]) -> Iterator[Fault]:
    by_id = {entry.id: entry for entry in entries}
    sums: dict[str, tuple[int, int]] = {}
    for entry in entries:
        if entry.corrects is None:
            continue
        corrected = by_id.get(entry.corrects)
        if corrected is None or corrected.corrects is not None:
            yield Fault(
                "correction",
                entry.id,
                f"it corrects {entry.corrects}, which is no attempt of {entry.generation_id}",
                "a correction names an attempt of its own generation",
            )
            continue
        if entry.cost.currency != corrected.cost.currency:
            yield Fault(
                "correction",
                entry.id,
                f"it is in {entry.cost.currency}",
                f"{corrected.id}, which it corrects, is in {corrected.cost.currency}",
            )
            continue
        cost, charge = sums.get(corrected.id, (corrected.cost.pico, corrected.charge.pico))
        sums[corrected.id] = cost + entry.cost.pico, charge + entry.charge.pico
    for name, (cost, charge) in sums.items():
        currency = by_id[name].cost.currency
        for what, pico in (("cost", cost), ("charge", charge)):
            if pico < 0:
                yield Fault(
                    "correction",
                    name,
                    f"with its corrections its {what} is {Money(currency, pico)}",
                    "no amount is below zero once it is corrected",
                    CORRECT,
                )
