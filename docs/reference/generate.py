"""Writes the reference pages that the code itself can tell: settings, commands, failures and fields.

    .venv/bin/python docs/reference/generate.py

`tests/docs` fails while a page differs from what this would write.
"""  # noqa: INP001 - a script beside the pages that it writes

import collections.abc
import datetime as dt
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from inspect import getdoc
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import click
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from backends import KINDS
from backends.errors import BackendError, Blame, ContextLengthExceeded
from backends.openai_compat.failure_rows import SHARED
from backends.openai_compat.failures import Row
from gateway.cli import main
from gateway.flow.failures import STATUS
from gateway.settings import Settings
from gateway.settings_fields import OneOf

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # as a script it knows its folder only
from docs.reference.generate_admin import admin_page
from docs.reference.generate_fields import fields_page

FOLDER = Path(__file__).resolve().parent
_NOTE = "<!-- Written by docs/reference/generate.py: change the code and run it, not this page. -->"

_SETTINGS = """\
# Settings

{note}

`tidegate serve` reads `tidegate.yaml` in the folder it is started in, or the file that `--config` names.
All settings are checked before a port is opened: bad ones end the start with status 2 and one line for
each fault. `tidegate serve --check` does only that. SIGHUP has a running gateway read them again: see
[many processes](../guides/many-processes.md#change-settings) for what can change so.

- `${{NAME}}` in a value is replaced by the environment variable `NAME`; one that is not set is a fault.
- An environment variable `TIDEGATE_SECTION__FIELD` counts over the file, for instance
  `TIDEGATE_SERVER__PORT=9000`; `TIDEGATE_DATA` likewise for a setting without a section, and
  `TIDEGATE_UPSTREAM__TLS__CA_FILE` for one in a section within a section. What is in a list
  (`providers`, `endpoints`) cannot be set so. Any other variable that begins with `TIDEGATE_` is a fault,
  so that a misspelt one is not ignored.
- An unknown setting is a fault. Prices are strings: write `"0.60"`, with the quotes.
- Durations are seconds.

At least one of `providers` and `endpoints` must name something. Ready-made files are in
[examples/config](../../examples/config).
"""

_COMMANDS = """\
# Commands

{note}

`make run` and `make test` put the command at `.venv/bin/tidegate`. Results go to stdout, all else to
stderr. Each command takes `--help`; `tidegate --version` tells the version.

| exit status | meaning |
|--:|---|
| 0 | done; for a server, stopped cleanly by SIGTERM or Ctrl-C |
| 1 | refused or failed; the message says what to do |
| 2 | wrong usage, or settings that cannot be served: one line for each fault |

The administrative commands (`migrate`, `organisations`, `teams`, `keys`, `budgets`) work on the database in
the data folder, also while a gateway runs on it. A running gateway sees a change within `auth.max_age`,
15 seconds unless set.
"""


_FAILURES = """\
# Failures of providers

{note}

What a provider answers is put into one of the classes below, by its status, its machine-readable words and
the structure of its body, and by its text only where it gives nothing else. The class decides what happens:
whether another endpoint is tried, what is set aside, and what the caller reads if nothing was left to try
([errors](errors.md#the-providers-failed)).

- *Next endpoint*: whether the request goes on to another one. One whose context was too short is followed
  only by those with a longer one.
- *Caller reads*: the status and code if nothing else was left to try. A refused request keeps the
  provider's 413 or 422.
- *Sets aside*: what is not tried first for a while if it fails so again and again: the `endpoint`, or every
  endpoint of the `account`.
- *Next key*: whether another key of the same account is tried. Keys share the account's limits and money:
  only a key that is refused is worth replacing.
- *Whose*: `caller`, `account` (the gateway's own, at the provider), `provider` or `gateway`; only what is
  the provider's or the account's counts against an endpoint.

The wait that a provider asks for is read from `Retry-After-Ms`, `Retry-After` (seconds or a date), from
OpenRouter's `X-RateLimit-Reset` and `retry_after`, and from Moonshot's text; a day at most.
"""


def settings_page() -> str:
    """`settings.md`."""
    parts = [_SETTINGS.format(note=_NOTE)]
    parts += ["## Top level\n", _table(_rows(Settings))]
    for name, field in Settings.model_fields.items():
        model, many = _section(field)
        if model is not None:
            title = f"## `{name}`" + (f": a {many[0]}; of each entry" if many else "")
            parts += [f"{title}\n", f"{getdoc(model)}\n", _table(_rows(model))]
            parts += list(_nested(name + (many[1] if many else ""), model))
    return "\n".join(parts)


