"""The accounts at providers that the settings make, with what belongs to each."""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from backends import Endpoint
from gateway.settings import Settings
from gateway.settings_accounts import LimitsSettings
from gateway.values import Candidate


class Account(Struct, frozen=True):
    """An account at a provider.

    Attributes:
        endpoint: one of its endpoints, by which the provider is asked about the account.
        low_balance: below which its owner wants to be told, in its currency.
    """

    name: str
    endpoint: Endpoint
    limits: LimitsSettings
    low_balance: Decimal | None


def accounts_from(settings: Settings, candidates: Iterable[Candidate]) -> tuple[Account, ...]:
    """Every account that has endpoints, in the order of the settings."""
    first: dict[str, Endpoint] = {}
    for candidate in candidates:
        first.setdefault(candidate.endpoint.account, candidate.endpoint)
    found = {account.name: account for account in settings.account_of_rows().values()}
    return tuple(
        Account(
            name,
            first[name],
            account.limits,
            None if account.low_balance is None else Decimal(account.low_balance),
        )
        for name, account in found.items()
        if name in first
    )
