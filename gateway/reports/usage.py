"""Who used what, and what it cost: exact, from sums by the hour and from what is in no sum yet.

A question → rows, one for each group and pair of currencies: amounts of two currencies are never added.
All is read in one snapshot of the database, and is equal to the sums over the ledger's entries in it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import FromClause, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import InvalidRequest
from gateway.reports import windows
from gateway.reports.names import members_of, names_of
from gateway.reports.windows import Window
from gateway.store.database import Database
from gateway.store.tables.roll_ups import (
    AMOUNTS,
    BOUNDS_MS,
    COUNTS,
    SPLIT,
    TIMES,
    histogram,
    roll_up_marks,
    roll_ups,
)
from gateway.usage.roll_ups import hour_sums, unsummed
from pricing import Money

COLUMNS: Final[Mapping[str, str]] = {
    "team": "team_id",
    "key": "key_id",
    "member": "key_id",
    "model": "model",
    "provider": "provider",
    "endpoint": "endpoint_id",
}
"""What can be grouped by and filtered for, by its column."""

GROUPS: Final = (*COLUMNS, *windows.PERIODS)
MOST_GROUPS: Final = 4
MOST_ROWS: Final = 1000
SORTS: Final = ("charge", "cost", "requests", "attempts", "failures", "tokens", "input", "output")
NOBODY: Final = "-"
"""The member of keys that are nobody's."""

_PAIR: Final = ("cost_currency", "charge_currency")
_MONEY: Final = tuple(f"{amount}_{half}" for amount in AMOUNTS for half in ("high", "low"))
_OF_TIMES: Final = tuple(
    name for time in TIMES for name in (f"{time}_count", f"{time}_ms", *histogram(time))
)


class Question(Struct, frozen=True, kw_only=True):
    """What a report is to tell.

    Attributes:
        window: over which hours.
        by: what each row is for, of `GROUPS`.
        only: by the name of a group, the ids of which one must be.
        organisation_id: whose; None: all of the installation.
        team_ids: of which teams at most; None: all.
        sandbox: whether it is of traffic to stand-ins, which no report mixes with other.
        sort: of `SORTS`, largest first; None: by time where that is among `by`, else by charge.
        top: rows for each pair of currencies; the others become one.
        compare: whether to tell the sums of the window before as well.
        slots: into how many parts of the window a row's series is cut; 0: no series.
        times: whether to tell times to first token and durations.
    """

    window: Window
    by: tuple[str, ...] = ()
    only: Mapping[str, frozenset[str]] = {}
    organisation_id: str | None = None
    team_ids: frozenset[str] | None = None
    sandbox: bool = False
    sort: str | None = None
    top: int = 100
    compare: bool = False
    slots: int = 0
    times: bool = True


class Sums(Struct, frozen=True):
    """What was used by one group; `counts` are those of `COUNTS`, and of times where asked for."""

    cost: Money
    charge: Money
    counts: Mapping[str, int]

    def count(self, name: str) -> int:
        """A sum of `SORTS` or of `COUNTS`; of money in picos."""
        if name in AMOUNTS:
            return self.cost.pico if name == "cost" else self.charge.pico
        if name == "tokens":
            return self.count("input") + self.counts["output"]
        if name == "input":
            return sum(
                self.counts[part]
                for part in ("fresh_input", "cache_read", "cache_write_5m", "cache_write_1h")
            )
        return self.counts[name]

    def quantile(self, time: str, share: float) -> int | None:
        """Milliseconds within which this share was; None: longer than the last bound, or none counted.

        It is the upper bound of the histogram's place in which the quantile is.
        """
        wanted, seen = share * self.counts[f"{time}_count"], 0
        for bound, column in zip(BOUNDS_MS, histogram(time), strict=False):
            seen += self.counts[column]
            if seen and seen >= wanted:
                return bound
        return None


class Row(Struct, frozen=True):
    """One group's sums.

    Attributes:
        group: by the names of `Question.by`; empty for totals, and for all others together.
        names: of those of them that have a name besides, for people.
        before: of the window before, where asked for.
        series: what it is sorted by (where by time: the charge), in equal parts of the window.
        merged: how many groups it stands for.
    """

    group: Mapping[str, str]
    names: Mapping[str, str]
    sums: Sums
    before: Sums | None = None
    series: tuple[int, ...] = ()
    merged: int = 1


