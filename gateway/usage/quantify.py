"""From what a provider counted to what is billed: the one place."""

from backends import Usage
from pricing import Quantities

MAX_COUNT = 10**9
"""No request has more tokens than this; a provider that says so is not believed."""

_BYTES_PER_TOKEN = 4


class InconsistentUsage(Exception):
    """A provider's counts contradict themselves or cannot be.

    Attributes:
        faults: what is wrong, one phrase each.
        repaired: counts to bill instead, by the rule in `quantify`; None where the totals themselves
            are unusable, so that only an estimate remains.
    """

    def __init__(self, faults: tuple[str, ...], repaired: Quantities | None) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults
        self.repaired = repaired


def quantify(usage: Usage) -> Quantities:
    """The disjoint buckets of a usage: input sums to its `prompt`, output is its `completion`.

    Where the counts contradict each other, what is raised carries counts that are repaired against
    the provider's own totals and never cheaper than any reading of them with that prompt total:

    - a negative part counts as zero;
    - cached and cache-written tokens that together exceed the prompt: the cache discount is void.
      The writes, which cost no less than fresh input, are kept as far as the prompt goes (one-hour
      first, being dearest), and the rest of the prompt is fresh;
    - more reasoning than completion: the output is the reasoning.

    Raises:
        InconsistentUsage: a part exceeds its total, a count is negative or above `MAX_COUNT`.
    """
    prompt, completion = usage.prompt, usage.completion
    cached, write_5m, write_1h = usage.cached, usage.cache_write, usage.cache_write_1h
    fresh = prompt - cached - write_5m - write_1h
    if (
        # Negative if any of them is.
        (fresh | cached | write_5m | write_1h) < 0
        or not 0 <= usage.reasoning <= completion <= MAX_COUNT
        or prompt > MAX_COUNT
    ):
        raise _inconsistent(usage)
    return Quantities(
        fresh_input=fresh,
        cache_read=cached,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output=completion,
        requests=1,
    )


def estimate_output(deltas: int, size: int) -> int:
    """Output tokens of an answer of which `deltas` pieces of `size` bytes together have come.

    A piece is at least a token; where a provider packs several into one, four bytes count as a token.
    """
    return max(deltas, -(-size // _BYTES_PER_TOKEN))


def estimate(prompt_bytes: int, output_tokens: int, *, context_length: int) -> Quantities:
    """Counts where the provider gave none. A rule of this gateway, not a tokenizer.

    A token for each four bytes of the prompt's JSON, rounded up, all of it fresh input; and one for
    each content, reasoning or tool-call delta that the caller was sent. Never more input than the
    model's context has tokens: the bytes of media are no measure, and the hold covers no more.
    """
    prompt = estimate_prompt(prompt_bytes, context_length)
    return Quantities(fresh_input=prompt, output=output_tokens, requests=1)


def estimate_prompt(prompt_bytes: int, context_length: int) -> int:
    """The input tokens of `estimate`."""
    return min(-(-prompt_bytes // _BYTES_PER_TOKEN), context_length)


def _inconsistent(usage: Usage) -> InconsistentUsage:
    counts = {
        "prompt": usage.prompt,
        "completion": usage.completion,
        "cached": usage.cached,
        "cache_write": usage.cache_write,
        "cache_write_1h": usage.cache_write_1h,
        "reasoning": usage.reasoning,
    }
    faults = [f"{name} is {count}, below zero" for name, count in counts.items() if count < 0]
    faults += [
        f"{name} is above {MAX_COUNT}" for name, count in counts.items() if count > MAX_COUNT
    ]
    cached, write_5m, write_1h, reasoning = (
        max(counts[part], 0) for part in ("cached", "cache_write", "cache_write_1h", "reasoning")
    )
    usable = 0 <= usage.prompt <= MAX_COUNT and 0 <= usage.completion <= MAX_COUNT
    if cached + write_5m + write_1h > usage.prompt:
        faults.append("cached and cache-written tokens exceed the prompt")
        cached = 0
    if reasoning > usage.completion:
        faults.append("reasoning exceeds the completion")
        usable = usable and reasoning <= MAX_COUNT
    if not usable:
        return InconsistentUsage(tuple(faults), None)
    write_1h = min(write_1h, usage.prompt)
    write_5m = min(write_5m, usage.prompt - write_1h)
    repaired = Quantities(
        fresh_input=usage.prompt - cached - write_5m - write_1h,
        cache_read=cached,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output=max(usage.completion, reasoning),
        requests=1,
    )
    return InconsistentUsage(tuple(faults), repaired)