def _nested(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner, many = _section(field)
        if inner is not None:
            path = f"{prefix}.{name}" + (many[1] if many else "")
            yield f"### `{path}`\n"
            yield f"{getdoc(inner)}\n"
            yield _table(_rows(inner))
            yield from _nested(path, inner)


# What holds many sections, and how it is written behind the setting's name.
_MANY: Mapping[Any, tuple[str, str]] = {
    tuple: ("list", "[]"),
    collections.abc.Mapping: ("mapping", ".<name>"),
}


def _section(field: FieldInfo) -> tuple[type[BaseModel] | None, tuple[str, str] | None]:
    """The section that a field holds, if it does, and in what if there may be many."""
    kind = field.annotation
    many = _MANY.get(get_origin(kind))
    if many is not None:
        kind = get_args(kind)[-1] if many[0] == "mapping" else get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind, many
    return None, None


def _rows(model: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, field in model.model_fields.items():
        inner, many = _section(field)
        if inner is None:
            kind = _type(field.annotation, field.metadata)
            rows.append((f"`{name}`", kind, _default(field), field.description or ""))
        elif field.is_required():
            rows.append((f"`{name}`", "section", "required", field.description or "See below."))
        else:
            kind = f"{many[0]} of sections" if many else "section"
            rows.append((f"`{name}`", kind, "", field.description or "See below."))
    return rows


def _table(rows: Iterable[tuple[str, str, str, str]]) -> str:
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_NAMES: Mapping[Any, str] = {
    str: "string",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    Path: "path",
    SecretStr: "secret string",
    dt.date: "date",
}


def _type(kind: Any, metadata: Iterable[Any]) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    names = [item for item in _flat(metadata) if isinstance(item, OneOf)]
    if kind is str and names:
        return " or ".join(f"`{name}`" for name in names[0].names)
    if origin in {Union, types.UnionType}:
        return _type(next(arm for arm in inner if arm is not type(None)), metadata)
    if origin is typing.Annotated:
        return _type(inner[0], [*_flat(inner[1:]), *metadata])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin is collections.abc.Mapping:
        return f"mapping of names to {_type(inner[1], ())}s"
    if origin is tuple:
        return f"list of {_type(inner[0], ())}s"
    return _NAMES[kind] + _limits(_flat(metadata))


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _limits(metadata: Iterable[Any]) -> str:
    said = []
    for limit in metadata:
        if isinstance(limit, annotated_types.Gt):
            said.append(f"above {limit.gt}")
        elif isinstance(limit, annotated_types.Ge):
            said.append(f"from {limit.ge}")
        elif isinstance(limit, annotated_types.Le):
            said.append(f"up to {limit.le}")
        elif (pattern := getattr(limit, "pattern", None)) is not None:
            said.append(f"as `{pattern}`")
    return ", " + ", ".join(said) if said else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value in (None, (), ""):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def commands_page() -> str:
    """`commands.md`."""
    context = click.Context(main, info_name="tidegate")
    parts = [_COMMANDS.format(note=_NOTE)]
    for path, command in _commands(main, context, "tidegate"):
        parts += [f"## `{path}`\n", _prose(command.help or "") + "\n"]
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        if arguments:
            names = " ".join(argument.make_metavar(context) for argument in arguments)
            parts.append(f"    {path} [OPTIONS] {names}\n")
        options = [p for p in command.params if isinstance(p, click.Option)]
        if options:
            lines = ["| option | default | meaning |", "|---|---|---|"]
            lines += [_option(option, context) for option in options]
            parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _commands(
    command: click.Command, context: click.Context, path: str
) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        if inner is not None:
            yield from _commands(inner, context, f"{path} {name}")


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(block.split()) for block in text.split("\n\n"))


def _option(option: click.Option, context: click.Context) -> str:
    name = option.opts[0]
    takes = "" if option.is_flag else f" {option.make_metavar(context)}"
    default = "required" if option.required else ""
    if option.show_default and option.default is not None:
        default = f"`{option.default}`"
    return f"| {_cell(f'`{name}{takes}`')} | {default} | {_cell(option.help or '')} |"


def failures_page() -> str:
    """`failures.md`."""
    parts = [_FAILURES.format(note=_NOTE), "## Classes\n"]
    head = ("caller reads", "class", "next endpoint", "sets aside", "next key", "whose")
    parts.append(_grid(head, [_class(kind) for kind in _family(BackendError)]))
    columns = ("status", "words", "other signs", "class", "caller reads", "then", "known from")
    seen: dict[int, str] = {}
    for name, kind in KINDS.items():
        rules = kind.quirks.failures
        if (other := seen.setdefault(id(rules), name)) != name:
            parts.append(f"`{name}` fails as `{other}` does.\n")
            continue
        parts.append(f"## `{name}`\n")
        if rules.own:
            parts.append(_grid(columns, map(_failure, rules.own)))
        parts.append("Everything else: [the rows of all](#all-kinds).\n")
    parts += ["## All kinds\n", _grid(columns, map(_failure, SHARED))]
    return "\n".join(parts)


def _family(kind: type[BackendError]) -> Iterator[type[BackendError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _family(child)


def _class(kind: type[BackendError]) -> tuple[str, ...]:
    following = "yes" if kind.try_next else "no"
    if kind is ContextLengthExceeded:
        following = "with a longer context"
    key = "yes" if kind.next_key else "no"
    name = f"{kind.__name__}: {kind.public_default}"
    return (_read(kind), name, following, kind.sets_aside, key, kind.blame.value)


def _read(kind: type[BackendError]) -> str:
    """What a caller reads if it was the last."""
    status = 400 if kind.blame is Blame.CALLER else STATUS.get(kind.code, 502)
    return f"{status} `{kind.code}`"


def _failure(row: Row) -> tuple[str, ...]:
    signs = [f"`{member}`" for member in sorted(row.has)]
    signs += [f"text: “{piece}”" for piece in row.says]
    if row.lacks:
        signs.append(f"no `{row.lacks}`")
    if row.page:
        signs.append("a page, no JSON")
    if row.inside is not None:
        signs.append("inside a reply of 200" if row.inside else "not inside a reply of 200")
    status = ", ".join(map(str, sorted(row.status))) or "any"
    words = ", ".join(f"`{word}`" for word in sorted(row.words))
    kind = row.error
    then = ["next key"] * kind.next_key
    then.append("next endpoint" if kind.try_next else "no other is tried")
    if kind is ContextLengthExceeded:
        then = ["next endpoint with a longer context"]
    if kind.sets_aside != "nothing":
        then.append(f"{kind.sets_aside} set aside")
    seen = (status, words, "; ".join(signs))
    return (*seen, kind.__name__, _read(kind), ", ".join(then), row.source)


def _grid(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "commands.md": commands_page,
    "failures.md": failures_page,
    "fields.md": partial(fields_page, _NOTE),
    "admin-api.md": partial(admin_page, _NOTE),
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
