"""Checks of a price file: every fault in it at once, each with its line."""

import datetime as dt
import re
from collections.abc import Iterable

from msgspec import Struct

from pricing.catalogue import Catalogue, spellings
from pricing.errors import PriceDataError
from pricing.faults import Fault, Report, near
from pricing.plausible import Plausible
from pricing.price_checks import PER_MILLION, Row, check_currency, check_price, check_prices
from pricing.price_fields import (
    FILE,
    MODALITIES,
    MODEL,
    PRICE,
    REQUIRED,
    SURCHARGE,
    UNPRICED,
    Fields,
    day,
    form_fault,
)
from pricing.sources.document import Node, NotADocument, document
from pricing.sources.packaged import PACKAGED, SCHEMA, packaged_bytes, read

_ENDS = ("valid_from", "valid_to")


class _Interval(Struct, frozen=True, order=True):
    """The days of a row; an open end is the first or last day there is."""

    first: dt.date
    last: dt.date
    line: int
    where: str


def check_price_file(
    data: bytes, name: str, *, packaged: Catalogue | None, plausible: Plausible
) -> tuple[Fault, ...]:
    """The faults of a price file, in the order of its lines; never an exception for what it says.

    Args:
        data: the file, YAML or JSON.
        name: what it is called in messages; one that ends in `.json` must be JSON.
        packaged: the catalogue whose models the file may price beside its own; None for a file that
            stands alone.
        plausible: what prices are judged by.
    """
    report = Report(name)
    try:
        root = document(data, is_json=name.endswith(".json"))
    except NotADocument as error:
        report.add(error.line, "", str(error), "correct it there or before that line")
        return report.faults
    _File(report, packaged, plausible).check(root)
    return report.faults


def check_packaged(plausible: Plausible) -> tuple[Fault, ...]:
    """The faults of the price file that comes with the package, as `check_price_file` finds them."""
    data = packaged_bytes()
    name = f"pricing/{PACKAGED}"
    faults = check_price_file(data, name, packaged=None, plausible=plausible)
    if not any(fault.severity == "error" for fault in faults):
        try:
            read(data)
        except PriceDataError as error:
            report = Report(name)
            report.add(1, "", str(error), "the gateway would not start")
            faults += report.faults
    return faults


