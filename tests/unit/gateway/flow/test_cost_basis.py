"""What an attempt costs: by the rate card, or what the reply says, where its endpoint's row trusts that."""

import pytest
from msgspec.structs import replace

from backends import Usage
from gateway.values import Basis
from pricing import Money
from tests.builders import END, budget, candidate, chat, principal, text
from tests.fakes.flow import Rig

# Prices are 1 and 2 dollars per million: 10 prompt and 5 output tokens are 20 microdollars by the card.
BY_CARD = Money("USD", 20_000_000)
STATED = Money("USD", 13_400_001)
FORMS = pytest.mark.parametrize("form", ["stream", "whole"])


async def settled(cost: str | None, basis: str, form: str = "whole", **usage: int) -> Rig:
    row = replace(candidate("a"), cost_basis=basis)
    gateway = Rig(row, principal=principal(budget("1")))
    used = Usage(**({"prompt": 10, "completion": 5} | usage), reported_cost=cost)
    gateway.script("a", [[text("Hi")], [END], [used]])
    await gateway.ask(chat(stream=form == "stream", usage={"include": True}))
    return gateway


@FORMS
async def test_a_stated_cost_is_cost_and_charge_to_the_pico(form: str) -> None:
    gateway = await settled("0.000013400001", "provider_reported", form)
    (attempt,) = gateway.outcome.attempts
    assert (attempt.cost, attempt.charge) == (STATED, STATED)
    assert (attempt.reported_cost, attempt.basis) == ("0.000013400001", Basis.REPORTED)
    assert attempt.cost_basis == "provider_reported"
    assert gateway.state.spent("bud-key:total") == (STATED.nano_up(), 0)


@FORMS
async def test_by_the_card_a_stated_cost_is_only_kept(form: str) -> None:
    (attempt,) = (await settled("0.000013400001", "rate_card", form)).outcome.attempts
    assert (attempt.cost, attempt.charge) == (BY_CARD, BY_CARD)
    assert (attempt.reported_cost, attempt.cost_basis) == ("0.000013400001", "rate_card")


@pytest.mark.parametrize("stated", [None, "-0.1", "0", "1000000", "1e30", "a lot"])
async def test_without_a_cost_that_can_be_the_card_says_it(stated: str | None) -> None:
    (attempt,) = (await settled(stated, "provider_reported")).outcome.attempts
    assert (attempt.cost, attempt.charge) == (BY_CARD, BY_CARD)
    assert (attempt.reported_cost, attempt.cost_basis) == (stated, "rate_card")


async def test_a_stated_cost_counts_also_where_the_counts_beside_it_cannot_be() -> None:
    gateway = await settled("0.000013400001", "provider_reported", cached=11)
    (attempt,) = gateway.outcome.attempts
    assert (attempt.cost, attempt.basis) == (STATED, Basis.ESTIMATED)
