"""Runs where litellm is installed: what calls cost by its `completion_cost`.

Reads from standard input a list of models, each with token counts: fresh, read from the cache, written to
it, output. Answers with a list of lists of costs as texts; null for a model that it does not know.
"""

import json
import sys

from litellm import completion_cost, model_cost
from litellm.types.utils import ModelResponse, PromptTokensDetailsWrapper, Usage


def cost(model: str, fresh: int, read: int, written: int, output: int) -> str:
    """What it says one call costs, in USD."""
    prompt = fresh + read + written
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=output,
        total_tokens=prompt + output,
        prompt_tokens_details=PromptTokensDetailsWrapper(cached_tokens=read),
        cache_creation_input_tokens=written,
        cache_read_input_tokens=read,
    )
    answer = ModelResponse(model=model, usage=usage)
    provider = model_cost[model]["litellm_provider"]
    return repr(
        completion_cost(completion_response=answer, model=model, custom_llm_provider=provider)
    )


if __name__ == "__main__":
    found = [
        [cost(model, *counts) for counts in calls] if model in model_cost else None
        for model, calls in json.load(sys.stdin)
    ]
    print("\n" + json.dumps(found))  # noqa: T201 - this is how it answers
