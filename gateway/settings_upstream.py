"""The settings of upstreams: which there are, and how they are reached. Part of `gateway.settings`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from backends import (
    KINDS,
    PROFILES,
    Exemptions,
    Proxy,
    Secret,
    TlsFiles,
    client_context,
)
from gateway.settings_accounts import (
    AccountName,
    ApiKeys,
    LimitsSettings,
    Local,
    LowBalance,
)
from gateway.settings_data_policy import DataPolicySettings
from gateway.settings_fields import Address, Count, Credential, Price, Seconds, Section
from gateway.settings_kinds import (
    CostBasis,
    EndpointKind,
    Hosts,
    ProviderKind,
    ThinkingSwitch,
    aggregators_only,
)
from gateway.settings_litellm import EXTRA_FIELDS, LitellmParamSettings


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
    balance_interval: Annotated[float, Field(ge=0, le=86_400)] = Field(
        300.0,
        description="Seconds between looks at the balances of accounts, where the provider tells them;"
        " 0: never.",
    )

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

    kind: ProviderKind
    name: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
        description="What callers see; the kind unless set.",
    )
    base_url: Address | None = Field(None, description="Where it is, if not at its public address.")
    account: AccountName = None
    api_keys: ApiKeys = ()
    api_key: Credential | None = Field(
        None,
        validate_default=True,
        description="The credential there; use `${VARIABLE}`. Required unless `api_keys` or `account`"
        " is set.",
    )
    limits: LimitsSettings = LimitsSettings()
    low_balance: LowBalance = None
    local: Local = None
    models: tuple[str, ...] | None = Field(
        None, description="Canonical models to serve from it; all that it lists unless set."
    )
    only: Hosts = ()
    thinking_switch: ThinkingSwitch = None
    cost_basis: CostBasis = None
    data_policy: DataPolicySettings = DataPolicySettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    tls: TlsSettings = TlsSettings()
    max_connections: Count = Field(512, description="Connections to it at a time.")
    sandbox: bool = Field(False, description="A local stand-in, labelled so everywhere.")

    _hosts = field_validator("only")(aggregators_only)

    @field_validator("api_key")
    @classmethod
    def _some_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        others = info.data.get("api_keys", True), info.data.get("account", True)
        if value is None and not any(others):
            raise PydanticCustomError("missing", "is required")
        return value

    @property
    def address(self) -> str:
        """Where it is."""
        return self.base_url or KINDS[self.kind].base_url or ""

    @property
    def is_local(self) -> bool:
        """Whether it may be at a private address."""
        return self.sandbox if self.local is None else self.local

    @property
    def own_account(self) -> str:
        """What its account is called if it names none."""
        return self.name or self.kind


class EndpointSettings(Section):
    """One model at one address of your own choosing."""

    id: str = Field(
        "",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,126}$",
        description="Unique name of the endpoint; `provider/model` unless set.",
    )
    provider: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="What callers see as the provider."
    )
    kind: EndpointKind = "openai_compat"
    base_url: Address | None = Field(
        None,
        validate_default=True,
        description="Where it is, up to and without `/chat/completions`; its kind's public address unless"
        " set. Required for kinds without one, but for `litellm`, which knows where its providers are.",
    )
    model: str = Field(
        min_length=1,
        description="What the endpoint calls the model; for `litellm` its own name, such as"
        " `bedrock/moonshot.kimi-k2-thinking`.",
    )
    litellm: LitellmParamSettings = LitellmParamSettings()
    serves: str | None = Field(
        None,
        pattern=r"^[a-z0-9._~-]+/[A-Za-z0-9._:-]+$",
        description="The canonical model, such as `moonshotai/kimi-k2.6`. Required unless `model` is one"
        " of the names that the catalogue knows a Kimi model by, such as `moonshotai/Kimi-K2.6`.",
    )
    profile: str | None = Field(
        None,
        description="The canonical model whose rules it follows, for thinking, tool calls and media;"
        " `serves` unless set. For a model under a name of your own, such as a fine-tuned Kimi.",
    )
    api_key: Credential | None = Field(None, description="The credential there; use `${VARIABLE}`.")
    api_keys: ApiKeys = ()
    account: AccountName = None
    limits: LimitsSettings = LimitsSettings()
    low_balance: LowBalance = None
    local: Local = None
    price: PriceSettings = Field(
        description="What it costs. Required: nothing is priced at zero by default."
    )
    context_length: Count | None = Field(
        None,
        description="Tokens that prompt and answer may have together. Required unless the catalogue knows"
        " the model: then all that the model can take, so set it where the host has less.",
    )
    max_output: Count | None = Field(
        None, description="Most tokens it writes; as many as its context has unless set."
    )
    default_output: Count | None = Field(
        None,
        description="Output cap where the caller gives none; `max_output` unless set, and where neither"
        " is, the model's default in the catalogue, or 32768.",
    )
    cache_isolation: Literal["team", "organisation", "none"] = Field(
        "team", description="vLLM only: who may share its cache of prompts; `none`: all callers."
    )
    native_non_stream: bool = Field(
        False, description="Ask for whole answers rather than collecting a stream."
    )
    extra_fields: tuple[str, ...] = Field(
        (),
        description="Further request fields that it is known to take. Not for `vllm`; not sent where"
        " nothing may be retained.",
    )
    only: Hosts = ()
    thinking_switch: ThinkingSwitch = None
    cost_basis: CostBasis = None
    data_policy: DataPolicySettings = DataPolicySettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    tls: TlsSettings = TlsSettings()
    max_connections: Count = Field(512, description="Connections to it at a time.")
    sandbox: bool = Field(False, description="A local stand-in, labelled so everywhere.")

    _hosts = field_validator("only")(aggregators_only)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, tree: Any) -> Any:
        if not isinstance(tree, dict) or "id" in tree:
            return tree
        return {**tree, "id": f"{tree.get('provider')}/{tree.get('model')}"}

    @field_validator("base_url")
    @classmethod
    def _somewhere(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind = str(info.data.get("kind", "litellm"))
        if value is None and kind != "litellm" and KINDS[kind].base_url is None:
            raise PydanticCustomError("missing", "is required")
        return value

    @field_validator("profile")
    @classmethod
    def _one_that_is_known(cls, value: str | None) -> str | None:
        if value is not None and value not in PROFILES:
            raise ValueError(f"no rules are known of {value!r}; of these: {', '.join(PROFILES)}")
        return value

    @field_validator("litellm")
    @classmethod
    def _told(cls, value: LitellmParamSettings, info: ValidationInfo) -> LitellmParamSettings:
        if value.model_fields_set and info.data.get("kind", "litellm") != "litellm":
            raise ValueError(f"goes with kind litellm, not with {info.data['kind']}: remove it")
        return value

    @field_validator("tls")
    @classmethod
    def _own_connections(cls, value: TlsSettings, info: ValidationInfo) -> TlsSettings:
        if value.model_fields_set and info.data.get("kind") == "litellm":
            raise ValueError("litellm has connections of its own: set upstream.tls.ca_file instead")
        return value

    @field_validator("cost_basis")
    @classmethod
    def _of_one_currency(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind, price = str(info.data.get("kind")), info.data.get("price")
        currency = price.currency if isinstance(price, PriceSettings) else "USD"
        dollars = kind in KINDS and KINDS[kind].reports_cost
        if value == "provider_reported" and dollars and currency != "USD":
            raise ValueError(
                f"what such a reply says that it cost is in USD, and 'price' is in {currency}: set"
                " 'rate_card', or prices in USD"
            )
        return value

    @field_validator("extra_fields")
    @classmethod
    def _taken(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        kind = str(info.data.get("kind"))
        if kind == "litellm" and (strange := sorted(set(value) - EXTRA_FIELDS)):
            known = ", ".join(sorted(EXTRA_FIELDS))
            raise ValueError(f"{strange[0]!r} is not handed on by litellm; it may be: {known}")
        if value and kind in KINDS and not KINDS[kind].quirks.takes_extra:
            raise ValueError(f"kind {kind} is sent no fields but those of its table: remove it")
        return value

    @property
    def address(self) -> str:
        """Where it is; empty where litellm knows."""
        return self.base_url or KINDS[self.kind].base_url or ""

    @property
    def is_local(self) -> bool:
        """Whether it may be at a private address."""
        return self.sandbox or self.kind == "vllm" if self.local is None else self.local

    @property
    def own_account(self) -> str:
        """What its account is called if it names none."""
        return self.id


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