class Report(Struct, frozen=True):
    """Rows, of each pair of currencies those of its others, and the totals."""

    question: Question
    rows: tuple[Row, ...]
    others: tuple[Row, ...]
    totals: tuple[Row, ...]


_Pair = tuple[str, str]
_Key = tuple[_Pair, tuple[str, ...]]


class _Tally:
    """Sums under way."""

    __slots__ = ("counts", "series")

    def __init__(self, slots: int) -> None:
        self.counts: dict[str, int] = {}
        self.series = [0] * slots

    def add(self, counts: Mapping[str, int]) -> None:
        own = self.counts
        for name, count in counts.items():
            own[name] = own.get(name, 0) + count

    def merge(self, other: "_Tally") -> None:
        self.add(other.counts)
        self.series = [a + b for a, b in zip(self.series, other.series, strict=True)]

    def sums(self, pair: _Pair) -> Sums:
        return _sums(self.counts, pair)


def checked(question: Question) -> Question:
    """The same, if it can be answered.

    Raises:
        InvalidRequest: code invalid_report, with what can be asked for.
    """
    unknown = [name for name in question.by if name not in GROUPS]
    if unknown or len(set(question.by)) != len(question.by) or len(question.by) > MOST_GROUPS:
        raise InvalidRequest(
            f"by must be up to {MOST_GROUPS} different ones of {', '.join(GROUPS)}"
            + (f", not {unknown[0][:40]!r}" if unknown else ""),
            code="invalid_report",
            param="by",
        )
    if question.sort is not None and question.sort not in SORTS:
        raise InvalidRequest(
            f"sort must be one of {', '.join(SORTS)}", code="invalid_report", param="sort"
        )
    if not 1 <= question.top <= MOST_ROWS:
        raise InvalidRequest(
            f"top must be from 1 to {MOST_ROWS}", code="invalid_report", param="top"
        )
    return question


async def report(database: Database, question: Question) -> Report:
    """Answer a question.

    Raises:
        InvalidRequest: as `checked`.
        Unavailable: the database cannot be used; code database_unavailable.
    """
    checked(question)
    async with database.reading() as connection:
        dialect = database.dialect
        found = await _tallies(connection, dialect, question, question.window, question.slots)
        before: dict[_Key, _Tally] = {}
        if question.compare:
            before = await _tallies(connection, dialect, question, question.window.before, 0)
        rows = _rows(question, found, before)
        shown = [row for part, _, _ in rows for row in part]
        names = await names_of(
            connection,
            {
                name: {row.group[name] for row in shown if name in row.group}
                for name in ("team", "key", "member")
            },
        )
    return Report(
        question,
        tuple(_named(row, names) for row in shown),
        tuple(rest for _, rest, _ in rows if rest is not None),
        tuple(total for _, _, total in rows),
    )


def _named(row: Row, names: Mapping[str, Mapping[str, str]]) -> Row:
    own = {
        name: names[name][ref]
        for name, ref in row.group.items()
        if name in names and ref in names[name]
    }
    return msgspec.structs.replace(row, names=own) if own else row


def _rows(
    question: Question, found: Mapping[_Key, _Tally], before: Mapping[_Key, _Tally]
) -> list[tuple[list[Row], Row | None, Row]]:
    """By pair of currencies its rows, those of all others as one, and their total."""
    by_time = question.sort is None and not set(windows.PERIODS).isdisjoint(question.by)
    # What was used before and no more is told too, where that is asked for; but times do not come back.
    keys = {*found} if set(windows.PERIODS) & {*question.by} else {*found, *before}
    made = []
    for pair in sorted({pair for pair, _ in (*found, *before)}):
        tallies = {
            group: found.get((pair, group)) or _empty(question)
            for one, group in keys
            if one == pair
        }
        if by_time:
            order = sorted(tallies)
        else:
            sort = question.sort or "charge"
            order = sorted(
                tallies,
                key=lambda one: (-tallies[one].sums(pair).count(sort), one),
            )
        earlier = {group: tally for (one, group), tally in before.items() if one == pair}
        top, rest = order[: question.top], order[question.top :]
        rows = [
            Row(
                dict(zip(question.by, group, strict=True)),
                {},
                tallies[group].sums(pair),
                earlier.get(group, _empty(question)).sums(pair) if question.compare else None,
                tuple(tallies[group].series),
            )
            for group in top
        ]
        others = _merged(question, pair, tallies, earlier, rest) if rest else None
        every = {**earlier, **tallies}
        made.append((rows, others, _merged(question, pair, tallies, earlier, every)))
    return made


