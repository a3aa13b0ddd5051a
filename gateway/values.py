"""The frozen values that cross rooms of the gateway.

    bytes → Call → Principal → Plan → Reservation → Outcome → ledger entries

Each is made in one place and read in others; none is changed after it is made.
"""

from enum import StrEnum

from msgspec import Struct

from backends import Endpoint, Usage
from pricing import Money, Quantities, RateCard


class BudgetRule(Struct, frozen=True):
    """One limit on spend: whose it is, how much, over which period.

    `period` is `total`, `daily`, `weekly` or `monthly`; periods are UTC, weeks begin on Monday.
    `limit` is in picos of `currency` (10⁻¹²).
    """

    id: str
    scope: str  # "organisation", "team", "member" or "key"
    limit_pico: int
    currency: str
    period: str
    on_state_loss: str = "lease"  # or "refuse": see `BudgetHold`


class LimitRule(Struct, frozen=True, gc=False):
    """One limit on how much may be asked for at a time.

    Attributes:
        id: the level that sets it and what it limits: the beginning of its buckets' names.
        scope: the level: "organisation", "team", "member" or "key".
        what: "requests", "tokens" or "concurrency".
        amount: how many.
        period: seconds, 60 or 86,400; 0 for concurrency.
        each: what has a count of its own under this rule: "" (the level as a whole), "member", "key",
            "end_user" or "model".
    """

    id: str
    scope: str
    what: str
    amount: int
    period: int
    each: str = ""


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


class Preset(Struct, frozen=True):
    """A request's parts under a name: what it asks for as `@preset/<slug>`, and leaves unsaid.

    `fields`: top-level fields under OpenAI's names and the raw JSON of their values, for those that the
    request does not have itself.
    """

    slug: str
    model: str | None = None
    preferences: Preferences = NO_PREFERENCES
    system: str | None = None
    fields: tuple[tuple[str, bytes], ...] = ()


class AccessRule(Struct, frozen=True):
    """What one level allows. All rules of a caller hold, each as it stands.

    Attributes:
        scope: the level: "organisation", "team", "member" or "key".
        models: names of the models that may be used, canonical slugs or aliases; None: any.
        ignored_models: names of those that may not.
        preferences: of the endpoints: `only`, `ignore` and `max_price` of them.
    """

    scope: str
    models: tuple[str, ...] | None = None
    ignored_models: tuple[str, ...] = ()
    preferences: Preferences = NO_PREFERENCES


class Access(Struct, frozen=True):
    """What a caller's levels allow it, and what they fill in where it says nothing.

    Attributes:
        rules: those of the levels that allow less than anything, the widest level first.
        preferences: all of the levels' put together; a request's own can only tighten them.
        default_model: for requests that name none.
        presets: by slug; the nearest level's where several have one of that name.
    """

    rules: tuple[AccessRule, ...] = ()
    preferences: Preferences = NO_PREFERENCES
    default_model: str | None = None
    presets: tuple[Preset, ...] = ()


ANY_ACCESS = Access()


class Principal(Struct, frozen=True, kw_only=True):
    """Who is calling: a compiled snapshot of key, member, team and organisation.

    `zdr` and `no_training` are the strictest of what the levels ask for, as in `Preferences`. `disabled`
    says why the key is refused: it, its team or its member is disabled; empty: it is not.
    `access` and `limits` are shared by the keys of a team that add nothing of their own.
    """

    key_id: str
    key_name: str
    team_id: str
    team_name: str
    organisation_id: str
    member_id: str | None = None
    budgets: tuple[BudgetRule, ...] = ()
    limits: tuple[LimitRule, ...] = ()
    access: Access = ANY_ACCESS
    disabled: str = ""
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

    `parameters`: the neutral names of what it does not take, where that is the reason. `level`: whose
    settings leave it out, as in `AccessRule`; "" where it is the request's own.
    """

    endpoint_id: str
    reason: str
    parameters: tuple[str, ...] = ()
    level: str = ""


class Plan(Struct, frozen=True):
    """Where a call may go, in order, and where it may not."""

    model: str
    entries: tuple[PlanEntry, ...]
    excluded: tuple[Exclusion, ...]


class BudgetHold(Struct, frozen=True):
    """What one budget counter must have free: nano-units of its currency, rounded up.

    `on_state_loss`: while the shared counters are out of reach, `lease` spends what this process had
    leased of the budget, `refuse` spends nothing.
    """

    bucket: str  # budget id and window, e.g. "bud_1:2026-11"
    limit_nano: int
    amount_nano: int
    resets_at: float | None  # epoch seconds; None: never
    scope: str  # as in `BudgetRule`: for the message of a refusal
    on_state_loss: str = "lease"


class RateTake(Struct, frozen=True, gc=False):
    """What a request takes of one rate: `amount` of at most `limit` per `period` seconds.

    The rate is the generic cell rate algorithm with a burst of the whole `limit`.
    """

    bucket: str
    limit: int
    period: int
    amount: int
    what: str  # "requests" or "tokens"
    scope: str  # for the message of a refusal
    each: str = ""  # as in `LimitRule`


class SlotTake(Struct, frozen=True, gc=False):
    """One of `limit` places for requests under way."""

    bucket: str
    limit: int
    scope: str
    each: str = ""


class Reservation(Struct, frozen=True):
    """Everything that admission must take in one atomic step: all of it or nothing."""

    id: str  # the generation id
    holds: tuple[BudgetHold, ...] = ()
    rates: tuple[RateTake, ...] = ()
    slots: tuple[SlotTake, ...] = ()


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

    `cost` is what the provider will bill us; `charge` is what the caller's team pays. `cost_basis` says by
    what the cost counts: `rate_card`, or `provider_reported` where `reported_cost` is it; None in journals
    of versions that did not say. Times are epoch milliseconds or durations in milliseconds.
    `gateway.usage.ledger` makes rows of the fields in their order, those from `quantities` to `charge`
    being values of several columns.
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
    cost_basis: str | None = None


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
