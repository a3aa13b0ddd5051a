"""The neutral values that cross between the gateway and its adapters.

A request keeps its message content as raw JSON throughout: `Call.fields` maps each top-level field of
an OpenAI-style chat request to the bytes of its value. A reply is a series of `Event`s in which text
is still the JSON-escaped bytes that the provider sent: it is never decoded on the way through.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Raw, Struct

from backends.profiles import UNKNOWN, Profile
from backends.secret import Secret


class Origin(Struct, frozen=True):
    """Scheme, host and port of an upstream.

    `local` is part of it, so that what may not be at a private address never shares a connection with what
    may: see `backends.http_addresses`.
    """

    scheme: str
    host: str
    port: int
    local: bool = False

    @property
    def authority(self) -> str:
        """What goes into a Host header."""
        default = 443 if self.scheme == "https" else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == default else f"{host}:{self.port}"

    @classmethod
    def of(cls, url: str, *, local: bool = False) -> "Origin":
        """The origin of an http or https URL.

        Raises:
            ValueError: its port is no port.
        """
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname or "", port, local)


class Deadlines(Struct, frozen=True):
    """Seconds that each phase of an upstream exchange may take."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 120.0
    total: float = 900.0


class Endpoint(Struct, frozen=True, kw_only=True):
    """One model at one provider: a row of data, with its quirks by name in `kind`.

    `extra_fields` are request fields outside the adapter's table that this endpoint is known to take;
    the rest of a caller's unknown fields are not sent. `cache_isolation` says who may share cached
    prompt prefixes at a vLLM server: a `team`, an `organisation`, or all (`none`); other kinds ignore it.
    `account` names our account at the provider: endpoints of one account share its limits, its money and
    its keys. `spare_keys` are further keys of that account, for when the first is refused: no capacity.
    `reaches` and `max_price` are for aggregators: the hosts that one may use (empty: any), and the most
    that these may take, as decimal strings per million tokens of prompt and of output. `local` endpoints
    may be at private addresses. `thinking_switch` says how it is told whether to think, one of
    `backends.THINKING_SWITCHES`; None: as its kind does.
    """

    id: str  # "novita/moonshotai/kimi-k2.6": unique in the process
    provider: str  # slug shown to callers
    kind: str  # which adapter: a key of backends.registry
    base_url: str
    model: str  # what the provider calls the model
    api_key: Secret | None = None
    deadlines: Deadlines = Deadlines()
    max_connections: int = 512
    max_output: int | None = None  # most tokens that this endpoint writes
    extra_fields: frozenset[str] = frozenset()
    cache_isolation: str = "team"
    native_non_stream: bool = False  # ask for whole replies rather than collecting a stream
    sandbox: bool = False
    profile: Profile = UNKNOWN
    account: str = ""
    spare_keys: tuple[Secret, ...] = ()
    local: bool = False
    reaches: tuple[str, ...] = ()
    max_price: tuple[str, str] | None = None
    thinking_switch: str | None = None


class Mode(Struct, frozen=True):
    """How much a model is to think before it answers; None leaves that to the model.

    Attributes:
        thinking: whether it thinks at all. An `effort` or a `max_tokens` implies that it does.
        effort: one of `EFFORTS`.
        max_tokens: tokens that it may think, as a wish: no Kimi model has such a limit of its own.
        exclude: whether the caller does not want to be sent the reasoning. It is paid for all the same.
    """

    thinking: bool | None = None
    effort: str | None = None
    max_tokens: int | None = None
    exclude: bool = False


EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
UNASKED = Mode()


class Call(Struct, frozen=True, kw_only=True):
    """A chat request in neutral form.

    Attributes:
        fields: the caller's top-level fields, each the raw JSON of its value. `model`, `stream`,
            `stream_options`, `max_tokens` and `max_completion_tokens` in it are never forwarded: the
            adapter writes its own from the attributes here and from the endpoint.
        output_cap: tokens the answer may have; what the money hold covers.
        request_id: the gateway's generation id.
        tenant: an opaque, stable pseudonym of the team, for fairness and cache isolation; never sent
            upstream as it is. Empty: nobody's in particular.
        organisation: the same of the team's organisation.
        mode: how much the model is to think. The fields that said so (`MODE_FIELDS`) are in `fields` too,
            and never forwarded: the adapter writes the endpoint's own.
        zdr: only hosts that retain nothing may be reached; told to aggregators.
        no_training: only hosts that do not collect what they are sent; told to aggregators.
        via: gateways that the request came through, for the header against loops; empty: none.
    """

    fields: Mapping[str, Raw]
    stream: bool
    output_cap: int
    request_id: str
    tenant: str = ""
    organisation: str = ""
    mode: Mode = UNASKED
    zdr: bool = False
    no_training: bool = False
    via: str = ""


# The fields in which a caller says how much a model is to think. `chat_template_kwargs` is not among
# them: only its members `thinking` and `enable_thinking` are read, and taken out where it goes on.
MODE_FIELDS = frozenset(
    {"thinking", "reasoning", "reasoning_effort", "include_reasoning", "enable_thinking"}
)


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """Token counts as the provider stated them, in OpenAI's convention.

    `prompt` includes `cached`, `cache_write` and `cache_write_1h`; `completion` includes `reasoning`.
    `reported_cost` is the provider's own figure as a decimal string in its currency, where it gives one.
    """

    prompt: int
    completion: int
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    reported_cost: str | None = None


class Text(Struct, frozen=True, gc=False):
    """A piece of answer text of the first choice: JSON-escaped bytes, without quotes, not empty."""

    text: bytes
    reasoning: bool = False


class Piece(Struct, frozen=True):
    """Any other delta of a choice: role, tool calls, refusals, log probabilities, further choices.

    `delta` holds raw JSON values; reasoning is under `reasoning` whatever the provider calls it.
    `meaningful` says whether it carries content, reasoning or a tool call.
    """

    index: int
    delta: Mapping[str, Raw]
    meaningful: bool
    logprobs: Raw | None = None


class Finish(Struct, frozen=True, gc=False):
    """A choice has ended. `reason` is one of stop, length, tool_calls, content_filter, error."""

    index: int
    reason: str
    native_reason: str


Event = Text | Piece | Finish | Usage
