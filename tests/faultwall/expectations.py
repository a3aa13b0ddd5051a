"""What each fault of a provider must come to, by the documents: one table, by class of failure.

Sources: docs/reference/failures.md (class, status, code, what is set aside, whether another endpoint is
tried), docs/concepts/accounting.md (charge, cost, basis), docs/decisions/0005 (what is a failover, and
what is told in the stream). A kind of endpoint whose wire says a thing otherwise has an entry in `at`
with the reason. Nothing here is what the gateway happened to do.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from backends.sandbox import Fault, FaultName

Aside = Literal["endpoint", "account", "nothing"]
How = Literal["stream", "collected", "native"]
HOWS: tuple[How, ...] = ("stream", "collected", "native")


class Told(Struct, frozen=True):
    """A class of failure as docs/reference/failures.md has it.

    Attributes:
        status, code: what the caller reads if nothing else was left to try.
        aside: what the failure counts against.
        elsewhere: whether another endpoint is tried.
        billed: whether the provider may bill what it began: it refused with no status.
    """

    status: int
    code: str
    aside: Aside = "endpoint"
    elsewhere: bool = True
    billed: bool = False


CONNECT_FAILED = Told(503, "connect_failed")
CONNECTION_LOST = Told(502, "connection_lost", billed=True)
TIMEOUT = Told(504, "timeout", billed=True)
PROVIDER_TIMEOUT = Told(504, "timeout")
BAD_REPLY = Told(502, "bad_reply", billed=True)
BAD_TOOL_CALL = Told(502, "bad_tool_call", billed=True)
EMPTY_REPLY = Told(502, "empty_reply", billed=True)
OVERLOADED = Told(503, "overloaded")
UNAVAILABLE = Told(503, "provider_unavailable")
RATE_LIMITED = Told(429, "rate_limited")
ACCOUNT_RATE_LIMITED = Told(429, "rate_limited", "account")
QUOTA_EXHAUSTED = Told(502, "quota_exhausted", "account")
CREDENTIAL_REFUSED = Told(502, "credential_refused", "account")
ACCESS_REFUSED = Told(502, "access_refused")
MODEL_UNAVAILABLE = Told(502, "model_unavailable")
REQUEST_REFUSED = Told(400, "request_refused", "nothing", elsewhere=False)
UNSUPPORTED = Told(400, "unsupported_parameter", "nothing")
# "Next endpoint with a longer context": the second one here has one.
CONTEXT_LENGTH = Told(400, "context_length_exceeded", "nothing")
CONTENT_REFUSED = Told(400, "content_policy_violation", "nothing", elsewhere=False)
UPSTREAM_FAULT = Told(502, "upstream_fault")
# The same told inside a reply of 200: work had begun.
FAULT_INSIDE = Told(502, "upstream_fault", billed=True)
UNAVAILABLE_INSIDE = Told(503, "provider_unavailable", billed=True)
INSURED = (
    "provider_unavailable; it takes nothing for what ends in an error (its contract, 2026-08-22)"
)


class Good(Struct, frozen=True):
    """A whole answer, which the provider's last counts are charged for.

    Attributes:
        finish: the finish reason that the caller reads.
        basis: how the ledger says that the counts are known.
        pieces: tokens of the answer where they are not those of the stand-in's usual one.
        extra: tokens beyond those.
        mended: whether bytes that cannot be read stand as U+FFFD, with all that is around them.
        told: the fault of a tool call that is told beside the answer; see `gateway.wire.tool_checks`.
        tool: the tool that is called, if one is.
        raw: whether the text is not compared.
    """

    finish: str = "stop"
    basis: str = "provider_reported"
    pieces: int | None = None
    extra: int = 0
    mended: bool = False
    told: str | None = None
    tool: str | None = None
    raw: bool = False


class Before(Struct, frozen=True):
    """A failure of which the caller has seen nothing: another endpoint may still answer.

    `basis` is how what it cost us is known, where the wire leaves no doubt.
    """

    told: Told
    basis: str | None = None


class Midway(Struct, frozen=True):
    """A failure after the first token of a stream: told in it, and what was sent of it is charged.

    `basis` is how what was sent is known: `provider_reported` where usage came all the same.
    """

    told: Told
    basis: str = "estimated"


Outcome = Good | Before | Midway


class Other(Struct, frozen=True):
    """What comes of a fault at one kind of endpoint, and why it is not what comes of it elsewhere."""

    reason: str
    stream: Outcome
    collected: Outcome | None = None
    native: Outcome | None = None


# Kinds that speak another one's wire: its exceptions are theirs.
SAME_WIRE = {"moonshot_cn": "moonshot"}


class Row(Struct, frozen=True, kw_only=True):
    """One fault, and what must come of it.

    Attributes:
        name: what the matrix calls it.
        fault: what is switched on, if anything.
        stream: for a caller who streams.
        collected: for one who does not, of an endpoint that is asked for a stream; unless set, the same,
            but that nothing is sent until all has come.
        native: the same of an endpoint that is asked for a whole reply; as `collected` unless set.
        tools: whether the request offers a tool.
        ground: the sort of endpoint: `sound`, `hurried` or `closed`; see `tests.faultwall.wall.Spot`.
        at: exceptions by kind of endpoint.
    """

    name: str
    fault: Fault | None
    stream: Outcome
    collected: Outcome | None = None
    native: Outcome | None = None
    tools: bool = False
    ground: str = "sound"
    at: Mapping[str, Other] = {}

    def outcome(self, kind: str, how: How) -> Outcome:
        """What must come of it at this kind of endpoint."""
        found = self.at.get(SAME_WIRE.get(kind, kind), self)
        if how == "stream":
            return found.stream
        collected = found.collected
        if collected is None:
            stream = found.stream
            collected = Before(stream.told) if isinstance(stream, Midway) else stream
        return collected if how == "collected" or found.native is None else found.native


def _row(
    words: str,
    stream: Outcome,
    more: Mapping[str, Other] | None = None,
    **rest: Outcome | bool | str,
) -> Row:
    """A row whose fault is written as in a tag."""
    name, *details = words.split(",")
    pairs = dict(pair.split("=") for pair in details)
    fault = Fault(
        name=getattr(FaultName, name.upper()),
        after=int(pairs["after"]) if "after" in pairs else None,
        how="fin" if pairs.get("how") == "fin" else "rst",
        delay_s=float(pairs.get("delay", 0)) / 1000,
        size=int(pairs["size"]) if "size" in pairs else None,
    )
    shown = ",".join([name, *[pair for pair in details if not pair.startswith(("delay", "size"))]])
    return Row(name=shown, fault=fault, stream=stream, at=more or {}, **rest)  # type: ignore[arg-type] # each by its name


def _refused(words: str, told: Told, **others: tuple[Told, str]) -> Row:
    """A refusal; `others` are kinds that have another word for it, with the reason."""
    exceptions = {kind: Other(why, Before(it)) for kind, (it, why) in others.items()}
    return _row(words, Before(told), exceptions)


_NO_WORD = "has no word for it that is known: the status alone counts"
_NO_LITELLM_WORD = "litellm's class of exception says no more than the status"
_ESTIMATED = Good(basis="estimated")
# A connection that breaks behind the worker: ours to the worker is whole.
_BEHIND = "the connection that died is the worker's: to us its provider is not available"
_NO_STATED = "litellm leaves out what stands beside an error"
_UNREADABLE = "litellm gives an answer up where a piece of it cannot be read"
_CALLED = Good(finish="tool_calls", tool="get_weather")

ROWS: tuple[Row, ...] = (
    # no connection, no answer
    Row(name="(nobody listens)", fault=None, ground="closed", stream=Before(CONNECT_FAILED)),
    _row(
        "refuse",
        Before(CONNECTION_LOST),
        {"litellm": Other(_BEHIND, Before(UNAVAILABLE_INSIDE))},
    ),
    _row("stall", Before(TIMEOUT), ground="hurried"),
    # refusals with a status
    _refused(
        "error400",
        REQUEST_REFUSED,
        moonshot=(UNSUPPORTED, "what its stand-in refuses is a value that others may take"),
    ),
    _refused("error400_context", CONTEXT_LENGTH),
    _refused(
        "error400_filter",
        CONTENT_REFUSED,
        novita=(REQUEST_REFUSED, _NO_WORD),
        openai_compat=(REQUEST_REFUSED, _NO_WORD),
        vllm=(REQUEST_REFUSED, _NO_WORD),
        litellm=(REQUEST_REFUSED, _NO_LITELLM_WORD),
    ),
    _refused("error401", CREDENTIAL_REFUSED),
    _refused("error402", QUOTA_EXHAUSTED),
    _refused("error403", ACCESS_REFUSED),
    _refused(
        "error403_quota",
        QUOTA_EXHAUSTED,
        openrouter=(ACCESS_REFUSED, "403 is permission_denied there, whatever the reason"),
        vercel=(ACCESS_REFUSED, "what it wants is a card, not money"),
        openai_compat=(ACCESS_REFUSED, _NO_WORD),
        vllm=(ACCESS_REFUSED, _NO_WORD),
        litellm=(ACCESS_REFUSED, _NO_LITELLM_WORD),
    ),
    _refused(
        "error403_moderation",
        CONTENT_REFUSED,
        novita=(ACCESS_REFUSED, _NO_WORD),
        openai_compat=(ACCESS_REFUSED, _NO_WORD),
        vllm=(ACCESS_REFUSED, _NO_WORD),
        litellm=(ACCESS_REFUSED, _NO_LITELLM_WORD),
    ),
    _refused("error404", MODEL_UNAVAILABLE),
    _refused(
        "error429_rate",
        RATE_LIMITED,
        moonshot=(ACCOUNT_RATE_LIMITED, "its limits are the account's"),
        openrouter=(ACCOUNT_RATE_LIMITED, "without a host named it is the platform's own limit"),
    ),
    _refused(
        "error429_overloaded",
        OVERLOADED,
        novita=(RATE_LIMITED, _NO_WORD),
        openai_compat=(RATE_LIMITED, _NO_WORD),
        litellm=(RATE_LIMITED, _NO_LITELLM_WORD),
    ),
    _refused(
        "error429_quota",
        QUOTA_EXHAUSTED,
        openai_compat=(ACCESS_REFUSED, _NO_WORD),
        vllm=(RATE_LIMITED, _NO_WORD),
        litellm=(ACCESS_REFUSED, "403 in this stand-in's form, and " + _NO_LITELLM_WORD),
    ),
    _refused("error500", UPSTREAM_FAULT),
    _refused(
        "error503",
        OVERLOADED,
        moonshot=(UNAVAILABLE, "server_unavailable: the service is away"),
        novita=(UNAVAILABLE, "its error page says so of 503"),
        vercel=(UPSTREAM_FAULT, "internal_server_error says more than the status"),
        litellm=(UNAVAILABLE, "litellm's ServiceUnavailableError is any 503"),
    ),
    _refused("html502", UNAVAILABLE),
    _refused("html504", PROVIDER_TIMEOUT),
    # status 200 and no answer
    _row(
        "login_page",
        Before(BAD_REPLY),
        {
            "litellm": Other(
                "of a whole reply that is none, litellm says InternalServerError",
                Before(BAD_REPLY),
                native=Before(FAULT_INSIDE),
            )
        },
    ),
    _row(
        "whole_error",
        Before(FAULT_INSIDE),
        {
            "openrouter": Other(INSURED, Before(UNAVAILABLE)),
            "litellm": Other(
                "litellm reads nothing but events of a stream: it is one without a finish reason",
                Before(BAD_REPLY),
                native=Before(FAULT_INSIDE),
            ),
        },
    ),
    _row("empty", Before(EMPTY_REPLY)),
    _row("comments_only", Before(BAD_REPLY)),
    # an answer that breaks before its first token
    _row("stall_after_head", Before(TIMEOUT), ground="hurried"),
    _row(
        "cut",
        Before(CONNECTION_LOST),
        {"litellm": Other(_BEHIND, Before(UNAVAILABLE_INSIDE))},
    ),
    _row(
        "cut_nonstream",
        Before(CONNECTION_LOST),
        {"litellm": Other(_BEHIND, Before(UNAVAILABLE_INSIDE))},
    ),
    _row(
        "error_event",
        Before(FAULT_INSIDE),
        {"openrouter": Other(INSURED, Before(UNAVAILABLE))},
    ),
    _row(
        "finish_error",
        Before(FAULT_INSIDE),
        {
            "openrouter": Other(
                INSURED, Before(UNAVAILABLE), native=Before(UNAVAILABLE_INSIDE, "provider_reported")
            )
        },
    ),
    # one that says what it cost: our cost, and not the caller's
    _row(
        "billed_error",
        Before(FAULT_INSIDE, basis="provider_reported"),
        {
            "openrouter": Other(
                "provider_unavailable, and what it says that it took it took",
                Before(UNAVAILABLE_INSIDE, basis="provider_reported"),
            ),
            "litellm": Other(_NO_STATED, Before(FAULT_INSIDE, basis="estimated")),
        },
    ),
    # and after it
    _row("stall_after_head,after=3", Midway(TIMEOUT), ground="hurried"),
    _row(
        "cut,after=3",
        Midway(CONNECTION_LOST),
        {"litellm": Other(_BEHIND, Midway(UNAVAILABLE_INSIDE))},
    ),
    _row(
        "cut,after=3,how=fin",
        Midway(CONNECTION_LOST),
        {"litellm": Other(_BEHIND, Midway(UNAVAILABLE_INSIDE))},
    ),
    _row(
        "error_event,after=3",
        Midway(FAULT_INSIDE),
        {"openrouter": Other(INSURED, Midway(UNAVAILABLE))},
    ),
    _row(
        "billed_error,after=3",
        Midway(FAULT_INSIDE, basis="provider_reported"),
        {
            "openrouter": Other(
                "provider_unavailable, and what it says that it took it took",
                Midway(UNAVAILABLE_INSIDE, basis="provider_reported"),
            ),
            "litellm": Other(_NO_STATED, Midway(FAULT_INSIDE)),
        },
    ),
    _row(
        "finish_error,after=3",
        Midway(FAULT_INSIDE, basis="provider_reported"),
        {
            "openrouter": Other(
                INSURED,
                Midway(UNAVAILABLE),
                native=Before(UNAVAILABLE_INSIDE, "provider_reported"),
            ),
            "vercel": Other(
                "an error object ends its streams, without usage", Midway(FAULT_INSIDE)
            ),
            "litellm": Other("litellm stops at it, before usage comes", Midway(FAULT_INSIDE)),
        },
    ),
    _row(
        "no_done",
        Midway(BAD_REPLY, basis="provider_reported"),
        {"litellm": Other("litellm tells of a finish reason, and of no end mark", Good())},
        native=Good(),
    ),
    _row("oversized_line", Midway(BAD_REPLY), native=Good(extra=1, raw=True)),
    _row("oversized_body", Midway(BAD_REPLY)),  # 36 MiB
    # what can be read all the same
    _row(
        "malformed_event,after=3",
        Good(),
        {"litellm": Other(_UNREADABLE, Midway(BAD_REPLY))},
        native=Before(BAD_REPLY),
    ),
    _row(
        "invalid_utf8",
        Good(mended=True),
        {"litellm": Other(_UNREADABLE, Before(BAD_REPLY))},
    ),
    _row("slow,delay=2", Good()),
    _row("slow_first,delay=90", Good()),
    _row("trickle,size=150", Good()),
    _row("crlf", Good()),
    _row("gzip", Good()),
    _row("double_done", Good()),
    _row("unknown_finish", Good()),
    _row("finish_filter", Good(finish="content_filter", pieces=0)),
    _row("finish_filter,after=8", Good(finish="content_filter", pieces=8, raw=True)),
    # counts
    _row("no_usage", _ESTIMATED),
    _row("wrong_usage", _ESTIMATED),
    _row("duplicate_usage", Good()),
    _row(
        "usage_in_choice",
        Good(),
        {"litellm": Other("litellm does not read it there, as its guide says", _ESTIMATED)},
    ),
    _row("usage_on_finish", Good()),
    _row("usage_running", Good()),
    # tool calls; too late in a stream for anything but telling
    _row(
        "broken_arguments",
        Good(finish="tool_calls", tool="get_weather", told="invalid_json"),
        collected=Before(BAD_TOOL_CALL),
        tools=True,
    ),
    _row(
        "wrong_arguments",
        Good(finish="tool_calls", tool="get_weather", told="schema_mismatch", pieces=8),
        tools=True,
    ),
    _row(
        "unknown_tool",
        Good(finish="tool_calls", tool="no_such_tool", told="unknown_tool"),
        tools=True,
    ),
    _row(
        "leaked_tool",
        Good(finish="tool_calls", tool="get_weather", pieces=14),
        {"moonshot": Other("its own API reads its model's tokens", Good(pieces=14, raw=True))},
        tools=True,
    ),
)

# Where the gateway is not yet as the documents have it, by row and sort of caller: what is missing. Such a
# cell must fail, so that who mends it is told to take it out here; the picture marks it.
GAPS: Mapping[tuple[str, How], str] = {}


def faults_without_a_row() -> Iterator[FaultName]:
    """Faults of the sandbox that nothing is expected of."""
    known = {row.fault.name for row in ROWS if row.fault is not None}
    yield from (name for name in FaultName if name not in known)
