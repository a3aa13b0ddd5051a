"""What a prompt holds besides text, and that text alone costs no decoding."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from gateway.wire import openai_chat
from gateway.wire.media import NO_MEDIA, Media, may_have_parts, media_of
from tests.builders import chat

PNG = "data:image/png;base64,iVBORw0KGgo="


def media(*parts: Any) -> Media:
    return media_of(Raw(json.dumps([{"role": "user", "content": list(parts)}]).encode()))


def found(*kinds: str, by: str = "data") -> Media:
    return Media(frozenset(kinds), frozenset({by} if by else ()))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "image_url"}, NO_MEDIA),
        ({"type": "image_url", "image_url": {"url": PNG}}, found("image")),
        ({"type": "image_url", "image_url": PNG}, found("image")),
        ({"type": "image_url", "image_url": {"url": "DATA:image/png,x"}}, found("image")),
        ({"type": "image_url", "image_url": {"url": "https://a.b/c"}}, found("image", by="remote")),
        ({"type": "image_url", "image_url": "HTTP://a.b/c"}, found("image", by="remote")),
        ({"type": "image_url", "image_url": {"url": "ms://f-1"}}, found("image", by="uploaded")),
        ({"type": "image_url", "image_url": {"url": "gopher://a"}}, found("image", by="")),
        ({"type": "image_url", "image_url": {"uuid": "x"}}, found("image", by="")),
        ({"type": "image_url", "image_url": None}, found("image", by="")),
        ({"type": "image_url", "image_url": 5}, found("image", by="")),
        ({"image_url": {"url": "https://a.b/c"}}, found("image", by="remote")),
        ({"type": "video_url", "video_url": {"url": "https://a"}}, found("video", by="remote")),
        ({"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}, found("audio")),
        ({"type": "audio_url", "audio_url": {"url": PNG}}, found("audio")),
        ({"type": "file", "file": {"file_data": PNG, "filename": "a"}}, found("file")),
        ({"type": "file", "file": {"file_id": "f"}}, found("file", by="")),
    ],
)
def test_each_kind_is_known_with_how_it_is_given(part: dict[str, Any], expected: Media) -> None:
    assert media(part) == expected
    assert media({"type": "text", "text": "a"}, part) == expected


def test_a_url_is_read_however_it_is_escaped() -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in "https://a.b")
    raw = f'[{{"content":[{{"image_url":{{"url":"{escaped}"}}}}]}}]'
    assert media_of(Raw(raw.encode())) == found("image", by="remote")
    raw = '[{"content":[{"image_\\u0075rl":{"\\u0075rl":"https:\\/\\/a"}}]}]'
    assert media_of(Raw(raw.encode())) == found("image", by="remote")


def test_all_messages_are_looked_at() -> None:
    messages = [
        {"role": "user", "content": [{"image_url": PNG}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]},
        {"role": "tool", "content": [{"video_url": "https://a"}]},
    ]
    both = Media(frozenset({"image", "video"}), frozenset({"data", "remote"}))
    assert media_of(Raw(json.dumps(messages).encode())) == both


@pytest.mark.parametrize(
    "messages",
    [
        '"Hello!"',
        "[1]",
        '[{"content":[1]}]',
        '[{"content":["a"]}]',
        '[{"content":{"image_url":"x"}}]',
        '[{"content":"image_url"}]',
    ],
)
def test_what_has_another_form_is_for_the_provider_to_refuse(messages: str) -> None:
    assert media_of(Raw(messages.encode())) is NO_MEDIA


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": [{"role": "user", "content": 'image_url [{"image_url": 1}] ": [{ x: [{'}]},
        {"messages": [{"role": "user", "content": "[1], [2], [x] " * 10_000}]},
        {"messages": [{"role": "user", "content": "\n" * 100 + "[ {"}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": "a"}]}]},
        {"stop": ["a", "b"], "logit_bias": {}},
    ],
)
def test_text_needs_no_further_look(fields: dict[str, Any]) -> None:
    for separators in ((",", ":"), (", ", ": ")):
        whole = json.loads(chat(**fields))
        assert not may_have_parts(json.dumps(whole, separators=separators).encode())


SPACE = st.text(" \t\n\r", max_size=90)


class Body(Struct, frozen=True):
    """A conversation of text and one message with a part, as strangely written as JSON may be."""

    before: str
    brackets: int
    spaces: tuple[str, str, str]
    key: str
    part: str
    last: bool

    @property
    def messages(self) -> str:
        one, two, three = self.spaces
        talk = json.dumps({"role": "user", "content": self.before + "[" * self.brackets})
        seen = f'{{"role":"user",{self.key}{one}:{two}[{three}{{{self.part}}}]}}'
        return f"[{talk},{seen}]" if self.last else f"[{seen},{talk}]"


@given(
    st.builds(
        Body,
        before=st.text(max_size=300),
        brackets=st.integers(0, 3000),
        spaces=st.tuples(SPACE, SPACE, SPACE),
        key=st.sampled_from(
            ['"content"', '"c\\u006fntent"', '"\\\\":0,"content"', '"a\\\\\\"":0,"content"']
        ),
        part=st.sampled_from(['"image_url":"https://a"', '"\\u0069mage_url":{"url":"https://a"}']),
        last=st.booleans(),
    )
)
def test_no_part_is_missed(written: Body) -> None:
    body = f'{{"model":"m","messages":{written.messages},"tools":[{{"type":"function"}}]}}'
    json.loads(body)
    assert may_have_parts(body.encode())
    assert media_of(Raw(written.messages.encode())) == found("image", by="remote")
    assert openai_chat.parse(body.encode(), usage_always=False).refers_to_media


@pytest.mark.parametrize("before", [0, 60, 64, 65, 200])
@pytest.mark.parametrize("after", [0, 60, 64, 65, 200])
def test_a_key_far_from_its_list_is_not_missed(before: int, after: int) -> None:
    one, two = " " * before, "\n" * after
    body = f'{{"messages":[{{"role":"user","content"{one}:{two}[{{"image_url":"https://a"}}]}}]}}'
    assert may_have_parts(body.encode())
