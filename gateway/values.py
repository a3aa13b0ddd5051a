"""The frozen values that cross rooms of the gateway.

    bytes → Call → Principal → Plan → Reservation → Outcome → ledger entries

Each is made in one place and read in others; none is changed after it is made.
"""

from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from backends import Endpoint, Usage
from pricing import Money, Quantities, RateCard


class BudgetRule(Struct, frozen=True):
    """One limit on spend: whose it is, how much, over which period.

    `period` is `total`, `daily`, `weekly` or `monthly`; periods are UTC, weeks begin on Monday.
    `limit` is in picos of `currency` (10⁻¹²).
    """

    id: str
    scope: str  # "key" or "team"
    limit_pico: int
    currency: str
    period: str


class MaxPrice(Struct, frozen=True):
    """The most that an endpoint may charge: picos of a dollar per token or request; None: anything."""

    prompt: int | None = None
    completion: int | None = None
    request: int | None = None


class Preferences(Struct, frozen=True):
    """What a caller asks of the endpoints that may serve it: OpenRouter's `provider` object.

    Attributes:
        require_parameters: only endpoints that take everything that the request says.
        zdr: only endpoints with evidence that they retain nothing.
        no_training: only endpoints that neither train on what they are sent nor keep it
            (`data_collection: deny`).
        only: slugs of the providers that may be asked; None: any.
        ignore: slugs of those that may not be.
        max_price: what they may charge.
        fallbacks: whether another endpoint may be tried where the first fails (`allow_fallbacks`).
    """

    require_parameters: bool = False
    zdr: bool = False
    no_training: bool = False
    only: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    max_price: MaxPrice | None = None
    fallbacks: bool = True


NO_PREFERENCES = Preferences()


class DataPolicy(Struct, frozen=True, kw_only=True):
    """What an endpoint, with our credential there, does with what it is sent; None is not known.

    Unknown counts as "retains and trains". So does a fact whose `valid_until` has passed.

    Attributes:
        trains: whether it may train on prompts or answers.
        retains: whether it keeps them beyond the request.
        retention_days: for how long, where it says so.
        region: where they are processed, as the source has it.
        source: what says so: a document or an agreement.
        date: when that was read, ISO 8601.
        valid_until: the last day on which it may be relied upon, ISO 8601.
    """

    trains: bool | None = None
    retains: bool | None = None
    retention_days: int | None = None
    region: str | None = None
    source: str | None = None
    date: str | None = None
    valid_until: str | None = None


UNKNOWN_POLICY = DataPolicy()


class Principal(Struct, frozen=True, kw_only=True):
    """Who is calling: a compiled snapshot of key, team and organisation.

    `zdr` and `no_training` are the strictest of what key and team ask for, as in `Preferences`.
    """

    key_id: str
    key_name: str
    team_id: str
    team_name: str
    organisation_id: str
    budgets: tuple[BudgetRule, ...] = ()
    disabled: bool = False
    expires_at: float | None = None
    zdr: bool = False
    no_training: bool = False


class Candidate(Struct, frozen=True, kw_only=True):
    """An endpoint that could serve a model, with what it costs and what it can hold.

    `card` is None where no price is known: such an endpoint is refused, not free. `cost_basis` is what a
    settled attempt costs: its tokens by the card (`rate_card`), or what its reply says that it cost, where
    that can be (`provider_reported`).
    """

    endpoint: Endpoint
    model: str  # canonical slug
    card: RateCard | None
    context_length: int
    max_output: int
    default_output: int
    policy: DataPolicy = UNKNOWN_POLICY
    cost_basis: str = "rate_card"


class EndpointHealth(Struct, frozen=True):
    """What recent traffic says of an endpoint. `open_until` is on the monotonic clock.

    `reason` is why it is set aside until then: `failed lately`, or, of its account, `account_limit` (it is
    at a limit that the settings name) or `account_balance` (no money is left there).
    """

    open_until: float = 0.0
    reason: str = "failed lately"


class PlanEntry(Struct, frozen=True):
    """One attempt that may be made, and why it stands where it does."""

    candidate: Candidate
    reason: str


class Exclusion(Struct, frozen=True):
    """An endpoint that was left out, and why.

    `parameters`: the neutral names of what it does not take, where that is the reason.
    """

    endpoint_id: str
    reason: str
    parameters: tuple[str, ...] = ()


