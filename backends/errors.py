"""What can go wrong at an upstream: a closed family.

    BackendError
    ├── ConnectFailed        no connection: refused, DNS, TLS, proxy
    │   └── LineFull         too many requests wait for one already
    ├── ConnectionLost       the connection died while a reply was awaited or under way
    ├── UpstreamTimeout      a deadline passed; `phase` says which
    ├── BadReply             an answer that is not what the protocol promises
    ├── EmptyReply           a clean end without one meaningful token
    ├── Overloaded           the provider has no capacity now (429 engine, 503, 529)
    ├── RateLimited          our account there is over a rate limit (429)
    ├── QuotaExhausted       our account there is out of money
    ├── CredentialRefused    our key there is wrong or may not do this (401, 403)
    ├── ModelUnavailable     the provider does not serve this model to us (404)
    ├── RequestRefused       the request itself is at fault (400, 413, 422)
    ├── ContentRefused       the provider's content filter said no
    └── UpstreamFault        any other 5xx, or an error event inside a stream

Errors are classified by status, code and structure, never by message text, except where a provider
offers nothing else, and then in that provider's adapter only.

`str(error)` is for logs of the operator. Only `public` may be shown to a caller: provider detail
can hold account numbers and secrets.
"""

from enum import StrEnum


class Blame(StrEnum):
    """Whose fault a failure is: decides what counts against an endpoint's health."""

    CALLER = "caller"
    ACCOUNT = "account"  # ours, at the provider
    PROVIDER = "provider"
    GATEWAY = "gateway"  # a limit of this gateway's own: says nothing of the endpoint's health


class BackendError(Exception):
    """A failed attempt at one endpoint.

    Attributes:
        code: stable machine-readable word for this kind of failure.
        blame: whose fault it is.
        try_next: whether another endpoint might do better.
        status: the upstream's HTTP status, where there was one; or the one that its error named inside a
            reply of 200.
        in_work: whether it is a fault that was told inside a reply of 200, so that work had begun which
            may be billed, whatever status is named.
        public: text that may be shown to the caller.
        retry_after: seconds the provider asked us to wait, where it did.
        native_code: the provider's own error type or code, where it gave one.
    """

    code = "upstream_error"
    blame = Blame.PROVIDER
    try_next = True
    in_work = False
    public_default = "the provider failed"

    def __init__(
        self,
        detail: str = "",
        *,
        status: int | None = None,
        public: str | None = None,
        retry_after: float | None = None,
        native_code: str | None = None,
    ) -> None:
        super().__init__(detail or self.public_default)
        self.status = status
        self.public = public or self.public_default
        self.retry_after = retry_after
        self.native_code = native_code


class ConnectFailed(BackendError):
    """No connection could be had."""

    code = "connect_failed"
    public_default = "the provider could not be reached"


class LineFull(ConnectFailed):
    """As many requests wait for a connection as may."""

    blame = Blame.GATEWAY
    public_default = "too many requests of this gateway wait for the provider"


class ConnectionLost(BackendError):
    """The connection died.

    `sent_in_full` tells whether the whole request had left this process: if not, the provider
    cannot have begun to work on it.
    """

    code = "connection_lost"
    public_default = "the connection to the provider was lost"

    def __init__(self, detail: str = "", *, sent_in_full: bool = True) -> None:
        super().__init__(detail)
        self.sent_in_full = sent_in_full


class UpstreamTimeout(BackendError):
    """A deadline passed.

    `phase` is one of connect, pool, write, first_byte, idle, total; `detail` says what was waited for.
    In `pool`, for one of the connections that this gateway allows itself.
    """

    code = "timeout"
    public_default = "the provider did not answer in time"

    def __init__(self, phase: str, seconds: float, detail: str = "") -> None:
        super().__init__(f"{phase} deadline of {seconds:g} s passed{detail and ': '}{detail}")
        if phase == "pool":
            self.blame = Blame.GATEWAY
        self.phase = phase
        self.seconds = seconds


class BadReply(BackendError):
    """The provider's answer breaks its protocol: not HTTP, not JSON, too large, cut short."""

    code = "bad_reply"
    public_default = "the provider's answer could not be understood"


class EmptyReply(BackendError):
    """The provider ended cleanly without content, reasoning or a tool call."""

    code = "empty_reply"
    public_default = "the provider returned an empty answer"


class Overloaded(BackendError):
    """The provider has no capacity now."""

    code = "overloaded"
    public_default = "the provider is overloaded"


class RateLimited(BackendError):
    """Our account at the provider is over a rate limit."""

    code = "rate_limited"
    blame = Blame.ACCOUNT
    public_default = "the provider is limiting this gateway's rate"


class QuotaExhausted(BackendError):
    """Our account at the provider is out of money or credit."""

    code = "quota_exhausted"
    blame = Blame.ACCOUNT
    public_default = "this gateway's account at the provider is exhausted"


class CredentialRefused(BackendError):
    """The provider refused our credential."""

    code = "credential_refused"
    blame = Blame.ACCOUNT
    public_default = "the provider refused this gateway's credential"


class ModelUnavailable(BackendError):
    """The provider does not serve this model to us."""

    code = "model_unavailable"
    blame = Blame.ACCOUNT
    public_default = "the provider does not serve this model"


class RequestRefused(BackendError):
    """The request itself is at fault, or so this provider says."""

    code = "request_refused"
    blame = Blame.CALLER
    try_next = False
    public_default = "the provider refused the request as invalid"


class ContentRefused(BackendError):
    """The provider's content filter refused the request or stopped the answer."""

    code = "content_refused"
    blame = Blame.CALLER
    try_next = False
    public_default = "the provider's content filter refused the request"


class UpstreamFault(BackendError):
    """The provider failed: any other 5xx, or an error event inside a stream."""

    code = "upstream_fault"
