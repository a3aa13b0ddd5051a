"""Chunks and whole replies become events, whatever the provider's habits."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from backends.errors import (
    BackendError,
    BadReply,
    ContentRefused,
    Overloaded,
    RateLimited,
    UpstreamFault,
)
from backends.openai_compat.reply import ChunkReader, read_whole
from backends.values import Event, Finish, Piece, Text, Usage
from tests.unit.backends.openai_compat.reading import answer, chunk, events_of

U = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def json(value: object) -> bytes:
    return msgspec.json.encode(value)


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_has_one_name(name: str) -> None:
    assert events_of(chunk({name: "Hm"})) == [Text(b"Hm", reasoning=True)]
    assert events_of(chunk({name: "Hm", "content": "x"})) == [
        Piece(0, {"reasoning": Raw(b'"Hm"'), "content": Raw(b'"x"')}, meaningful=True)
    ]


def test_reasoning_under_both_names_is_told_once() -> None:
    both = {"reasoning": "Hm", "reasoning_content": "Hm"}
    assert events_of(chunk(both), chunk(both)) == [Text(b"Hm", reasoning=True)] * 2


@pytest.mark.parametrize(
    "delta",
    [
        {},
        {"role": "assistant"},
        {"role": "assistant", "content": ""},
        {"content": None},
        {"reasoning_content": ""},
        {"content": "", "tool_calls": []},
        None,
    ],
)
def test_a_delta_without_substance_is_no_event(delta: object) -> None:
    assert events_of(chunk(delta, finish_reason=None, logprobs=None)) == []


@pytest.mark.parametrize(
    ("identity", "kept"),
    [
        ("chatcmpl-1", "chatcmpl-1"),
        ("~" * 128, "~" * 128),
        ("~" * 129, "unreadable"),
        ("two words", "unreadable"),
        ("line\nend", "unreadable"),
        ("ümlaut", "unreadable"),
        ("\x1b[31m", "unreadable"),
        ("", None),
        (None, None),
    ],
)
def test_an_id_that_is_none_is_not_kept(identity: str | None, kept: str | None) -> None:
    document = {"id": identity, "choices": [{"index": 0, "message": {"content": "Hi"}}]}
    assert read_whole(json(document))[0] == kept
    reader = ChunkReader()
    reader.read(json({"id": identity, "choices": [{"index": 0, "delta": {"content": "Hi"}}]}), [])
    assert reader.upstream_id == kept
    reader.read(chunk({"content": "Ho"}), [])
    assert reader.upstream_id == ("x" if kept is None else kept)


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("eos", "eos"),
        ("<|im_end|>", "<|im_end|>"),
        ("w" * 64, "w" * 64),
        ("w" * 65, "unreadable"),
        ("the model wrote this", "unreadable"),
        ("stop\n", "unreadable"),
        ("\ud83c", "unreadable"),
    ],
)
def test_an_end_that_is_no_word_is_not_kept(word: str, kept: str) -> None:
    payload = b'{"choices":[{"index":0,"delta":{},"finish_reason":%b}]}' % (
        b'"\\ud83c"' if word == "\ud83c" else json(word)
    )
    assert events_of(payload) == [Finish(0, "stop", kept)]


def test_a_gateways_own_account_of_its_routing_is_not_passed_on() -> None:
    told = {"gateway": {"cost": "0.0001", "routing": {"finalProvider": "a"}}}
    assert events_of(chunk({"provider_metadata": told})) == []
    assert events_of(chunk({"provider_metadata": told, "content": "Hi"})) == [Text(b"Hi")]


def test_the_role_is_not_passed_on_with_the_first_text() -> None:
    assert events_of(chunk({"role": "assistant", "content": "Hi"})) == [Text(b"Hi")]


def test_text_stays_escaped_as_the_provider_wrote_it() -> None:
    payload = rb'{"choices":[{"delta":{"content":"\u00e9\n\"\\ \/"}}]}'
    assert events_of(payload) == [Text(rb"\u00e9\n\"\\ \/")]


def test_tool_call_fragments_pass_as_they_are() -> None:
    first = '[{"index":0,"id":"f:0","type":"function","function":{"name":"f","arguments":""}}]'
    more = '[{"index":0,"function":{"arguments":"{}"}}]'
    payloads = [f'{{"choices":[{{"delta":{{"tool_calls":{raw}}}}}]}}' for raw in (first, more)]
    assert events_of(*(payload.encode() for payload in payloads)) == [
        Piece(0, {"tool_calls": Raw(first.encode())}, meaningful=True),
        Piece(0, {"tool_calls": Raw(more.encode())}, meaningful=True),
    ]


def test_a_refusal_is_meaningful_and_an_unknown_field_is_not() -> None:
    assert events_of(chunk({"refusal": "No."}), chunk({"annotations": [1]})) == [
        Piece(0, {"refusal": Raw(b'"No."')}, meaningful=True),
        Piece(0, {"annotations": Raw(b"[1]")}, meaningful=False),
    ]


def test_log_probabilities_stay_with_their_text() -> None:
    scores = {"content": [{"token": "Hi", "logprob": -0.5}]}
    assert events_of(chunk({"content": "Hi"}, logprobs=scores)) == [
        Piece(0, {"content": Raw(b'"Hi"')}, meaningful=True, logprobs=Raw(json(scores)))
    ]


def test_further_choices_are_pieces_with_their_number() -> None:
    payload = json({"choices": [{"index": i, "delta": {"content": f"t{i}"}} for i in range(3)]})
    second = json({"choices": [{"index": 2, "delta": {}, "finish_reason": "stop"}]})
    assert events_of(payload, second) == [
        Text(b"t0"),
        Piece(1, {"content": Raw(b'"t1"')}, meaningful=True),
        Piece(2, {"content": Raw(b'"t2"')}, meaningful=True),
        Finish(2, "stop", "stop"),
    ]


def test_text_beside_a_finish_reason_comes_first() -> None:
    assert events_of(chunk({"content": "end"}, finish_reason="length")) == [
        Text(b"end"),
        Finish(0, "length", "length"),
    ]


def test_content_that_is_no_string_is_a_piece() -> None:
    parts = [{"type": "text", "text": "x"}]
    assert events_of(chunk({"content": parts})) == [
        Piece(0, {"content": Raw(json(parts))}, meaningful=True)
    ]


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_finish_reasons_are_mapped_and_the_native_one_kept(native: str, reason: str) -> None:
    assert events_of(chunk({}, finish_reason=native)) == [Finish(0, reason, native)]
    whole = json({"choices": [{"message": {"content": "x"}, "finish_reason": native}]})
    assert read_whole(whole)[1][-1] == Finish(0, reason, native)


@pytest.mark.parametrize("native", ["error", "abort"])
def test_an_end_that_is_a_failure_is_raised_after_its_text(native: str) -> None:
    events: list[Event] = []
    with pytest.raises(UpstreamFault):
        ChunkReader().read(chunk({"content": "x"}, finish_reason=native), events)
    assert events == [Text(b"x")]
    with pytest.raises(UpstreamFault):
        read_whole(json({"choices": [{"message": {"content": "x"}, "finish_reason": native}]}))


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [{"index": 0, "delta": {}, "usage": U}]},
        {"choices": [{"index": 0, "delta": {}}], "usage": U},
        {"choices": [], "usage": U},
        {"usage": U},
        {"choices": None, "usage": U},
    ],
    ids=["in the choice", "beside choices", "empty choices", "no choices", "null choices"],
)
def test_usage_is_read_wherever_it_stands(payload: object) -> None:
    assert events_of(json(payload)) == [Usage(prompt=10, completion=4)]


def test_the_last_usage_stands() -> None:
    first, last = U | {"completion_tokens": 1}, U | {"completion_tokens": 9}
    payloads = [
        chunk({"content": "a"}, usage=U),
        json({"choices": [{"delta": {}, "usage": first, "finish_reason": "stop"}], "usage": last}),
    ]
    assert answer(events_of(*payloads)).usage == Usage(prompt=10, completion=9)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"cached_tokens": 8}, Usage(prompt=10, completion=4, cached=8)),
        ({"prompt_tokens_details": {"cached_tokens": 8}}, Usage(prompt=10, completion=4, cached=8)),
        (
            {"cached_tokens": 8, "prompt_tokens_details": {"cached_tokens": 8}},
            Usage(prompt=10, completion=4, cached=8),
        ),
        (
            {"prompt_tokens_details": {"cached_tokens": None, "cache_write_tokens": 3}},
            Usage(prompt=10, completion=4, cache_write=3),
        ),
        (
            {"completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0}},
            Usage(prompt=10, completion=4, reasoning=2),
        ),
        (
            {"prompt_tokens_details": None, "completion_tokens_details": None, "cost": None},
            Usage(prompt=10, completion=4),
        ),
        ({"cost": 0.00014}, Usage(prompt=10, completion=4, reported_cost="0.00014")),
        ({"cost": "0.00014"}, Usage(prompt=10, completion=4, reported_cost="0.00014")),
        ({"cost": 0}, Usage(prompt=10, completion=4, reported_cost="0")),
    ],
)
def test_the_details_of_usage_are_read(more: dict[str, object], expected: Usage) -> None:
    assert events_of(json({"choices": [], "usage": U | more})) == [expected]


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 3}, {"total_tokens": 3}])
def test_usage_without_both_totals_is_none(usage: object) -> None:
    assert events_of(json({"choices": [], "usage": usage})) == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "m", "type": "server_error"}, UpstreamFault),
        (
            {"message": "m", "type": "InternalServerError", "param": None, "code": 500},
            UpstreamFault,
        ),
        ({"message": "m", "type": "rate_limit_exceeded"}, RateLimited),
        ({"message": "m", "type": "content_filter"}, ContentRefused),
        ({"message": "m", "code": 429}, RateLimited),
        ({"message": "m", "code": "503"}, Overloaded),
        ({"message": "m", "code": "²"}, UpstreamFault),
        ({"message": "m", "code": "9" * 5000}, UpstreamFault),
        ("just text", UpstreamFault),
        ({}, UpstreamFault),
        ([], UpstreamFault),
        (0, UpstreamFault),
    ],
)
def test_an_error_inside_a_reply_is_raised(error: object, kind: type[BackendError]) -> None:
    events: list[Event] = []
    with pytest.raises(kind) as caught:
        ChunkReader().read(json({"error": error}), events)
    assert type(caught.value) is kind
    assert events == []
    with pytest.raises(kind):
        read_whole(json({"error": error}))


def test_an_error_of_null_is_none() -> None:
    text = b'"delta":{"content":"x"},"message":{"content":"x"}'
    payload = b'{"error":null,"choices":[{%b}]}' % text
    assert events_of(payload) == [Text(b"x")]
    assert answer(read_whole(payload)[1]).content == "x"


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"[]",
        b"hello",
        b'{"choices":[{"delta":{"content":"cut',
        b'{"choices":"x"}',
        b'{"choices":[{"delta":{"content":"\xff\xff"}}',
        b'{"x":' + b"[" * 100_000,
        b'{"choices":[{"delta":{"x":' + b"[" * 9_000 + b"]" * 9_000 + b"}}]}",
    ],
)
def test_what_is_no_chunk_is_skipped_and_counted(payload: bytes) -> None:
    reader, events = ChunkReader(), list[Event]()
    reader.read(chunk({"content": "a"}), events)
    reader.read(payload, events)
    reader.read(chunk({"content": "b"}), events)
    assert answer(events).content == "ab"
    assert reader.malformed == 1
    with pytest.raises(BadReply):
        read_whole(payload)


@given(st.binary(max_size=60))
def test_random_bytes_never_do_more_than_count_as_malformed(payload: bytes) -> None:
    reader, events = ChunkReader(), list[Event]()
    reader.read(payload, events)
    assert events == []


def test_the_first_id_is_kept() -> None:
    reader = ChunkReader()
    for payload in (b'{"choices":[]}', b'{"id":"a","choices":[]}', b'{"id":"b","choices":[]}'):
        reader.read(payload, [])
    assert reader.upstream_id == "a"


def test_a_whole_reply_without_a_finish_reason_has_stopped() -> None:
    assert read_whole(b'{"id":"x","choices":[{"message":{"content":"a"}}]}') == (
        "x",
        [Piece(0, {"content": Raw(b'"a"')}, meaningful=True), Finish(0, "stop", "stop")],
    )


def test_a_whole_reply_without_text_is_only_its_end() -> None:
    body = b'{"choices":[{"message":{"role":"assistant","content":""},"finish_reason":"stop"}]}'
    assert read_whole(body) == (None, [Finish(0, "stop", "stop")])


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', b'{"choices":null,"message":null}'])
def test_a_whole_reply_without_choices_is_bad(body: bytes) -> None:
    with pytest.raises(BadReply):
        read_whole(body)


@pytest.mark.parametrize(
    ("arguments", "good"),
    [
        ('{"a": 1}', True),
        ("", True),
        (None, True),
        ('{"a": ', False),
        ("{'a': 1}", False),
        ("[" * 100_000, False),
    ],
)
def test_tool_arguments_of_a_whole_reply_must_be_json(arguments: str | None, *, good: bool) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    body = json({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})
    if good:
        assert answer(read_whole(body)[1]).finish == [("tool_calls", "tool_calls")]
    else:
        with pytest.raises(BadReply, match="tool call"):
            read_whole(body)


@pytest.mark.parametrize("end", ["length", "max_tokens", "content_filter"])
def test_a_tool_call_that_was_cut_with_a_whole_reply_need_not_be_json(end: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"city":'}}
    body = json({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": end}]})
    told = answer(read_whole(body)[1])
    assert told.tools == [{"id": "c", "name": "f", "arguments": '{"city":'}]
    assert told.finish == [("length" if end == "max_tokens" else end, end)]
