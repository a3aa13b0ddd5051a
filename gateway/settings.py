"""Settings: one typed tree, read from a file and the environment, checked at start, frozen after.

The file is `tidegate.yaml` (or what `--config` names). `${NAME}` in a value is replaced by that
environment variable. `TIDEGATE_SECTION__FIELD` overrides a field of a section. Every setting is
described in `docs/reference/settings.md`.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from backends import KINDS
from gateway.errors import ConfigurationError

PREFIX = "TIDEGATE_"
# Kubernetes gives every pod such variables for each Service, ours among them if it is so named.
_OF_KUBERNETES = re.compile(
    r"^TIDEGATE(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT|PORT)(_[A-Z0-9_]+)?$"
)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(gt=0)]
Price = Annotated[str, Field(pattern=r"^\d+(\.\d{1,6})?$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
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
    drain_timeout: Seconds = Field(
        30.0, description="Seconds that running requests get to finish when the server is stopped."
    )


class RequestSettings(_Section):
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


class JournalSettings(_Section):
    """How the record of what was spent is kept safe until it is in the database."""

    sync: Literal["group", "always"] = Field(
        "group",
        description="`group`: fsync at most 50 ms later; `always`: before the answer ends.",
    )


class AuthSettings(_Section):
    """How keys are looked up."""

    max_age: Seconds = Field(
        15.0, description="Seconds after which a cached key is read again: how late a change shows."
    )
    max_staleness: Seconds = Field(
        600.0,
        description="Seconds for which a cached key still serves while the database is away.",
    )


class PriceSettings(_Section):
    """An endpoint's own prices, per million tokens, as decimal strings with up to six places."""

    input: Price = Field(description="Per million prompt tokens.")
    output: Price = Field(description="Per million output tokens.")
    cache_read: Price | None = Field(None, description="Per million prompt tokens read from cache.")
    cache_write_5m: Price | None = Field(
        None, description="Per million prompt tokens written to a five-minute cache."
    )
    cache_write_1h: Price | None = Field(
        None, description="Per million prompt tokens written to a one-hour cache."
    )
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="ISO 4217 code.")


class TimeoutSettings(_Section):
    """Deadlines towards one upstream, in seconds."""

    connect: Seconds = Field(5.0, description="For a connection, name look-up and TLS included.")
    first_byte: Seconds = Field(
        120.0, description="From the request sent to the first byte back, and to the first token."
    )
    idle: Seconds = Field(120.0, description="Between two bytes of an answer.")


class ProviderSettings(_Section):
    """A provider that the gateway knows: its Kimi models and prices come from the catalogue."""

    kind: Literal["moonshot", "novita"] = Field(description="Which provider it is.")
    name: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
        description="What callers see; the kind unless set.",
    )
    base_url: str | None = Field(None, description="Where it is, if not at its public address.")
    api_key: SecretStr = Field(description="The credential there; use `${VARIABLE}`.")
    models: tuple[str, ...] | None = Field(
        None, description="Canonical models to serve from it; all that it lists unless set."
    )
    timeouts: TimeoutSettings = TimeoutSettings()
    max_connections: Count = Field(512, description="Connections to it at a time.")
    sandbox: bool = Field(False, description="A local stand-in, labelled so everywhere.")

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        return None if value is None else _checked_url(value)

    @field_validator("api_key")
    @classmethod
    def _not_empty(cls, value: SecretStr) -> SecretStr:
        return _checked_key(value)


class EndpointSettings(_Section):
    """One model at one address of your own choosing."""

    id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,126}$", description="Unique name of the endpoint."
    )
    provider: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="What callers see as the provider."
    )
    kind: Literal["openai_compat", "vllm", "moonshot", "novita"] = Field(
        "openai_compat", description="Which wire it speaks."
    )
    base_url: str = Field(description="Where it is, up to and without `/chat/completions`.")
    model: str = Field(min_length=1, description="What the endpoint calls the model.")
    serves: str = Field(
        pattern=r"^[a-z0-9._~-]+/[A-Za-z0-9._:-]+$",
        description="The canonical model, such as `moonshotai/kimi-k2.6`.",
    )
    api_key: SecretStr | None = Field(None, description="The credential there; use `${VARIABLE}`.")
    price: PriceSettings = Field(
        description="What it costs. Required: nothing is priced at zero by default."
    )
    context_length: Count = Field(description="Tokens that prompt and answer may have together.")
    max_output: Count = Field(description="Most tokens it writes.")
    default_output: Count | None = Field(
        None, description="Output cap where the caller gives none; `max_output` unless set."
    )
    native_non_stream: bool = Field(
        False, description="Ask for whole answers rather than collecting a stream."
    )
    extra_fields: tuple[str, ...] = Field(
        (), description="Further request fields that it is known to take."
    )
    timeouts: TimeoutSettings = TimeoutSettings()
    max_connections: Count = Field(512, description="Connections to it at a time.")
    sandbox: bool = Field(False, description="A local stand-in, labelled so everywhere.")

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str) -> str:
        return _checked_url(value)

    @field_validator("api_key")
    @classmethod
    def _not_empty(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else _checked_key(value)


class Settings(_Section):
    """The whole tree."""

    data: Path = Field(
        Path("tidegate-data"), description="Folder of the database, the journal and the pepper."
    )
    server: ServerSettings = ServerSettings()
    request: RequestSettings = RequestSettings()
    journal: JournalSettings = JournalSettings()
    auth: AuthSettings = AuthSettings()
    upstream_ca_file: Path | None = Field(
        None, description="PEM file of authorities to trust upstream, instead of the system's."
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
        if self.upstream_ca_file is not None and not self.upstream_ca_file.is_file():
            raise ValueError(f"upstream_ca_file: there is no file {self.upstream_ca_file}")
        return self


def _checked_url(value: str) -> str:
    url = urlsplit(value)
    try:
        port_fits = url.port is None or url.port > 0
    except ValueError:
        port_fits = False
    if url.scheme not in {"http", "https"} or not url.hostname or not port_fits:
        raise ValueError("must be an http:// or https:// address with a host")
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("must not hold a user, a password, a query or a fragment")
    return value.rstrip("/")


def _checked_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a non-empty key of printable characters without spaces")
    return value


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
    return check(tree)


def known_providers(environment: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Sections for the providers whose keys are in the environment, under their usual names."""
    variables = os.environ if environment is None else environment  # noqa: TID251 - the one reader
    return [
        {"kind": kind, "api_key": key}
        for kind, row in KINDS.items()
        if row.key_variable is not None and (key := variables.get(row.key_variable))
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
    if kind == "extra_forbidden":
        message = "there is no such setting; see docs/reference/settings.md"
    elif kind == "missing":
        message = "is required"
    elif kind == "string_pattern_mismatch":
        message = f"{fault['input']!r} does not have the right form ({fault['ctx']['pattern']})"
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
        section, _, field = variable.removeprefix(PREFIX).lower().partition("__")
        known = Settings.model_fields.get(section)
        if known is None:
            faults.append(f"{variable}: there is no setting {section!r}")
        elif not field:
            tree[section] = variables[variable]
        elif isinstance(inner := tree.setdefault(section, {}), dict):
            inner[field] = variables[variable]
        else:
            faults.append(f"{variable}: {section!r} is not a section")
