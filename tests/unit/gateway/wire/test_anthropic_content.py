"""Anthropic's messages and blocks to OpenAI's messages, and what of them is refused."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.wire.anthropic_messages import parse
from gateway.wire.request import ChatRequest
from gateway.wire.tool_ids import outgoing
from tests.builders import anthropic

GENERATION = "gen-01ng671r3hxav5f190b3"
NATIVE = "functions.weather:0"
THEIRS = outgoing(NATIVE, GENERATION)
CACHED = {"cache_control": {"type": "ephemeral"}}
ASK = {"role": "user", "content": "Weather?"}
CALL = {"type": "tool_use", "id": THEIRS, "name": "weather", "input": {"city": "Paris"}}
CALLED = {"role": "assistant", "content": [CALL]}
PIXEL = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def result(content: Any = "sunny", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": THEIRS, "content": content, **more}


def found(content: Any) -> dict[str, Any]:
    return {"type": "search_result", "title": "T", "source": "S", "content": content}


def document(content: Any) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "content", "content": content}}


def read(*messages: dict[str, Any], **more: Any) -> ChatRequest:
    return parse(anthropic(messages=list(messages), **more))


def neutral(*messages: dict[str, Any], **more: Any) -> Any:
    """The messages that go on."""
    return json.loads(bytes(read(*messages, **more).fields["messages"]))


def refusal(*messages: Any, **more: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(*messages, **more)
    return caught.value


@pytest.mark.parametrize(
    ("system", "content"),
    [
        ("Be brief.", "Be brief."),
        ([text("Be brief."), text("Be kind.", **CACHED)], "Be brief.\nBe kind."),
        ([text("")], None),
        ("", None),
        ([], None),
        (None, None),
    ],
)
def test_instructions_come_first(system: Any, content: str | None) -> None:
    lead = [] if content is None else [{"role": "system", "content": content}]
    assert neutral(ASK, system=system) == [*lead, ASK]


def test_instructions_may_come_later_too() -> None:
    later = {"role": "system", "content": [text("Now be long.")]}
    assert neutral(ASK, later)[1] == {"role": "system", "content": "Now be long."}


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ([text("a")], "a"),
        ([text("a"), text(""), text("b")], "a\nb"),
        (
            [text("see"), {"type": "image", "source": PIXEL}],
            [
                {"type": "text", "text": "see"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="},
                },
            ],
        ),
        (
            [{"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}],
            [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}],
        ),
        (
            [
                {
                    "type": "document",
                    "title": "Log",
                    "context": "of today",
                    "source": {"type": "text", "media_type": "text/plain", "data": "it broke"},
                }
            ],
            "Log\nof today\nit broke",
        ),
        (
            [
                {
                    "type": "document",
                    "source": {"type": "content", "content": [text("a"), text("b")]},
                }
            ],
            "a\nb",
        ),
        ([{"type": "document", "source": {"type": "content", "content": "all"}}], "all"),
        (
            [{"type": "search_result", "title": "T", "source": "S", "content": [text("found")]}],
            "T\nS\nfound",
        ),
    ],
)
def test_a_users_blocks_become_content(blocks: list[dict[str, Any]], content: Any) -> None:
    request = read(user(*blocks))
    assert json.loads(bytes(request.fields["messages"])) == [{"role": "user", "content": content}]
    assert request.refers_to_media is isinstance(content, list)


def test_text_stays_the_callers_own_bytes() -> None:
    escaped = '"\\u00fc \\ud83d\\ude00 \\" \\\\ \\n"'
    body = (
        anthropic(system="S").replace(b'"Hello!"', escaped.encode()).replace(b'"S"', b'"\\u0041"')
    )
    sent = bytes(parse(body).fields["messages"])
    assert escaped.encode() in sent
    assert b'"\\u0041"' in sent


def test_only_what_is_an_image_counts_as_media() -> None:
    assert not read({"role": "user", "content": "image_url"}).refers_to_media


def test_a_tool_loop() -> None:
    answer = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Let me ", "signature": "x"},
            {"type": "thinking", "thinking": "see.", "signature": "x"},
            text("I look"),
            text(" it up."),
            CALL,
            {**CALL, "id": "call_2", "input": {}},
        ],
    }
    results = user(text("and now?"), result(), {**result("dry"), "tool_use_id": "call_2"})
    assert neutral(ASK, answer, results) == [
        ASK,
        {
            "role": "assistant",
            "content": "I look it up.",
            "reasoning_content": "Let me see.",
            "reasoning": "Let me see.",
            "tool_calls": [
                {
                    "id": NATIVE,
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
                },
                {
                    "id": "call_2",
                    "type": "function",
                    "function": {"name": "weather", "arguments": "{}"},
                },
            ],
        },
        {"role": "tool", "tool_call_id": NATIVE, "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": "dry"},
        {"role": "user", "content": "and now?"},
    ]


def test_reasoning_under_two_names_counts_once() -> None:
    words = "w" * 1000
    thinking = {"type": "thinking", "thinking": words, "signature": "x"}
    answer = {"role": "assistant", "content": [thinking, CALL]}
    request = read(ASK, answer, user(result()))
    assert request.prompt_bytes == len(request.fields["messages"]) - len(words)


@pytest.mark.parametrize(
    ("block", "content"),
    [
        (result(), "sunny"),
        (result([text("sun"), text("ny")]), "sun\nny"),
        (result("no such city", is_error=True), "Error: no such city"),
        (result(is_error=False), "sunny"),
        (result(""), "(no output)"),
        (result([]), "(no output)"),
        (result(None), "(no output)"),
        (result("", is_error=True), "Error: (no output)"),
        ({"type": "tool_result", "tool_use_id": THEIRS}, "(no output)"),
        (
            result([text("map:"), {"type": "image", "source": PIXEL}]),
            [
                {"type": "text", "text": "map:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            ],
        ),
    ],
)
def test_a_tools_result(block: dict[str, Any], content: Any) -> None:
    sent = neutral(ASK, CALLED, user(block))
    assert sent[2:] == [{"role": "tool", "tool_call_id": NATIVE, "content": content}]


def test_a_tool_that_failed_with_an_image_says_that_it_failed() -> None:
    sent = neutral(ASK, CALLED, user(result([{"type": "image", "source": PIXEL}], is_error=True)))
    first, second = sent[2]["content"]
    assert first == {"type": "text", "text": "Error:"}
    assert second["type"] == "image_url"


def test_a_tools_result_may_hold_documents_and_search_results() -> None:
    sent = neutral(ASK, CALLED, user(result([document([text("a")]), found([text("b")])])))
    assert sent[2]["content"] == "a\nT\nS\nb"


CALL_2 = {**CALL, "id": "call_2"}
RESULT_2 = {**result("dry"), "tool_use_id": "call_2"}


def said(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def outline(*messages: dict[str, Any]) -> list[Any]:
    """Role and content of each message that goes on; ids of calls where there is no content."""
    return [
        (each["role"], each["content"] or [call["id"] for call in each["tool_calls"]])
        for each in neutral(*messages)
    ]


def test_messages_of_one_role_are_one() -> None:
    first = said({"type": "thinking", "thinking": "hm", "signature": "x"}, text("I look."))
    second = said({"type": "thinking", "thinking": "so", "signature": "x"}, text("Or not."))
    sent = neutral(ASK, user(text("Now?")), first, second, ASK)
    assert [each["role"] for each in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"] == "Weather?\nNow?"
    assert (sent[1]["content"], sent[1]["reasoning"]) == ("I look.\nOr not.", "hm\nso")


def test_calls_of_several_messages_are_answered_together() -> None:
    assert outline(ASK, said(CALL), said(CALL_2), user(result(), RESULT_2)) == [
        ("user", "Weather?"),
        ("assistant", [NATIVE, "call_2"]),
        ("tool", "sunny"),
        ("tool", "dry"),
    ]


@pytest.mark.parametrize(
    "turn",
    [
        [user(result(), text("And now?")), user(RESULT_2)],
        [user(result()), user(RESULT_2), user(text("And now?"))],
        [user(text("And now?")), user(result(), RESULT_2)],
    ],
)
def test_results_of_tools_come_before_what_the_user_says(turn: list[dict[str, Any]]) -> None:
    assert outline(ASK, said(CALL, CALL_2), *turn)[2:] == [
        ("tool", "sunny"),
        ("tool", "dry"),
        ("user", "And now?"),
    ]


def test_instructions_in_the_middle_come_after_results_of_tools() -> None:
    system = {"role": "system", "content": "Be brief."}
    turn = [system, user(result(), text("So?")), system, user(RESULT_2, text("Well?"))]
    assert outline(ASK, said(CALL, CALL_2), *turn)[2:] == [
        ("tool", "sunny"),
        ("tool", "dry"),
        ("system", "Be brief."),
        ("user", "So?"),
        ("system", "Be brief."),
        ("user", "Well?"),
    ]


def test_one_native_id_in_two_answers_that_are_put_together_stays_two() -> None:
    other = outgoing(NATIVE, "gen-02zz671r3hxav5f190b3")
    later = {**result("dry"), "tool_use_id": other}
    sent = neutral(ASK, said(CALL), said({**CALL, "id": other}), user(later, result()))
    assert [call["id"] for call in sent[1]["tool_calls"]] == [NATIVE, other]
    assert [(each["tool_call_id"], each["content"]) for each in sent[2:]] == [
        (other, "dry"),
        (NATIVE, "sunny"),
    ]


@pytest.mark.parametrize("kind", ["search_result", "document"])
def test_deep_nesting_is_refused_at_once(kind: str) -> None:
    content: Any = [text("a")]
    for _ in range(300):
        content = [found(content) if kind == "search_result" else document(content)]
    assert refusal(user(*content)).code == "unsupported_parameter"


def test_many_calls_are_read_in_time_that_grows_with_them() -> None:
    many = [{**CALL, "id": f"call_{n}"} for n in range(30_000)]
    start = time.process_time()
    read(ASK, said(*many), ASK)
    assert time.process_time() - start < 5  # 0.1 s; searched one by one they take 18


def test_an_assistants_message_without_text_has_no_content() -> None:
    assert neutral(ASK, CALLED, user(result()))[1]["content"] is None


@pytest.mark.parametrize(
    ("content", "dropped"),
    [
        ("", ()),
        ([], ()),
        ([text("")], ()),
        ([{"type": "thinking", "thinking": "hm", "signature": "x"}], ("thinking",)),
        ([{"type": "redacted_thinking", "data": "xyz"}], ("redacted_thinking",)),
    ],
)
def test_an_answer_that_said_nothing_is_left_out(content: Any, dropped: tuple[str, ...]) -> None:
    request = read(ASK, {"role": "assistant", "content": content}, ASK)
    assert json.loads(bytes(request.fields["messages"])) == [ASK, ASK]
    assert request.dropped == dropped


@pytest.mark.parametrize(
    "messages",
    [
        [user(text("a", **CACHED))],
        [ASK, {"role": "assistant", "content": [CALL | CACHED]}, user(result())],
        [ASK, CALLED, user(result(**CACHED))],
        [ASK, CALLED, user(result([text("a", **CACHED)]))],
    ],
)
def test_cache_marks_are_said_to_be_left_out(messages: list[dict[str, Any]]) -> None:
    assert read(*messages).dropped == ("cache_control",)


def test_citations_are_said_to_be_left_out() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    block = {"type": "document", "source": source, "citations": {"enabled": True}}
    assert read(user(block)).dropped == ("citations",)


@pytest.mark.parametrize(
    ("messages", "param", "code", "words"),
    [
        ([5], "messages.0", "invalid_type", "got 'int'"),
        ([{"role": "user"}], "messages.0", "invalid_type", "required field 'content'"),
        ([{"content": "x"}], "messages.0", "invalid_type", "required field 'role'"),
        ([ASK, {"role": "tool", "content": "x"}], "messages.1.role", "invalid_value", "'tool'"),
        ([{"role": "user", "content": 5}], "messages.0.content", "invalid_type", "not 5"),
        ([{"role": "user", "content": ""}], "messages.0.content", "invalid_value", "empty"),
        ([user()], "messages.0.content", "invalid_value", "empty"),
        ([user(text(""))], "messages.0.content", "invalid_value", "empty"),
        ([user({"type": "text"})], "messages.0.content.0.text", "missing_field", "required"),
        ([user(text("a"), {"type": 5})], "messages.0.content.1.type", "invalid_type", "'int'"),
        ([user({"text": "a"})], "messages.0.content.0", "invalid_type", "field 'type'"),
        (
            [user({"type": "container_upload"})],
            "messages.0.content.0.type",
            "unsupported_parameter",
            "'container_upload' are not supported",
        ),
        ([user(CALL)], "messages.0.content.0.type", "unsupported_parameter", "'tool_use'"),
        (
            [user({"type": "image"})],
            "messages.0.content.0.source",
            "missing_field",
            "required",
        ),
        (
            [user({"type": "image", "source": {"type": "file", "file_id": "f"}})],
            "messages.0.content.0.source.type",
            "unsupported_parameter",
            "'base64' or 'url'",
        ),
        (
            [user({"type": "image", "source": {"type": "base64", "data": "x"}})],
            "messages.0.content.0.source.media_type",
            "missing_field",
            "required",
        ),
        (
            [user({"type": "document", "source": {"type": "base64", "data": "x"}})],
            "messages.0.content.0.source.type",
            "unsupported_parameter",
            "plain text",
        ),
        (
            [ASK, {"role": "assistant", "content": [{"type": "server_tool_use"}]}, ASK],
            "messages.1.content.0.type",
            "unsupported_parameter",
            "'server_tool_use'",
        ),
        (
            [ASK, {"role": "assistant", "content": [{**CALL, "input": "x"}]}, ASK],
            "messages.1.content.0.input",
            "invalid_type",
            "an object",
        ),
        (
            [ASK, {"role": "assistant", "content": [{**CALL, "id": 5}]}, ASK],
            "messages.1.content.0.id",
            "invalid_type",
            "not 5",
        ),
        (
            [ASK, CALLED, user({"type": "tool_result", "content": "x"})],
            "messages.2.content.0.tool_use_id",
            "missing_field",
            "required",
        ),
        (
            [ASK, CALLED, user(text("a"), {**result(), "tool_use_id": "toolu_other"})],
            "messages.2.content.1.tool_use_id",
            "invalid_value",
            "no tool_use block",
        ),
        (
            [ASK, CALLED, user(result()), {"role": "assistant", "content": "ok"}, user(result())],
            "messages.4.content.0.tool_use_id",
            "invalid_value",
            "no tool_use block",
        ),
        (
            [ASK, CALLED, user(result([CALL]))],
            "messages.2.content.0.content.0.type",
            "unsupported_parameter",
            "'tool_use'",
        ),
        (
            [ASK, {"role": "assistant", "content": [{**CALL, "name": "a.b"}]}, ASK],
            "messages.1.content.0.name",
            "invalid_value",
            "1 to 128 letters",
        ),
        (
            [user(found([found([text("a")])]))],
            "messages.0.content.0.content.0.type",
            "unsupported_parameter",
            "'search_result' are not supported here; those that are: text",
        ),
        (
            [user(document([document([text("a")])]))],
            "messages.0.content.0.source.content.0.type",
            "unsupported_parameter",
            "'document' are not supported here; those that are: text, image",
        ),
        (
            [{"role": "system", "content": "Be brief."}],
            "messages",
            "invalid_value",
            "at least one message of the user",
        ),
        (
            [{"role": "assistant", "content": ""}, {"role": "system", "content": ""}],
            "messages",
            "invalid_value",
            "at least one message of the user",
        ),
        (
            [ASK, CALLED, user(result(is_error="yes"))],
            "messages.2.content.0.is_error",
            "invalid_type",
            "got 'str'",
        ),
        (
            [ASK, {"role": "assistant", "content": "The answer is ("}],
            "messages.1",
            "unsupported_parameter",
            "must be the user's",
        ),
    ],
)
def test_a_refusal_names_the_place(messages: list[Any], param: str, code: str, words: str) -> None:
    error = refusal(*messages)
    assert (error.param, error.code) == (param, code)
    assert error.message.startswith(f"{param}: ")
    assert words in error.message.replace("Field r", "r")


def test_instructions_that_are_no_text_are_refused() -> None:
    image = {"type": "image", "source": PIXEL}
    assert refusal(ASK, system=[image]).param == "system.0.type"
    assert refusal(ASK, {"role": "system", "content": [image]}).param == "messages.1.content.0.type"
    assert refusal(ASK, system=5).param == "system"
    assert refusal(ASK, system=[text("a"), {"type": "tool_use"}]).param == "system.1.type"


@pytest.mark.parametrize("where", [b"Paris", b"sunny", b"Weather?", b"weather"])
def test_bytes_that_are_not_utf8_are_refused_wherever_they_stand(where: bytes) -> None:
    call = json.dumps([ASK, CALLED, user(result())]).encode().replace(where, b"\xff")
    hello = anthropic().replace(b'[{"role": "user", "content": "Hello!"}]', call)
    with pytest.raises(InvalidRequest) as caught:
        parse(hello)
    assert (caught.value.status, caught.value.code) == (400, "invalid_utf8")


TYPES = "text image document search_result thinking redacted_thinking tool_use tool_result odd"
KEYS = (
    "text source content id name input tool_use_id thinking title context data media_type url"
    " is_error citations cache_control signature"
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from([THEIRS, {}])
)
SOURCES = st.fixed_dictionaries(
    {"type": st.sampled_from(["base64", "url", "text", "content", "file"])},
    optional={"data": LEAVES, "media_type": LEAVES, "url": LEAVES, "content": LEAVES},
)
BLOCKS = st.recursive(
    LEAVES | SOURCES,
    lambda inner: st.lists(
        st.builds(
            lambda kind, rest: {**rest, "type": kind},
            st.sampled_from(TYPES.split()),
            st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=5),
        ),
        max_size=3,
    ),
    max_leaves=15,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system"]), "content": BLOCKS}
    ),
    max_size=4,
)


@given(MESSAGES, BLOCKS)
def test_whatever_is_sent_is_read_or_refused_by_place(messages: list[Any], system: Any) -> None:
    refused: InvalidRequest | None = None
    try:
        request = parse(anthropic(messages=[*messages, ASK], system=system))
    except InvalidRequest as error:
        refused = error
    if refused is None:
        last = json.loads(bytes(request.fields["messages"]))[-1]
        # Joined to what the same caller said before it, if so.
        said = last["content"] if isinstance(last["content"], str) else last["content"][-1]["text"]
        assert last["role"] == "user"
        assert said.endswith(ASK["content"])
    else:
        assert (refused.param or "").startswith(("messages.", "system"))