class _File:
    """One pass over one price file."""

    def __init__(self, report: Report, packaged: Catalogue | None, plausible: Plausible) -> None:
        self._report = report
        self._packaged = packaged
        self._plausible = plausible
        self._slugs = {facts.slug for facts in packaged.models()} if packaged else set()
        self._providers = {card.provider for card in packaged.cards} if packaged else set()
        self._named: dict[str, str] = {}  # spelling of a model's name to its slug
        self._intervals: dict[tuple[str, str, str], list[_Interval]] = {}
        self._unjudged: set[str] = set()  # currencies

    def check(self, root: Node) -> None:
        if root.kind != "mapping":
            self._report.add(
                root.line, "", "is not a price file", f'begin it with `schema: "{SCHEMA}"`'
            )
            return
        self._fields("", root, FILE, "")
        schema = root.fields.get("schema")
        if schema is not None and schema.text != SCHEMA:
            self._report.add(
                schema.line, "schema", f"{schema.text[:40]!r} is not known", f'write "{SCHEMA}"'
            )
        unit = root.fields.get("unit")
        if unit is not None and not re.search(r"1,?000,?000|million", unit.text.lower()):
            self._report.add(
                unit.line,
                "unit",
                f"{unit.text[:40]!r} is another unit",
                "state all token prices per million tokens",
            )
        for where, node in self._rows(root, "models"):
            self._model(where, node)
        searches: dict[tuple[str, str], int] = {}
        for where, node in self._rows(root, "surcharges"):
            self._surcharge(where, node, searches)
        for where, node in self._rows(root, "unpriced"):
            self._fields(where, node, UNPRICED, _subject(node))
        for where, node in self._rows(root, "prices"):
            self._price(where, node)
        self._overlaps()

    def _rows(self, root: Node, section: str) -> Iterable[tuple[str, Node]]:
        for at, node in enumerate(root.fields.get(section, root).items):
            where = f"{section}[{at}]"
            if node.kind == "mapping":
                yield where, node
            else:
                self._report.add(
                    node.line, where, "is not a row", "write it as a mapping of fields"
                )

    def _fields(self, where: str, node: Node, known: Fields, subject: str) -> None:
        """Tell of fields that are unknown, repeated, missing or of the wrong form."""
        prefix = f"{where}." if where else ""
        for name, line in node.repeated:
            self._report.add(
                line, f"{prefix}{name}", "is there more than once", "keep one", subject=subject
            )
        for name in REQUIRED[where.partition("[")[0]]:
            if name not in node.fields:
                self._report.add(node.line, f"{prefix}{name}", "is missing", "", subject=subject)
        for name, value in node.fields.items():
            if name not in known:
                wrong = "is not a field of a price file" if not where else "is no such field"
                advice = near(name, known) or f"fields are {', '.join(known)}"
                self._report.add(value.line, f"{prefix}{name}", wrong, advice, subject=subject)
            elif (fault := form_fault(value, known[name])) is not None:
                self._report.add(value.line, f"{prefix}{name}", *fault, subject=subject)

    def _model(self, where: str, node: Node) -> None:
        slug = node.fields["slug"].text if "slug" in node.fields else ""
        self._fields(where, node, MODEL, slug)
        for name in ("modalities", "aliases"):
            for item in node.fields.get(name, Node(line=1, kind="null")).items:
                if item.kind != "text" or not item.text:
                    wrong, advice = "holds what is no text", "put it in quotes"
                elif name == "modalities" and item.text not in MODALITIES:
                    wrong = f"{item.text[:40]!r} is not known"
                    advice = f"write {', '.join(MODALITIES)}"
                else:
                    continue
                self._report.add(item.line, f"{where}.{name}", wrong, advice, subject=slug)
        if not slug:
            return
        if slug in self._slugs:
            self._report.add(
                node.fields["slug"].line,
                f"{where}.slug",
                f"{slug!r} is a model already",
                "leave it out here; prices may name it",
            )
            return
        self._slugs.add(slug)
        named = [("slug", node.fields["slug"])]
        if "hf_id" in node.fields:
            named.append(("hf_id", node.fields["hf_id"]))
        if "aliases" in node.fields:
            named += [("aliases", item) for item in node.fields["aliases"].items]
        for field, spelt in named:
            self._name(where, field, spelt, slug)

    def _name(self, where: str, field: str, name: Node, slug: str) -> None:
        for spelling in spellings(name.text):
            there = self._packaged.resolve(spelling) if self._packaged else None
            other = there or self._named.setdefault(spelling, slug)
            if other != slug:
                self._report.add(
                    name.line,
                    f"{where}.{field}",
                    f"{name.text[:60]!r} already means {other}",
                    "one name can mean one model only",
                    subject=slug,
                )
                return

    def _surcharge(self, where: str, node: Node, searches: dict[tuple[str, str], int]) -> None:
        subject = _subject(node)
        self._fields(where, node, SURCHARGE, subject)
        currency, price = node.fields.get("currency"), node.fields.get("price")
        if currency is not None:
            check_currency(currency, f"{where}.currency", subject, self._report)
            key = (subject, currency.text)
            if key in searches:
                self._report.add(
                    node.line,
                    f"{where}.unit",
                    f"is a second price per search (the first is on line {searches[key]})",
                    "keep one for each provider and currency",
                    subject=subject,
                )
            searches.setdefault(key, node.line)
        if price is not None:
            row = Row(
                where=where,
                subject=subject,
                model="",
                currency=None,
                own=False,
                zero=None,
                zero_advice="",
            )
            check_price(price, "per_search", row, self._plausible, self._report, place="price")

    def _price(self, where: str, node: Node) -> None:
        subject = _subject(node)
        self._fields(where, node, PRICE, subject)
        texts = {name: value.text for name, value in node.fields.items()}
        currency = None
        if "currency" in node.fields:
            at = node.fields["currency"]
            currency = check_currency(at, f"{where}.currency", subject, self._report)
            self._judged(currency, at.line)
        if "model" in node.fields:
            self._known_model(where, node.fields["model"], subject)
        provider, free = texts.get("provider", ""), texts.get("tier") == "free"
        row = Row(
            where=where,
            subject=subject,
            model=texts.get("model", ""),
            currency=currency,
            own=self._packaged is not None and provider not in self._providers,
            zero=None if free else "error",
            zero_advice="if it costs nothing, say so with `tier: free`; if the price is not known,"
            " leave the row out",
        )
        check_prices(node, row, self._plausible, self._report)
        if free and any(re.search("[1-9]", texts.get(name, "")) for name in PER_MILLION):
            self._report.add(
                node.fields["tier"].line,
                f"{where}.tier",
                "is free, and there are prices above 0",
                "give the row the tier that it is sold in",
                subject=subject,
            )
        first, last = (day(node.fields.get(name)) for name in _ENDS)
        if first and last and last < first:
            self._report.add(
                node.fields["valid_to"].line,
                f"{where}.valid_to",
                f"{last} is before valid_from {first}",
                "both are UTC days and inclusive; are they swapped?",
                subject=subject,
            )
            return
        if any(day(node.fields[name]) is None for name in _ENDS if name in node.fields):
            return  # told already; which days are meant is not known
        key = (provider, texts.get("provider_model_id", ""), texts.get("tier", "standard"))
        interval = _Interval(first or dt.date.min, last or dt.date.max, node.line, where)
        self._intervals.setdefault(key, []).append(interval)

    def _judged(self, currency: str | None, line: int) -> None:
        if currency is None or currency in self._unjudged or self._plausible.knows(currency):
            return
        self._unjudged.add(currency)
        self._report.add(
            line,
            "currency",
            f"too few prices are known in {currency}",
            "whether those here are plausible was not checked",
            severity="warning",
        )

    def _known_model(self, where: str, node: Node, subject: str) -> None:
        if node.kind != "text" or node.text in self._slugs:
            return
        meant = self._named.get(node.text.lower())
        if meant is None and self._packaged is not None:
            meant = self._packaged.resolve(node.text)
        advice = f"write {meant}" if meant else near(node.text, self._slugs)
        wrong = "is not a canonical name" if meant else "is not a known model"
        self._report.add(
            node.line,
            f"{where}.model",
            f"{node.text[:60]!r} {wrong}",
            advice or "describe it under `models`",
            subject=subject,
        )

    def _overlaps(self) -> None:
        """Of the rows of one provider, model id and tier, no two may hold on the same day."""
        for (provider, model_id, tier), intervals in self._intervals.items():
            intervals.sort()
            latest = intervals[0]
            for interval in intervals[1:]:
                if interval.first <= latest.last:
                    self._report.add(
                        interval.line,
                        interval.where,
                        f"holds on the same days as {latest.where} on line {latest.line}",
                        "end the older one with valid_to, on the day before valid_from of the newer",
                        subject=f"{provider} {model_id}, {tier}",
                    )
                latest = max(latest, interval, key=lambda one: one.last)


def _subject(node: Node) -> str:
    named = (node.fields.get(name) for name in ("provider", "provider_model_id"))
    return " ".join(one.text[:80] for one in named if one is not None and one.text)
