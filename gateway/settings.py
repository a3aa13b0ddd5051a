"""Settings: one typed tree, read from a file and the environment, checked at start, frozen after.

The file is `tidegate.yaml` (or what `--config` names). `${NAME}` in a value is replaced by that
environment variable. `TIDEGATE_SECTION__FIELD` overrides a field of a section. Every setting is
described in `docs/reference/settings.md`.
"""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from backends import KINDS, Origin, TlsFault
from gateway.errors import ConfigurationError
from gateway.settings_accounts import AccountSettings, accounts_of, refused_addresses
from gateway.settings_fields import Count, Seconds, Section
from gateway.settings_litellm import LitellmSettings
from gateway.settings_prices import PricesSettings
from gateway.settings_state import (
    AuthSettings,
    DatabaseSettings,
    JournalSettings,
    StateSettings,
)
from gateway.settings_upstream import (
    EndpointSettings,
    ProviderSettings,
    TlsSettings,
    UpstreamSettings,
)

_log = logging.getLogger(__name__)
PREFIX = "TIDEGATE_"
# Kubernetes gives every pod such variables for each Service, ours among them if it is so named.
_OF_KUBERNETES = re.compile(
    r"^TIDEGATE(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT|PORT)(_[A-Z0-9_]+)?$"
)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ServerSettings(Section):
    """Where the gateway listens, and what it takes from callers."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on; 0 picks a free one.")
    max_head_bytes: Count = Field(65_536, description="Size limit of a request's line and headers.")
    max_body_bytes: Count = Field(33_554_432, description="Size limit of a request's body.")
    head_timeout: Seconds = Field(
        10.0, description="Seconds in which a request's head must arrive."
    )
    body_timeout: Seconds = Field(
        30.0, description="Seconds without a byte after which an upload is given up."
    )
    write_timeout: Seconds = Field(
        60.0, description="Seconds for which a caller may read nothing of its answer."
    )
    keep_alive: Seconds = Field(75.0, description="Seconds an idle connection is kept open.")
    max_connections: Count = Field(
        10_000, description="Caller connections at a time; further ones are answered 503."
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Addresses or networks whose X-Forwarded-For the audit log believes."
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="Processes that serve; more than one needs `state.url`."
    )
    drain_delay: Annotated[float, Field(ge=0, le=3600)] = Field(
        0.0,
        description="Seconds between a stop and the first refused connection, for load balancers to see"
        " that `/readyz` says 503.",
    )
    drain_timeout: Seconds = Field(
        30.0, description="Seconds that running requests get to finish when the server is stopped."
    )


class RequestSettings(Section):
    """Limits that hold for every request."""

    total_timeout: Seconds = Field(
        900.0, description="Seconds for a request with all its attempts."
    )
    keep_alive_interval: Seconds = Field(
        10.0, description="Seconds of silence after which a streaming caller gets a comment."
    )
    max_attempts: Annotated[int, Field(ge=1, le=10)] = Field(
        4, description="Endpoints that one request may try."
    )


class Settings(Section):
    """The whole tree."""

    data: Path = Field(
        Path("tidegate-data"), description="Folder of the database, the journal and the pepper."
    )
    server: ServerSettings = ServerSettings()
    request: RequestSettings = RequestSettings()
    journal: JournalSettings = JournalSettings()
    auth: AuthSettings = AuthSettings()
    database: DatabaseSettings = DatabaseSettings()
    state: StateSettings = StateSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    litellm: LitellmSettings = LitellmSettings()
    prices: PricesSettings = PricesSettings()
    accounts: tuple[AccountSettings, ...] = Field(
        (), description="Accounts at providers that several blocks below share."
    )
    providers: tuple[ProviderSettings, ...] = Field((), description="Known providers to serve.")
    endpoints: tuple[EndpointSettings, ...] = Field((), description="Endpoints of your own.")

    @model_validator(mode="after")
    def _something_to_serve(self) -> "Settings":
        if not self.providers and not self.endpoints:
            raise ValueError("nothing to serve: name at least one of 'providers' or 'endpoints'")
        for what, names in (
            ("provider", [p.name or p.kind for p in self.providers]),
            ("endpoint id", [e.id for e in self.endpoints]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is there more than once")
        if self.server.workers > 1 and self.state.url is None:
            raise ValueError(
                "server.workers: more than one process needs counters that they share: set 'state.url' to"
                " a Redis or Valkey server, as in redis://127.0.0.1:6379/0"
            )
        self.tls_by_origin()
        self.account_of_rows()
        if refused := refused_addresses(self.rows()):
            raise ValueError("\n".join(refused))
        return self

    def rows(self) -> Mapping[str, ProviderSettings | EndpointSettings]:
        """Providers and endpoints by their places, such as `providers[0]`."""
        rows: dict[str, ProviderSettings | EndpointSettings] = {}
        rows.update((f"providers[{at}]", row) for at, row in enumerate(self.providers))
        rows.update((f"endpoints[{at}]", row) for at, row in enumerate(self.endpoints))
        return rows

    def account_of_rows(self) -> Mapping[str, AccountSettings]:
        """The account of each of `rows`, by the same places."""
        return accounts_of(self.accounts, self.rows())

    def tls_by_origin(self) -> Mapping[Origin, TlsSettings]:
        """The TLS settings of the upstreams that have their own."""
        found: dict[Origin, tuple[str, TlsSettings]] = {}
        for place, row in self.rows().items():
            where = f"{place}.tls"
            origin = Origin.of(row.address, local=row.is_local)
            if row.tls != TlsSettings() and origin.scheme != "https":
                raise ValueError(f"{where}: is of no use at an address that begins with http://")
            first = found.setdefault(origin, (where, row.tls))
            if first[1] != row.tls:
                raise ValueError(
                    f"{where}: must be the same as {first[0]}, which is of the same host and port:"
                    " they share connections"
                )
        return {origin: tls for origin, (_, tls) in found.items() if tls != TlsSettings()}


def load(
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read and check the settings.

    Args:
        path: the settings file; `tidegate.yaml` in this folder, if it is there, unless given.
        environment: variables to read; the process's own unless given.
        overrides: values that count over file and environment, by section and field.

    Raises:
        ConfigurationError: with one line for each fault, all of them.
    """
    variables = os.environ if environment is None else environment  # noqa: TID251 - the one reader
    faults: list[str] = []
    tree = _read(path, faults)
    readable = not faults
    tree = _substituted(tree, variables, "", faults)
    unset = {line.partition(":")[0] for line in faults}  # what they hold is not the file's fault
    _override(tree, variables, faults)
    for name, value in (overrides or {}).items():
        if isinstance(value, Mapping) and isinstance(tree.get(name), dict):
            tree[name].update(value)
        else:
            tree[name] = value
    if readable and faults:
        try:
            check(tree)
        except ConfigurationError as more:
            faults += [line for line in more.faults if line.partition(":")[0] not in unset]
    if faults:
        raise ConfigurationError(faults)
    settings = check(tree)
    if "proxy" not in settings.upstream.model_fields_set:
        _note_unused_proxy(variables)
    return settings


