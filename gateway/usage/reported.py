"""What a provider says that an answer cost, as money."""

from decimal import ROUND_CEILING, Context, Decimal

from pricing import Quantities, RateCard, ceiling_pico

# A statement above so many times the dearest reading of the tokens is a slip of the unit, not a price.
MOST = 10

_EXACT = Context(prec=80, rounding=ROUND_CEILING)
_PICO_DECIMALS = 12
_MOST_DIGITS = 20  # before the point


def reported_pico(stated: str | None, quantities: Quantities, card: RateCard) -> int | None:
    """The cost that a reply states, in picos of its currency; None where it is not to be believed.

    Digits beyond a pico are rounded up. Not believed are a cost below zero, one of nothing for an answer
    that the card has a price for (an aggregator states that where it used somebody's own key, or by
    mistake; nothing is free by default), and one above `MOST` times what the tokens could cost by the
    card.

    Args:
        stated: a decimal number, maybe with an exponent.
        quantities: what was used.
        card: its prices, in the currency of the statement.
    """
    if stated is None or (pico := stated_pico(stated)) is None:
        return None
    most = ceiling_pico(
        card,
        prompt_tokens=quantities.input_total,
        output_tokens=quantities.output,
        requests=quantities.requests,
    )
    if pico > MOST * most or (pico == 0 and quantities.output and most):
        return None
    return pico


def stated_pico(stated: str) -> int | None:
    """A stated cost in picos, rounded up; None where it is no amount of money, or one below zero.

    Args:
        stated: as in `reported_pico`.
    """
    try:
        cost = Decimal(stated)
        if not cost.is_finite() or (cost.is_signed() and cost) or cost.adjusted() > _MOST_DIGITS:
            return None
        return int(_EXACT.to_integral_value(_EXACT.scaleb(cost, _PICO_DECIMALS)))
    except ArithmeticError:
        return None
