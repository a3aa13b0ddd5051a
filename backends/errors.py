"""What can go wrong at an upstream: a closed family.

    BackendError
    ├── ConnectFailed              no connection: refused, DNS, TLS, proxy
    │   ├── AddressRefused         the address is private, and the upstream not said to be local
    │   └── LineFull               too many requests wait for one already
    ├── ConnectionLost             the connection died while a reply was awaited or under way
    ├── UpstreamTimeout            a deadline of ours passed; `phase` says which
    ├── BadReply                   an answer that is not what the protocol promises
    │   └── BadToolCall            … or a tool call in it that is of no use
    ├── EmptyReply                 a clean end without one meaningful token
    ├── Overloaded                 the provider has no capacity now (429 engine, 503, 529)
    ├── ProviderUnavailable        the service is down, or not behind its proxy (502, 503 as a page)
    ├── ProviderTimeout            the provider, or a proxy before it, gave up waiting (408, 504, 524)
    ├── RateLimited                over a rate limit there (429), that of one model
    │   └── AccountRateLimited     … that all models of our account share
    ├── QuotaExhausted             our account there is out of money (402)
    ├── CredentialRefused          our key there is wrong (401)
    ├── AccessRefused              our key is good, but may not do this (403)
    ├── ModelUnavailable           the provider does not serve this model to us (404)
    │   └── NoHost                 an aggregator has no host that may take this request
    ├── RequestRefused             the request itself is at fault (400, 413, 422)
    │   └── ParameterUnsupported   … or only here: another provider may know the parameter
    ├── ContextLengthExceeded      prompt and output do not fit the model's context there
    ├── ContentRefused             the provider's content policy said no
    └── UpstreamFault              any other 5xx, or an error event inside a stream

Errors are classified by status, code and structure, never by message text, except where a provider
offers nothing else, and then in that provider's adapter only.

`str(error)` is for logs of the operator. Only `public` may be shown to a caller: provider detail
can hold account numbers and secrets.
"""

from enum import StrEnum
from typing import Literal

from backends.secret import Secret

SetsAside = Literal["nothing", "endpoint", "account"]


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
        sets_aside: what else the failure speaks of, and should not be tried for a while: nothing but
            this request, this endpoint, or every endpoint of our account.
        next_key: whether another key of the same account might do better. If so, it is this key first
            that is at fault, and what `sets_aside` names only once no key is left.
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
    sets_aside: SetsAside = "endpoint"
    next_key = False
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

    def conceal(self, secret: Secret | None) -> None:
        """Take our key out of what is told: a provider may repeat what it was sent."""
        if secret is None:
            return
        value = secret.reveal()
        self.args = tuple(str(arg).replace(value, "***") for arg in self.args)
        self.public = self.public.replace(value, "***")
        if self.native_code is not None:
            self.native_code = self.native_code.replace(value, "***")


class ConnectFailed(BackendError):
    """No connection could be had."""

    code = "connect_failed"
    public_default = "the provider could not be reached"


class AddressRefused(ConnectFailed):
    """The upstream's name means an address that may not be dialled: `str(error)` says which and why."""

    public_default = "the provider is at an address that this gateway does not connect to"


class LineFull(ConnectFailed):
    """As many requests wait for a connection as may."""

    blame = Blame.GATEWAY
    sets_aside = "nothing"
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
            self.sets_aside = "nothing"
        self.phase = phase
        self.seconds = seconds


class BadReply(BackendError):
    """The provider's answer breaks its protocol: not HTTP, not JSON, too large, cut short."""

    code = "bad_reply"
    public_default = "the provider's answer could not be understood"


class BadToolCall(BadReply):
    """A tool call of a whole answer that nobody could make: no JSON, or not what was promised of it."""

    code = "bad_tool_call"
    public_default = "the provider's tool call could not be used"


class EmptyReply(BackendError):
    """The provider ended cleanly without content, reasoning or a tool call."""

    code = "empty_reply"
    public_default = "the provider returned an empty answer"


class Overloaded(BackendError):
    """The provider has no capacity now."""

    code = "overloaded"
    public_default = "the provider is overloaded"


class ProviderUnavailable(BackendError):
    """The service is down, or a proxy in front of it finds nobody behind."""

    code = "provider_unavailable"
    public_default = "the provider is not available"


class ProviderTimeout(BackendError):
    """The provider, or a proxy in front of it, gave up waiting: by its clock, not by ours."""

    code = "timeout"
    public_default = "the provider took too long"


class RateLimited(BackendError):
    """Our account at the provider is over a rate limit: where nothing more is known, of one model."""

    code = "rate_limited"
    blame = Blame.ACCOUNT
    public_default = "the provider is limiting this gateway's rate"


class AccountRateLimited(RateLimited):
    """A rate limit that all models of our account share: none of its keys does better."""

    sets_aside = "account"


class QuotaExhausted(BackendError):
    """Our account at the provider is out of money or credit."""

    code = "quota_exhausted"
    blame = Blame.ACCOUNT
    sets_aside = "account"
    public_default = "this gateway's account at the provider is exhausted"


class CredentialRefused(BackendError):
    """The provider refused our credential."""

    code = "credential_refused"
    blame = Blame.ACCOUNT
    sets_aside = "account"
    next_key = True
    public_default = "the provider refused this gateway's credential"


class AccessRefused(BackendError):
    """The provider knows our credential, which may not do this: a model, a region, an address."""

    code = "access_refused"
    blame = Blame.ACCOUNT
    next_key = True
    public_default = "the provider does not let this gateway's account do this"


class ModelUnavailable(BackendError):
    """The provider does not serve this model to us."""

    code = "model_unavailable"
    blame = Blame.ACCOUNT
    public_default = "the provider does not serve this model"


class NoHost(ModelUnavailable):
    """An aggregator has no host that may take this request, under the conditions that it carries."""

    sets_aside = "nothing"
    public_default = "the provider has no host that fits the request"


class RequestRefused(BackendError):
    """The request itself is at fault, or so this provider says."""

    code = "request_refused"
    blame = Blame.CALLER
    try_next = False
    sets_aside = "nothing"
    public_default = "the provider refused the request as invalid"


class ParameterUnsupported(RequestRefused):
    """A parameter, or a value of one, that this provider or model does not support; others may."""

    code = "unsupported_parameter"
    try_next = True
    public_default = "the provider does not support a parameter of the request"


class ContextLengthExceeded(BackendError):
    """Prompt and output do not fit the context of this endpoint; one with a larger context may do."""

    code = "context_length_exceeded"
    blame = Blame.CALLER
    sets_aside = "nothing"
    public_default = "prompt and output are longer than the model's context"


class ContentRefused(BackendError):
    """The provider's content policy refused the request or stopped the answer."""

    code = "content_policy_violation"
    blame = Blame.CALLER
    try_next = False
    sets_aside = "nothing"
    public_default = "the provider's content policy refused the request"


class UpstreamFault(BackendError):
    """The provider failed: any other 5xx, or an error event inside a stream."""

    code = "upstream_fault"
