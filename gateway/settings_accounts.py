"""The settings of accounts at providers: keys, limits, money, and which rows share one."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol
from urllib.parse import urlsplit

from pydantic import Field

from backends import Secret, address_fault
from gateway.settings_fields import Count, Credential, Money, Section

_ONE_OF_BOTH = "set 'api_key' or 'api_keys', not both"
_NO_KEY = "has no key: set 'api_key' or 'api_keys'"

# What a block of `providers` or `endpoints` says of its account at the provider, or `accounts` for it.
ApiKeys = Annotated[
    tuple[Credential, ...],
    Field(
        description="Several credentials of the one account, instead of `api_key`: the next is used"
        " when the provider refuses one. They add no capacity."
    ),
]
LowBalance = Annotated[
    Money | None,
    Field(description="Balance, in the account's currency, below which the log warns."),
]
AccountName = Annotated[
    str | None,
    Field(
        description="One of `accounts`, whose keys, limits and money this shares with others that"
        " name it; an account of its own unless set."
    ),
]
Local = Annotated[
    bool | None,
    Field(
        description="Whether it may be at a private address, such as one of your own network. Unless"
        " set: yes for kind `vllm` and for sandboxes."
    ),
]


class LimitsSettings(Section):
    """What the provider grants an account: requests that it would refuse are not sent there.

    Minutes slide; each process counts for itself.
    """

    requests_per_minute: Count | None = Field(None, description="Requests in a minute.")
    tokens_per_minute: Count | None = Field(
        None,
        description="Tokens in a minute: of prompts, as estimated, and output caps, whatever is then"
        " written. So Moonshot counts.",
    )
    concurrency: Count | None = Field(None, description="Requests under way at a time.")


class AccountSettings(Section):
    """An account at a provider, for several blocks of `providers` and `endpoints` that share it.

    A block that names none has an account of its own: `api_key`, `api_keys`, `limits` and
    `low_balance` are then set on the block itself.
    """

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,126}$", description="What `account` names."
    )
    api_key: Credential | None = Field(None, description="The credential; use `${VARIABLE}`.")
    api_keys: ApiKeys = ()
    limits: LimitsSettings = LimitsSettings()
    low_balance: LowBalance = None

    def secrets(self) -> tuple[Secret, ...]:
        """Its keys, in the order in which they are tried."""
        keys = (self.api_key, *self.api_keys) if self.api_key else self.api_keys
        return tuple(Secret(key.get_secret_value()) for key in keys)


class Row(Protocol):
    """What blocks of `providers` and `endpoints` have in common."""

    @property
    def kind(self) -> str | None:
        """Which provider, or which wire."""

    @property
    def account(self) -> str | None:
        """The shared account that it names, if it does."""

    @property
    def address(self) -> str:
        """Where it is."""

    @property
    def is_local(self) -> bool:
        """Whether it may be at a private address."""

    @property
    def own_account(self) -> str:
        """What its account is called if it names none."""


def accounts_of(
    named: Sequence[AccountSettings], rows: Mapping[str, Row]
) -> Mapping[str, AccountSettings]:
    """The account of each row, by the row's place in the settings.

    Args:
        named: those that rows may share.
        rows: by place, such as `providers[0]`.

    Raises:
        ValueError: one is not there, or not told from another; or a row says what its account says.
    """
    known = {account.name: account for account in named}
    for at, account in enumerate(named):
        if known[account.name] is not account:
            raise ValueError(f"accounts[{at}].name: {account.name!r} is there more than once")
        if bool(account.api_key) == bool(account.api_keys):
            raise ValueError(f"accounts[{at}]: {_ONE_OF_BOTH if account.api_key else _NO_KEY}")
    found: dict[str, AccountSettings] = {}
    first: dict[str, tuple[str, str | None]] = {}
    for where, row in rows.items():
        own = {
            name: getattr(row, name)
            for name in ("api_key", "api_keys", "limits", "low_balance")
            if getattr(row, name) not in {None, (), LimitsSettings()}
        }
        if "api_key" in own and "api_keys" in own:
            raise ValueError(f"{where}: {_ONE_OF_BOTH}")
        if row.account is None:
            if row.own_account in known:
                raise ValueError(
                    f"{where}: its own account is called {row.own_account!r}, as another one is: give"
                    " one of them another name, or name a shared 'account' here"
                )
            found[where] = known[row.own_account] = AccountSettings(name=row.own_account, **own)
            first[row.own_account] = where, row.kind
            continue
        if row.account not in {account.name for account in named}:
            raise ValueError(f"{where}.account: there is no {row.account!r} in 'accounts'")
        if own:
            raise ValueError(
                f"{where}.{next(iter(own))}: belongs to the account {row.account!r}: set it in"
                " 'accounts'"
            )
        other, kind = first.setdefault(row.account, (where, row.kind))
        if kind != row.kind:
            raise ValueError(
                f"{where}.account: {row.account!r} is an account for {kind}, by {other}; its keys are"
                f" not sent to {row.kind}"
            )
        found[where] = known[row.account]
    return found


def refused_addresses(rows: Mapping[str, Row]) -> list[str]:
    """One line for each row whose address, written out, may not be dialled."""
    faults = []
    for where, row in rows.items():
        host = urlsplit(row.address).hostname or ""
        if (why := address_fault(host, local=row.is_local)) is not None:
            faults.append(f"{where}.base_url: {why}")
    return faults
