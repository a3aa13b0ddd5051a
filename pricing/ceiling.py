"""The most that a call can cost, known before it is made."""

from pricing.money import Money
from pricing.rates import RateCard


def ceiling_pico(
    card: RateCard,
    *,
    prompt_tokens: int,
    output_tokens: int,
    requests: int = 1,
    searches: int = 0,
) -> int:
    """The most a call can cost, in picos of the card's currency.

    Nobody knows beforehand which prompt tokens are read from a cache and which are written to it,
    so each is taken at the dearest of the card's input prices.

    Args:
        card: the prices.
        prompt_tokens: the most tokens that the prompt can be.
        output_tokens: the output cap sent to the host; reasoning counts as output.
        requests: how many billed requests the call may make.
        searches: how many billed searches the call may make.

    Raises:
        ValueError: a count is below zero.
        Unpriced: there may be searches and the card has no price for them.
    """
    if prompt_tokens < 0 or output_tokens < 0 or requests < 0 or searches < 0:
        raise ValueError(
            f"a ceiling needs counts of zero or more, not prompt_tokens={prompt_tokens}, "
            f"output_tokens={output_tokens}, requests={requests}, searches={searches}"
        )
    # A one-hour write without a price costs the input price or the five-minute one: both are here.
    dearest = card.input
    for price in (card.cache_read, card.cache_write_5m, card.cache_write_1h):
        if price is not None and price > dearest:
            dearest = price
    pico = prompt_tokens * dearest + output_tokens * card.output + requests * card.per_request
    return pico + searches * card.unit_search if searches else pico


def ceiling(
    card: RateCard,
    *,
    prompt_tokens: int,
    output_tokens: int,
    requests: int = 1,
    searches: int = 0,
) -> Money:
    """The most a call can cost; see `ceiling_pico`, which has the same arguments and errors."""
    return Money(
        card.currency,
        ceiling_pico(
            card,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            requests=requests,
            searches=searches,
        ),
    )
