"""The settings of upstreams: which there are, and how they are reached. Part of `gateway.settings`."""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from backends import KINDS, Exemptions, Proxy, Secret, TlsFiles, client_context

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(gt=0)]
Price = Annotated[str, Field(pattern=r"^\d+(\.\d{1,6})?$")]


def _checked_url(value: str) -> str:
    """An address of an upstream, without the slash at its end.

    Raises:
        ValueError: it is none.
    """
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


Address = Annotated[str, AfterValidator(_checked_url)]
Credential = Annotated[SecretStr, AfterValidator(_checked_key)]


class Section(BaseModel):
    """Part of the tree: nothing unknown, nothing changed after."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeoutSettings(Section):
    """Deadlines towards one upstream, in seconds."""

    connect: Seconds = Field(5.0, description="For a connection, name look-up and TLS included.")
    first_byte: Seconds = Field(
        120.0, description="From the request sent to the first byte back, and to the first token."
    )
    idle: Seconds = Field(120.0, description="Between two bytes of an answer.")


class TlsSettings(Section):
    """Whom the gateway trusts, and how it shows who it is. All files are PEM.

    Where one of these is set for a provider or an endpoint, none of `upstream.tls` counts there.
    """

    ca_file: Path | None = Field(None, description="Authorities to trust, instead of the system's.")
    certificate_file: Path | None = Field(
        None,
        description="The gateway's own certificate, then those up to its authority; shown to an"
        " upstream that asks for one.",
    )
    key_file: Path | None = Field(
        None, description="Its private key, unless that is in `certificate_file`."
    )
    key_password: SecretStr | None = Field(
        None, description="What the key is encrypted with; use `${VARIABLE}`."
    )

    @model_validator(mode="after")
    def _usable(self) -> "TlsSettings":
        if self.model_fields_set:
            client_context(self.files())
        return self

    def files(self) -> TlsFiles:
        """The same as the upstream client takes it."""
        password = self.key_password
        return TlsFiles(
            ca_file=_text(self.ca_file),
            certificate_file=_text(self.certificate_file),
            key_file=_text(self.key_file),
            key_password=None if password is None else Secret(password.get_secret_value()),
        )


class UpstreamSettings(Section):
    """How upstreams are reached.

    The proxy is asked with CONNECT for every upstream, plain `http://` ones too. `HTTPS_PROXY` and the
    like are not read by themselves: where prompts go is for this file to say; `${HTTPS_PROXY}` in it
    takes them over.
    """

    proxy: SecretStr | None = Field(
        None,
        description="Address of a proxy, such as `http://user:${PASSWORD}@proxy.example:3128`;"
        " `https://` for one that is spoken to over TLS. Empty: none.",
    )
    no_proxy: tuple[str, ...] = Field(
        (),
        description="Hosts that are reached without it: `example.com` with all below it,"
        " `.example.com` only those below, addresses, networks such as `10.0.0.0/8`, `*`. A list, or"
        " one string with commas. `localhost` and loopback addresses always are.",
    )
    tls: TlsSettings = TlsSettings()
    max_connection_age: Seconds = Field(
        300.0,
        description="Seconds after which a connection is not used again: how late a change in the"
        " DNS is followed.",
    )
    max_waiting: Count = Field(
        1024,
        description="Requests that may wait for a connection to one host, when `max_connections`"
        " are in use. Teams take turns.",
    )
    max_waiting_per_team: Count = Field(256, description="Of these, requests of one team.")

    @field_validator("proxy")
    @classmethod
    def _named(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        Proxy.of(value.get_secret_value())
        return value

    @field_validator("no_proxy", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(entry for entry in value.replace(",", " ").split() if entry)
        return value

    @field_validator("no_proxy")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Exemptions(value)
        return value


class PriceSettings(Section):
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


class ProviderSettings(Section):
    """A provider that the gateway knows: its Kimi models and prices come from the catalogue."""

    kind: Literal["moonshot", "novita"] = Field(description="Which provider it is.")
    name: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
        description="What callers see; the kind unless set.",
    )
    base_url: Address | None = Field(None, description="Where it is, if not at its public address.")
    api_key: Credential = Field(description="The credential there; use `${VARIABLE}`.")
    models: tuple[str, ...] | None = Field(
        None, description="Canonical models to serve from it; all that it lists unless set."
    )
    timeouts: TimeoutSettings = TimeoutSettings()
    tls: TlsSettings = TlsSettings()
    max_connections: Count = Field(512, description="Connections to it at a time.")
    sandbox: bool = Field(False, description="A local stand-in, labelled so everywhere.")

    @property
    def address(self) -> str:
        """Where it is."""
        return self.base_url or KINDS[self.kind].base_url or ""


class EndpointSettings(Section):
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
    base_url: Address = Field(description="Where it is, up to and without `/chat/completions`.")
    model: str = Field(min_length=1, description="What the endpoint calls the model.")
    serves: str = Field(
        pattern=r"^[a-z0-9._~-]+/[A-Za-z0-9._:-]+$",
        description="The canonical model, such as `moonshotai/kimi-k2.6`.",
    )
    api_key: Credential | None = Field(None, description="The credential there; use `${VARIABLE}`.")
    price: PriceSettings = Field(
        description="What it costs. Required: nothing is priced at zero by default."
    )
    context_length: Count = Field(description="Tokens that prompt and answer may have together.")
    max_output: Count = Field(description="Most tokens it writes.")
    default_output: Count | None = Field(
        None, description="Output cap where the caller gives none; `max_output` unless set."
    )
    cache_isolation: Literal["team", "organisation", "none"] = Field(
        "team", description="vLLM only: who may share its cache of prompts; `none`: all callers."
    )
    native_non_stream: bool = Field(
        False, description="Ask for whole answers rather than collecting a stream."
    )
    extra_fields: tuple[str, ...] = Field(
        (), description="Further request fields that it is known to take."
    )
    timeouts: TimeoutSettings = TimeoutSettings()
    tls: TlsSettings = TlsSettings()
    max_connections: Count = Field(512, description="Connections to it at a time.")
    sandbox: bool = Field(False, description="A local stand-in, labelled so everywhere.")

    @property
    def address(self) -> str:
        """Where it is."""
        return self.base_url


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
