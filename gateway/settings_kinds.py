"""What the settings say of kinds of endpoint, which `backends.KINDS` has: a new one needs nothing here."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo

from backends import KINDS, THINKING_SWITCHES
from gateway.settings_fields import OneOf

# The kinds with models and prices in the catalogue, and what such a kind is called.
_PROVIDERS = {name: kind.title for name, kind in KINDS.items() if kind.catalogue}
_AGGREGATORS = " and ".join(f"`{name}`" for name, kind in KINDS.items() if kind.quirks.aggregator)
_REPORTING = " and ".join(f"`{name}`" for name, kind in KINDS.items() if kind.reports_cost)

ProviderKind = Annotated[
    str,
    OneOf(_PROVIDERS, "what the catalogue has no prices of goes under 'endpoints'"),
    Field(
        description="Which provider it is: "
        + ", ".join(f"`{name}` ({title})" for name, title in _PROVIDERS.items())
        + "."
    ),
]
EndpointKind = Annotated[
    str,
    OneOf(KINDS),
    Field(
        description="Which wire it speaks: "
        + ", ".join(f"`{name}` ({kind.title})" for name, kind in KINDS.items())
        + "."
    ),
]

# What a block of `providers` or `endpoints` says of how its endpoints are asked, and of what they cost.
Hosts = Annotated[
    tuple[str, ...],
    Field(
        description=f"{_AGGREGATORS} only: the hosts that it may pass requests on to, by its own"
        " names for them; any unless set."
    ),
]
ThinkingSwitch = Annotated[
    Annotated[str, OneOf(THINKING_SWITCHES)] | None,
    Field(
        description="The field by which it is told whether, and how much, to think; its kind's unless"
        " set. See [fields](fields.md#modes)."
    ),
]
CostBasis = Annotated[
    Literal["rate_card", "provider_reported"] | None,
    Field(
        description="What a request costs: its tokens at the known prices, or what the reply says, where"
        " it says so. Unless set: `provider_reported` for"
        f" {_REPORTING} with prices in USD, `rate_card` for all others."
    ),
]


def aggregators_only(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """A validator of `Hosts`."""
    kind = str(info.data.get("kind"))
    if value and kind in KINDS and not KINDS[kind].quirks.aggregator:
        raise ValueError(f"kind {kind} passes requests on to nobody: remove it")
    return value
