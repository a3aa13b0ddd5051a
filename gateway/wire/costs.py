"""What an answer cost, as it stands in the `usage` of every dialect."""

import msgspec

from gateway.values import Basis, UsageView

_json = msgspec.json.Encoder().encode


def cost_members(view: UsageView) -> bytes:
    """The members of `usage` that tell of money, without braces: OpenRouter's names, and two of ours.

    `cost` is what the caller's team is charged, as an exact decimal number; `cost_currency` says in what,
    where that is not US dollars; `estimated` that the provider stated no counts that could be used.
    """
    cost = view.cost
    members = b'"cost":%b,"is_byok":false' % cost.decimal_string().encode()
    if cost.currency != "USD":
        members += b',"cost_currency":%b' % _json(cost.currency)
    if view.basis is Basis.ESTIMATED:
        members += b',"estimated":true'
    return members
