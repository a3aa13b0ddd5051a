"""The sandbox counts tokens by a rule that a test can work out beforehand."""

import pytest

from backends.sandbox.tokens import PrefixCache, count_prompt_tokens, message_text


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ([], 1),
        ([{"role": "user", "content": ""}], 1),
        ([{"role": "user", "content": "1234"}], 1),
        ([{"role": "user", "content": "12345"}], 2),
        # summed before it is rounded
        ([{"role": "system", "content": "12"}, {"role": "user", "content": "34"}], 1),
        # bytes, not characters
        ([{"role": "user", "content": "日本"}], 2),
        ([{"role": "user", "content": [{"type": "text", "text": "12345"}]}], 2),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], 256),
    ],
)
def test_prompt_tokens_are_a_quarter_of_the_bytes_of_text(
    messages: list[dict[str, object]], tokens: int
) -> None:
    assert count_prompt_tokens(messages) == tokens


def test_text_parts_of_a_message_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
    assert message_text({"role": "user", "content": parts}) == "ab"


def test_a_short_prompt_is_never_cached() -> None:
    cache = PrefixCache()
    text = b"x" * 1024  # exactly 256 tokens: not more
    assert cache.visit("key", text) == 0
    assert cache.visit("key", text) == 0


def test_whole_blocks_of_a_repeated_prefix_are_cached() -> None:
    cache = PrefixCache()
    history = b"a" * 1024 + b"b" * 1024
    assert cache.visit("key", history + b"first question") == 0
    assert cache.visit("key", history + b"another one") == 512
    assert cache.visit("key", history[:1024] + b"c" * 2000) == 256


def test_a_prefix_belongs_to_its_owner() -> None:
    cache = PrefixCache()
    text = b"a" * 3000
    cache.visit("one key", text)
    assert cache.visit("other key", text) == 0


def test_a_match_in_the_middle_is_no_prefix() -> None:
    cache = PrefixCache()
    cache.visit("key", b"a" * 1024 + b"b" * 1024)
    assert cache.visit("key", b"c" * 1024 + b"b" * 1024) == 0


def test_the_oldest_blocks_are_forgotten() -> None:
    cache = PrefixCache(capacity=2)
    old = b"a" * 2048
    cache.visit("key", old)
    cache.visit("key", b"b" * 2048)
    assert cache.visit("key", old) == 0


def test_a_prefix_whose_beginning_was_forgotten_is_no_prefix() -> None:
    cache = PrefixCache(capacity=2)
    text = b"a" * 3072
    cache.visit("key", text)  # of its three blocks the first is dropped
    assert cache.visit("key", text) == 0