def _merged(
    question: Question,
    pair: _Pair,
    tallies: Mapping[tuple[str, ...], _Tally],
    earlier: Mapping[tuple[str, ...], _Tally],
    groups: Iterable[tuple[str, ...]],
) -> Row:
    now, then, count = _empty(question), _empty(question), 0
    for group in groups:
        count += group in tallies
        if group in tallies:
            now.merge(tallies[group])
        if group in earlier:
            then.add(earlier[group].counts)
    return Row(
        {},
        {},
        now.sums(pair),
        then.sums(pair) if question.compare else None,
        tuple(now.series),
        count,
    )


def _empty(question: Question) -> _Tally:
    made = _Tally(question.slots)
    made.counts = dict.fromkeys(_summed(question), 0)
    return made


def _summed(question: Question) -> tuple[str, ...]:
    return (*COUNTS, *_MONEY, *(_OF_TIMES if question.times else ()))


def _sums(counts: Mapping[str, int], pair: _Pair) -> Sums:
    cost, charge = (
        Money(currency, counts[f"{amount}_high"] * SPLIT + counts[f"{amount}_low"])
        for amount, currency in zip(AMOUNTS, pair, strict=True)
    )
    return Sums(cost, charge, {name: n for name, n in counts.items() if name not in _MONEY})


async def _tallies(
    connection: AsyncConnection, dialect: str, question: Question, window: Window, slots: int
) -> dict[_Key, _Tally]:
    stretches = await unsummed(connection, window.begin, window.end)
    marked = select(roll_up_marks.c.hour)
    members: Mapping[str, str] = {}
    if "member" in question.by or "member" in question.only:
        members = await members_of(connection)
    found: dict[_Key, _Tally] = {}
    summed = _summed(question)
    sort = question.sort or "charge"
    sources: list[FromClause] = [roll_ups]
    sources += [hour_sums(stretch, dialect).subquery() for stretch in stretches]
    for source in sources:
        query, labels = _query(source, question, window, slots, members)
        if source is roll_ups:
            query = query.where(roll_ups.c.hour.not_in(marked))
        for row in await connection.execute(query):
            values = tuple(row)
            pair = (values[0], values[1])
            group = tuple(label(value) for label, value in zip(labels, values[3:], strict=False))
            counts = {
                name: int(count)
                for name, count in zip(summed, values[3 + len(labels) :], strict=True)
            }
            tally = found.get((pair, group))
            if tally is None:
                tally = found[pair, group] = _Tally(slots)
            tally.add(counts)
            if slots:
                tally.series[values[2]] += _sums(counts, pair).count(sort)
    return found


def _query(
    source: FromClause,
    question: Question,
    window: Window,
    slots: int,
    members: Mapping[str, str],
) -> tuple[Any, list[Callable[[Any], str]]]:
    """The sums of a source by group, and how each value of a group is called."""
    columns: list[Any] = [source.c[name] for name in _PAIR]
    length = window.end - window.begin
    # Numbers in the text, not as parameters: PostgreSQL would not see that it groups by the same.
    columns.append(
        literal_column(f"(hour - {window.begin}) * {slots} / {length}" if slots else "0")
    )
    labels: list[Callable[[Any], str]] = []
    for name in question.by:
        if name in COLUMNS:
            columns.append(source.c[COLUMNS[name]])
            labels.append(
                (lambda key: members.get(key, NOBODY)) if name == "member" else lambda value: value
            )
        else:
            columns.append(literal_column("hour + 0" if name == "hour" else "hour / 24"))
            labels.append(lambda number, name=name: windows.period_of(name, number))  # type: ignore[misc] # bound now
    grouped = [column for position, column in enumerate(columns) if position != 2 or slots]  # noqa: PLR2004 - the slot
    query = (
        select(*columns, *(func.sum(source.c[name]) for name in _summed(question)))
        .where(literal_column("hour") >= window.begin, literal_column("hour") < window.end)
        .where(source.c.sandbox.is_(question.sandbox))
        .group_by(*grouped)
    )
    if question.organisation_id is not None:
        query = query.where(source.c.organisation_id == question.organisation_id)
    if question.team_ids is not None:
        query = query.where(source.c.team_id.in_(question.team_ids))
    for name, wanted in question.only.items():
        allowed = wanted
        if name == "member":
            allowed = frozenset(key for key, member in members.items() if member in wanted)
        query = query.where(source.c[COLUMNS[name]].in_(allowed))
    return query, labels