class Plan(Struct, frozen=True):
    """Where a call may go, in order, and where it may not."""

    model: str
    entries: tuple[PlanEntry, ...]
    excluded: tuple[Exclusion, ...]


class BudgetHold(Struct, frozen=True):
    """What one budget counter must have free: nano-units of its currency, rounded up."""

    bucket: str  # budget id and window, e.g. "bud_1:2026-11"
    limit_nano: int
    amount_nano: int
    resets_at: float | None  # epoch seconds; None: never
    scope: str  # "key" or "team": for the message of a refusal


class Reservation(Struct, frozen=True):
    """Everything that admission must take in one atomic step."""

    id: str  # the generation id
    holds: tuple[BudgetHold, ...]


class Basis(StrEnum):
    """How the token counts of an entry came to be known."""

    MEASURED = "measured"  # counted by this gateway
    REPORTED = "provider_reported"  # stated by the provider in its reply
    ESTIMATED = "estimated"  # neither; marked so wherever it is shown


class Result(StrEnum):
    """How an attempt, or a whole request, ended."""

    SUCCESS = "success"
    FAILED = "failed"  # the provider failed before or during the answer
    CANCELLED = "cancelled"  # the caller left
    ABORTED = "aborted"  # this process died or was stopped; settled afterwards
    REFUSED = "refused"  # never reached a provider


class AttemptRecord(Struct, frozen=True):
    """One settled attempt: a ledger entry.

    `cost` is what the provider will bill us; `charge` is what the caller's team pays. Times are epoch
    milliseconds or durations in milliseconds. `gateway.usage.ledger` makes rows of the fields in their
    order, the last three being values of several columns.
    """

    id: str  # generation id + "-" + ordinal from 1
    ordinal: int
    endpoint_id: str
    provider: str
    upstream_model: str
    rate_card_id: str
    result: Result
    error_code: str | None
    upstream_status: int | None
    upstream_id: str | None
    started_ms: int
    ttft_ms: int | None
    duration_ms: int
    reasoning_tokens: int
    basis: Basis
    reported_cost: str | None
    quantities: Quantities
    cost: Money
    charge: Money


class Outcome(Struct, frozen=True):
    """A whole request as it ended: what the journal's close line carries."""

    generation_id: str
    request_id: str
    created_ms: int
    closed_ms: int
    organisation_id: str
    team_id: str
    key_id: str
    api: str  # "chat.completions"
    model_requested: str
    model: str  # canonical slug served, or asked for where nothing was served
    streamed: bool
    result: Result
    status: int  # HTTP status that the caller saw
    error_code: str | None
    finish_reason: str | None
    native_finish_reason: str | None
    ttft_ms: int | None
    sandbox: bool
    attempts: tuple[AttemptRecord, ...]


class Head(Protocol):
    """The head of a caller's request."""

    def header(self, name: bytes) -> bytes | None:
        """The value of a header by its lower-case name.

        Raises:
            GatewayError: it is there more than once.
        """

    def first(self, name: bytes) -> bytes | None:
        """The same, but the first of several: for headers that decide nothing."""


class Exchange(Protocol):
    """One request of a caller and the way back to it; what `flow` sees instead of a web framework.

    A caller who leaves cancels the task that serves the exchange.
    """

    head: Head

    async def body(self) -> bytes | bytearray:
        """The whole body.

        Raises:
            GatewayError: too large, too slow, or the caller left.
        """

    def start(self, status: int, headers: bytes, length: int | None) -> None:
        r"""Send the head of the answer; `length` None means chunked.

        `headers` are whole lines, each with its `\r\n`; those of framing are not among them.
        """

    def write(self, data: bytes) -> None:
        """Send a piece of the answer. Dropped in silence once the caller left."""

    async def drain(self) -> None:
        """Wait until the caller has read enough to go on.

        Raises:
            GatewayError: it read nothing for too long.
        """

    def finish(self, data: bytes = b"") -> None:
        """Send the last piece and end the answer."""

    @property
    def congested(self) -> bool:
        """Whether `drain` would wait."""

    @property
    def gone(self) -> bool:
        """Whether the caller has left."""


class CostParts(Struct, frozen=True):
    """What a cost is made of, where that is not tokens alone; together they are all of it."""

    prompt: Money
    completion: Money
    searches: Money


class UsageView(Struct, frozen=True):
    """A settled request as its caller is told of it, in the reply itself."""

    usage: Usage
    quantities: Quantities
    cost: Money
    basis: Basis
    parts: CostParts | None = None