class Whereabouts(Section):
    """The sections of the settings that say where an installation is."""

    data: Path = Settings.model_fields["data"].default
    auth: AuthSettings = AuthSettings()
    database: DatabaseSettings = DatabaseSettings()
    state: StateSettings = StateSettings()
    prices: PricesSettings = PricesSettings()


class PricePlaces(Whereabouts):
    """Those, and how to get to hosts outside."""

    upstream: UpstreamSettings = UpstreamSettings()


_Sections = TypeVar("_Sections", bound=Whereabouts)


def load_whereabouts(
    path: Path | None = None, environment: Mapping[str, str] | None = None
) -> Whereabouts:
    """Read where an installation is, and nothing else: who administers needs no key of a provider.

    Args:
        path: the settings file; `tidegate.yaml` in this folder, if it is there, unless given.
        environment: variables to read; the process's own unless given.

    Raises:
        ConfigurationError: with one line for each fault of these sections.
    """
    return load_sections(Whereabouts, path, environment)


def load_sections(
    sections: type[_Sections],
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> _Sections:
    """Read some sections of the settings, and look at no other.

    Args:
        sections: which.
        path: the settings file; `tidegate.yaml` in this folder, if it is there, unless given.
        environment: variables to read; the process's own unless given.

    Raises:
        ConfigurationError: with one line for each fault of these sections.
    """
    variables = os.environ if environment is None else environment  # noqa: TID251 - the one reader
    faults: list[str] = []
    ours = sections.model_fields
    tree = {name: value for name, value in _read(path, faults).items() if name in ours}
    tree = _substituted(tree, variables, "", faults)
    _override(tree, variables, faults)
    if faults:
        raise ConfigurationError(faults)
    try:
        return sections.model_validate(
            {name: value for name, value in tree.items() if name in ours}
        )
    except ValidationError as error:
        raise ConfigurationError([_line(fault) for fault in error.errors()]) from None


def _note_unused_proxy(variables: Mapping[str, str]) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        if variables.get(name):
            _log.warning(
                "%s is set, but upstreams are reached directly: if they should not be, set"
                " 'upstream.proxy: ${%s}'; if they should, 'upstream.proxy: \"\"'",
                name,
                name,
            )
            return


def known_providers(environment: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Sections for the providers whose keys are in the environment, under their usual names."""
    variables = os.environ if environment is None else environment  # noqa: TID251 - the one reader
    return [
        {"kind": kind, "api_key": key}
        for kind, row in KINDS.items()
        if row.key_variable and row.catalogue and (key := variables.get(row.key_variable))
    ]


def check(tree: Mapping[str, Any]) -> Settings:
    """The settings that a tree of plain values means.

    Raises:
        ConfigurationError: with one line for each fault, all of them.
    """
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError([_line(fault) for fault in error.errors()]) from None


def _line(fault: Mapping[str, Any]) -> str:
    where = ""
    for part in fault["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    kind, message = fault["type"], str(fault["msg"]).removeprefix("Value error, ")
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, TlsFault):
        where, message = f"{where}.{cause.field}", cause.detail
    if kind == "extra_forbidden":
        message = "there is no such setting; see docs/reference/settings.md"
    elif kind == "missing":
        message = "is required"
    elif kind == "string_pattern_mismatch":
        message = f"{fault['input']!r} does not have the right form ({fault['ctx']['pattern']})"
    elif kind == "tuple_type":
        message = "must be a list"
    elif kind in {"model_type", "model_attributes_type"}:
        message = "must be a section with settings of its own"
    elif kind.startswith("date_"):
        message = "must be a date such as 2026-11-22"
    elif kind == "string_type" and isinstance(fault["input"], (int, float)):
        message = "put the value in quotes: it must be a string, not a number"
    return f"{where}: {message}" if where else message


def _read(path: Path | None, faults: list[str]) -> dict[str, Any]:
    if path is None:
        path = Path("tidegate.yaml")
        if not path.exists():
            return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{path}: cannot be read: {error}")
        return {}
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        faults.append(f"{path}:{place} not valid YAML: {getattr(error, 'problem', error)}")
        return {}
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(name, str) for name in tree):
        faults.append(f"{path}: must be a mapping of sections such as 'server:' and 'providers:'")
        return {}
    return tree


def _substituted(value: Any, variables: Mapping[str, str], where: str, faults: list[str]) -> Any:
    if isinstance(value, dict):
        return {
            name: _substituted(inner, variables, f"{where}.{name}".lstrip("."), faults)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [
            _substituted(inner, variables, f"{where}[{position}]", faults)
            for position, inner in enumerate(value)
        ]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        found = variables.get(match[1])
        if found is None:
            faults.append(f"{where}: the environment variable {match[1]} is not set")
            return ""
        return found

    return _VARIABLE.sub(replaced, value)


def _override(tree: dict[str, Any], variables: Mapping[str, str], faults: list[str]) -> None:
    for variable in sorted(variables):
        if not variable.startswith(PREFIX) or _OF_KUBERNETES.search(variable):
            continue
        *sections, field = variable.removeprefix(PREFIX).lower().split("__")
        top = (sections or [field])[0]
        if top not in Settings.model_fields:
            faults.append(f"{variable}: there is no setting {top!r}")
            continue
        inner: Any = tree
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                faults.append(f"{variable}: {section!r} is not a section")
                break
        else:
            inner[field] = variables[variable]
