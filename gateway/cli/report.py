"""`tidegate report`: spend, tokens, requests and latency, by whatever they are to be told apart."""

import json
import sys
from typing import TYPE_CHECKING, Final

import click

from gateway.cli.administration import data_option, with_database

if TYPE_CHECKING:
    from gateway.accounts.opening import Installation
    from gateway.reports.usage import Question, Report
    from gateway.store.database import Database

_PARTS: Final = 24  # of the course of a row
_FORMATS = ("table", "csv", "json")


@click.command("report")
@click.argument(
    "kind", type=click.Choice(["spend", "tokens", "requests", "latency"]), default="spend"
)
@click.option(
    "--by",
    metavar="GROUPS",
    default="team",
    show_default=True,
    help="What each row is for: up to four of team, key, member, model, provider, endpoint, hour, day,"
    ' week and month, with commas between; "" for totals only.',
)
@click.option(
    "--last", metavar="TIME", help="Such as 24h, 7d or 4w, up to now; 7d if nothing is said."
)
@click.option("--from", "begin", metavar="TIME", help="A day or an hour, UTC, as in 2027-01-31.")
@click.option("--to", "end", metavar="TIME", help="The same, exclusive; without it up to now.")
@click.option(
    "--only",
    metavar="GROUP=ID",
    multiple=True,
    help="Only what is of this one, such as model=moonshotai/kimi-k2.6; several of a group widen it.",
)
@click.option("--compare", is_flag=True, help="Say how it changed from the same time before.")
@click.option("--top", type=click.IntRange(1, 1000), default=20, show_default=True, help="Rows.")
@click.option("--sandbox", is_flag=True, help="Traffic to stand-ins, which is left out otherwise.")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="table", show_default=True)
@data_option
def report(
    *,
    kind: str,
    by: str,
    last: str | None,
    begin: str | None,
    end: str | None,
    only: tuple[str, ...],
    compare: bool,
    top: int,
    sandbox: bool,
    form: str,
    data: "Installation",
) -> None:
    """Tell what was used, and what it cost.

    What ended half a second ago is in it. Cost is what providers bill, charge what teams pay.
    """
    from gateway.reports import export, table, usage
    from gateway.reports.asking import filters, groups, window

    terminal = sys.stdout.isatty()

    async def work(database: "Database") -> "Report":
        from gateway.clock import SystemClock

        names = groups(by)
        timed = not {"hour", "day", "week", "month"}.isdisjoint(names)
        question: Question = usage.Question(
            window=window(SystemClock().now(), length=last, begin=begin, end=end),
            by=names,
            only=filters(only),
            sandbox=sandbox,
            sort=None if timed else table.SORT_OF[kind],
            top=top,
            compare=compare,
            slots=_PARTS if form == "table" and terminal and not timed else 0,
            times=kind == "latency" or form != "table",
        )
        return await usage.report(database, question)

    found = with_database(data, work)
    if form == "json":
        click.echo(json.dumps(export.body(found), indent=2))
    elif form == "csv":
        click.echo(export.csv_text(found), nl=False)
    elif not found.rows:
        click.echo(_nothing(found), err=True)
    else:
        click.echo(
            table.table(
                found,
                kind,
                plain=not terminal,
                strong=_strong if terminal else str,
            )
        )


def _strong(line: str) -> str:
    return click.style(line, bold=True)


def _nothing(found: "Report") -> str:
    from gateway.reports.windows import shown

    window = found.question.window
    more = "" if found.question.sandbox else "; --sandbox tells of stand-ins"
    return f"nothing reached a provider from {shown(window.begin)} to {shown(window.end)} that fits{more}"
