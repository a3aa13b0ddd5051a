"""What an answer cost, as it stands in the `usage` of every dialect."""

import msgspec

from gateway.values import Basis, UsageView

_json = msgspec.json.Encoder().encode


def cost_members(view: UsageView) -> bytes:
    """The members of `usage` that tell of money, without braces: OpenRouter's names, and two of ours.

    `cost` is what the caller's team is charged, as an exact decimal number; `cost_currency` says in what,
    where that is not US dollars; `estimated` that the provider stated no counts that could be used. Web
    searches are told, and their fee, where there were any (`cost_details` and `server_tool_use_details` of
    OpenRouter's contract of 2026-08-22, `server_tool_cost` of its Python SDK of 2026-10-27).
    """
    cost = view.cost
    members = b'"cost":%b,"is_byok":false' % cost.decimal_string().encode()
    if cost.currency != "USD":
        members += b',"cost_currency":%b' % _json(cost.currency)
    if view.basis is Basis.ESTIMATED:
        members += b',"estimated":true'
    if searches := view.quantities.searches:
        members += b',"server_tool_use_details":{"web_search_requests":%d}' % searches
    if (parts := view.parts) is not None:
        members += (
            b',"cost_details":{"upstream_inference_cost":null,"upstream_inference_prompt_cost":%b,'
            b'"upstream_inference_completions_cost":%b,"server_tool_cost":%b}'
        ) % (
            parts.prompt.decimal_string().encode(),
            parts.completion.decimal_string().encode(),
            parts.searches.decimal_string().encode(),
        )
    return members
