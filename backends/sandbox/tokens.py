"""The sandbox's token arithmetic: simple rules, so that a test can state exact usage beforehand.

* Prompt: the UTF-8 bytes of all message text, four to a token, rounded up; at least one token.
  Text is `content` as a string, or the `text` of its parts. Each part that is not text counts
  `PART_TOKENS`. Roles, names, tool calls and tool definitions are not counted.
* Answer: one token for each piece that is streamed, reasoning included.
* Cache: whole blocks of 256 tokens of prompt text that an earlier prompt of the same key and model
  began with. Only prompts of more than 256 tokens are remembered. (Moonshot, recorded 2026-09-03:
  256 of 461 tokens were cached; its documentation of that day names the limit of 256.)
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

BYTES_PER_TOKEN = 4
BLOCK_TOKENS = 256
PART_TOKENS = 256
_BLOCK_BYTES = BLOCK_TOKENS * BYTES_PER_TOKEN


def message_text(message: Mapping[str, Any]) -> str:
    """The text of one chat message; empty if it has none."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(
        part["text"]
        for part in content
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    )


def prompt_text(messages: Sequence[Mapping[str, Any]]) -> bytes:
    """The UTF-8 text of all messages, one after the other."""
    return "".join(map(message_text, messages)).encode("utf-8", "surrogatepass")


def count_prompt_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """Tokens that the sandbox counts for a prompt; see the rule at the head of this module."""
    return count_tokens(prompt_text(messages), messages)


def count_tokens(text: bytes, messages: Sequence[Mapping[str, Any]]) -> int:
    """`count_prompt_tokens` for a caller who has `prompt_text(messages)` already."""
    parts = sum(
        1
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if not (isinstance(part, dict) and isinstance(part.get("text"), str))
    )
    return max(1, -(-len(text) // BYTES_PER_TOKEN) + parts * PART_TOKENS)


class PrefixCache:
    """Which prompt prefixes were seen before: the newest `capacity` blocks of 256 tokens."""

    def __init__(self, capacity: int = 65_536) -> None:
        self._capacity = capacity
        self._seen: OrderedDict[int, None] = OrderedDict()

    def visit(self, owner: Hashable, text: bytes) -> int:
        """Tokens of `text` that an earlier prompt of `owner` began with; remembers `text` too."""
        remember = len(text) > _BLOCK_BYTES
        cached, unbroken = 0, True
        chain = hash(owner)
        for start in range(0, len(text) - _BLOCK_BYTES + 1, _BLOCK_BYTES):
            chain = hash((chain, text[start : start + _BLOCK_BYTES]))
            unbroken = unbroken and chain in self._seen
            if unbroken:
                cached += BLOCK_TOKENS
            if remember:
                self._seen[chain] = None
                self._seen.move_to_end(chain)
        while len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return cached
