"""What is known of one kind of endpoint: the row that each file of `backends.kinds` ends with."""

from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from msgspec import Struct

from backends.errors import BadReply
from backends.openai_compat.quirks import Quirks

_MOST_DIGITS, _MOST_DECIMALS = 20, 60  # of an amount: nobody has more money, nor counts it finer


class Published(Struct, frozen=True, kw_only=True):
    """What a provider has published of what it does with what it is sent; None: nothing says so.

    Attributes:
        trains: whether it may train on prompts or answers.
        retains: whether it keeps them beyond the request.
        retention_days: for how long, where it says so.
        region: where they are processed, as the source has it.
        source: what says so.
        date: when that was read, ISO 8601.
    """

    trains: bool | None = None
    retains: bool | None = None
    retention_days: int | None = None
    region: str | None = None
    source: str
    date: str


class Balance(Struct, frozen=True):
    """What an account may still spend, in units of its currency; negative where it owes."""

    amount: Decimal
    currency: str


class Ask(Protocol):
    """What puts questions about an account to its provider."""

    async def __call__(self, path: str, *, at_root: bool = False) -> Any:
        """The JSON at a path of the base URL, or of its host; numbers in it are decimals.

        Raises:
            BackendError: it could not be had.
        """


class Kind(Struct, frozen=True, kw_only=True):
    """One kind of endpoint.

    Attributes:
        quirks: how its wire differs.
        title: what it is, as the reference says behind its name.
        base_url: where the provider's own service is, if there is just one.
        key_variable: the environment variable in which people keep its key.
        catalogue: whose offers and prices these are in the catalogue; with it, it may be under `providers`.
        reports_cost: whether what its replies say they cost is what is billed.
        published: what is known of its data policy at `base_url`; None: nothing, which counts as "retains
            and trains".
        balance: asks what an account has left, None for one without a limit; None: no way to tell.
        good_key_path: where only a good key is answered, if it lists its models to anybody.
    """

    quirks: Quirks
    title: str
    base_url: str | None = None
    key_variable: str | None = None
    catalogue: str | None = None
    reports_cost: bool = False
    published: Published | None = None
    balance: Callable[[Ask], Awaitable[Balance | None]] | None = None
    good_key_path: str | None = None


def member(document: Any, name: str) -> Any:
    """A member of a JSON object.

    Raises:
        BadReply: there is none.
    """
    if not isinstance(document, dict) or name not in document:
        raise BadReply(f"no {name!r} in the reply")
    return document[name]


def amount(value: Any) -> Decimal:
    """An amount of money, stated as a number or as text.

    Raises:
        BadReply: it is none.
    """
    try:
        found = Decimal(value) if isinstance(value, (str, Decimal)) else None
    except InvalidOperation:
        found = None
    if found is None or not found.is_finite():
        raise BadReply("the balance is no number")
    exponent = found.as_tuple().exponent
    if found.adjusted() > _MOST_DIGITS or (
        isinstance(exponent, int) and exponent < -_MOST_DECIMALS
    ):
        raise BadReply("the balance is no sum of money")
    return found
