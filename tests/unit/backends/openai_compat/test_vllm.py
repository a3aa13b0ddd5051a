"""vLLM's ways, from its first reasoning models to 0.32, come to the same events and errors.

Shapes of 0.32 were measured on 2026-11-22; those of older versions are from its source and from reports
of its users, read on that day (flat errors up to 0.10.0; `reasoning_content`; code 400 for everything
that goes wrong in a stream).
"""

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from backends.errors import (
    BackendError,
    BadReply,
    Blame,
    ModelUnavailable,
    Overloaded,
    RequestRefused,
    UpstreamFault,
)
from backends.kinds.vllm import QUIRKS as VLLM
from backends.openai_compat.reply import ChunkReader, read_whole
from backends.sse import ErrorPayload
from backends.values import Event, Finish, Piece, Text, Usage
from tests.unit.backends.openai_compat.reading import Answer, answer, chunk

DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
BUSY = "The engine is currently busy and cannot accept new requests."
DONE = b"[DONE]"


def json(value: object) -> bytes:
    return msgspec.json.encode(value)


def told(*payloads: bytes) -> tuple[list[Event], BackendError | None, ChunkReader]:
    """What vLLM's row makes of a stream, up to where it fails."""
    reader, events = ChunkReader(VLLM.failures.event), list[Event]()
    try:
        for payload in payloads:
            reader.read(payload, events)
    except BackendError as error:
        return events, error, reader
    return events, None, reader


def flat(code: int, kind: str, message: str = DEAD) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


FAULTS: list[tuple[str, Any, type[BackendError]]] = [
    (
        "engine death, 0.32",
        {
            "error": {
                "message": DEAD,
                "type": "InternalServerError",
                "param": None,
                "code": 500,
            }
        },
        UpstreamFault,
    ),
    ("engine death, 0.10.0", {"error": flat(400, "BadRequestError")}, UpstreamFault),
    (
        "engine death, 0.11.0",
        {"error": {"message": DEAD, "type": "BadRequestError", "param": None, "code": 400}},
        UpstreamFault,
    ),
    ("flat", flat(500, "InternalServerError"), UpstreamFault),
    ("flat, called the caller's", flat(400, "BadRequestError"), UpstreamFault),
    ("flat, busy", flat(503, "Service Unavailable", BUSY), Overloaded),
    ("flat, no such model", flat(404, "NotFoundError"), ModelUnavailable),
    ("flat, without its kind", {"message": DEAD, "code": 500}, UpstreamFault),
    ("flat, with empty choices", flat(500, "InternalServerError") | {"choices": []}, UpstreamFault),
    ("flat, in no good form", flat(500, "x") | {"id": 7, "usage": "none"}, UpstreamFault),
    ("text", {"error": "text"}, UpstreamFault),
    ("text beside what is no chunk", {"error": "text", "choices": "none"}, UpstreamFault),
    ("FastAPI's", {"detail": "Internal Server Error"}, UpstreamFault),
    ("busy", {"error": {"message": BUSY, "type": "Service Unavailable", "code": 503}}, Overloaded),
    ("only a code", {"error": {"message": {"deep": 1}, "code": 503}}, Overloaded),
]
NAMES = [name for name, _, _ in FAULTS]


@pytest.mark.parametrize(("_", "fault", "kind"), FAULTS, ids=NAMES)
def test_an_error_in_a_good_stream_ends_it_whatever_follows(
    _: str, fault: Any, kind: type[BackendError]
) -> None:
    events, error, reader = told(chunk({"content": "Hi"}), json(fault), DONE)
    assert events == [Text(b"Hi")]
    assert type(error) is kind
    assert reader.malformed == 0
    assert not reader.done
    assert error.try_next
    assert error.blame is not Blame.CALLER
    assert DEAD not in error.public


@pytest.mark.parametrize(("_", "fault", "kind"), FAULTS, ids=NAMES)
def test_an_error_in_a_whole_reply_of_status_200_is_one(
    _: str, fault: Any, kind: type[BackendError]
) -> None:
    with pytest.raises(kind) as caught:
        read_whole(json(fault), VLLM.failures.event)
    assert type(caught.value) is kind
    assert caught.value.try_next


@pytest.mark.parametrize(
    "data", [b"", b"Internal Server Error", b'{"message":"m"}', chunk({"content": "Hi"})]
)
def test_an_event_that_is_named_error_is_one_whatever_it_holds(data: bytes) -> None:
    events, error, _ = told(ErrorPayload(data), DONE)
    assert type(error) is UpstreamFault
    assert events == []


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [], "message": "Hello"},
        {"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "message": "Hello"},
        {"choices": [{"delta": {"content": "x"}}], "object": "chat.completion.chunk", "detail": 1},
        {"error": None, "choices": [], "message": None},
    ],
)
def test_what_answers_is_no_error_for_a_word_that_it_holds(payload: Any) -> None:
    assert told(json(payload))[1] is None


def test_what_is_wrong_with_the_request_is_told_by_status_and_is_the_callers() -> None:
    body = json({"error": {"message": "too long", "type": "BadRequestError", "code": 400}})
    error = VLLM.failures.refusal(400, body)
    assert (type(error), error.public, error.try_next) == (RequestRefused, "too long", False)
    assert type(VLLM.failures.refusal(400, json(flat(400, "BadRequestError")))) is RequestRefused


def test_a_busy_engine_is_overloaded_and_asks_for_no_pause() -> None:
    body = json({"error": {"message": BUSY, "type": "Service Unavailable", "code": 503}})
    error = VLLM.failures.refusal(503, body)
    assert (type(error), error.retry_after, error.try_next) == (Overloaded, None, True)


def test_a_server_that_is_shutting_down_is_at_fault_itself() -> None:
    message = "cannot schedule new futures after shutdown"
    body = json({"error": {"message": message, "type": "InternalServerError", "code": 500}})
    error = VLLM.failures.refusal(500, body)
    assert (type(error), error.blame, error.try_next) == (UpstreamFault, Blame.PROVIDER, True)
    assert message not in error.public


def test_a_server_that_takes_no_salt_is_no_fault_of_the_caller() -> None:
    message = (
        "1 validation error: Value error, Parameter 'cache_salt' is not supported with this"
        " instance of vLLM, which uses engine V0."
    )
    error = VLLM.failures.refusal(400, json(flat(400, "BadRequestError", message)))
    assert (type(error), error.try_next) == (UpstreamFault, True)
    assert error.native_code == "cache_salt_refused"
    assert "cache_isolation" in str(error), "the operator reads what to do"


ABORT = chunk({}, finish_reason="abort", stop_reason=None, token_ids=None)
BILL = json({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 10}})


def test_an_aborted_answer_is_no_good_end() -> None:
    events, error, reader = told(chunk({"content": "Hi"}), ABORT, BILL, DONE)
    assert type(error) is UpstreamFault
    assert (error.native_code, error.public) == ("abort", "the provider broke the answer off")
    assert events == [Text(b"Hi")]
    assert reader.broken_off
    assert not reader.finished


def test_usage_behind_an_aborted_answer_can_still_be_read() -> None:
    _, _, reader = told(ABORT)
    later = list[Event]()
    reader.read(BILL, later)
    assert later == [Usage(prompt=12, completion=10)]


def test_usage_in_the_chunk_that_aborts_is_told() -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 1}
    payload = json({"choices": [{"delta": {}, "finish_reason": "abort"}], "usage": usage})
    assert told(payload)[0] == [Usage(prompt=12, completion=1)]


def test_an_aborted_whole_reply_is_no_answer() -> None:
    with pytest.raises(UpstreamFault):
        read_whole(json({"choices": [{"message": {"content": "Hi"}, "finish_reason": "abort"}]}))


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "both"])
def test_reasoning_counts_once_in_stream_and_whole(name: str) -> None:
    names = ["reasoning", "reasoning_content"] if name == "both" else [name]
    words = ["The", " user", " asks"]
    events, error, _ = told(*(chunk(dict.fromkeys(names, word)) for word in words))
    assert error is None
    assert events == [Text(word.encode(), reasoning=True) for word in words]
    message = {"content": "Hi", "refusal": None} | dict.fromkeys(names, "The user asks")
    _, whole = read_whole(json({"choices": [{"message": message, "finish_reason": "stop"}]}))
    assert answer(whole).reasoning == "The user asks"
    (piece, _) = whole
    assert isinstance(piece, Piece)
    assert piece.delta.keys() == {"content", "reasoning"}


@pytest.mark.parametrize("empty", [None, ""])
def test_of_two_names_for_reasoning_the_empty_one_does_not_count(empty: str | None) -> None:
    for full, other in (("reasoning", "reasoning_content"), ("reasoning_content", "reasoning")):
        events, _, _ = told(chunk({full: "Hm", other: empty}), chunk({other: empty, full: "so"}))
        assert events == [Text(b"Hm", reasoning=True), Text(b"so", reasoning=True)]


def test_what_only_vllm_sends_is_left_out() -> None:
    extras: dict[str, Any] = {"stop_reason": 163586, "token_ids": [1, 2], "routed_experts": None}
    first = json(
        {
            "id": "chatcmpl-1",
            "choices": [{"index": 0, "delta": {"content": "Hi"}, **extras}],
            "prompt_token_ids": [1, 2, 3],
            "prompt_text": "Hi",
        }
    )
    assert told(first, first)[0] == [Text(b"Hi"), Text(b"Hi")]
    message = {"content": "Hi", "annotations": None, "audio": None, "function_call": None}
    whole = {
        "choices": [{"message": message, "finish_reason": "stop", **extras}],
        "prompt_logprobs": [None, {"5": {"logprob": -1.5}}],
        "kv_transfer_params": {"a": 1},
        "metrics": {"time_to_first_token_ms": 1.5},
    }
    assert read_whole(json(whole))[1] == [
        Piece(0, {"content": Raw(b'"Hi"')}, meaningful=True),
        Finish(0, "stop", "stop"),
    ]


def test_of_usage_in_every_chunk_the_last_stands() -> None:
    payloads = [
        json(
            {
                "choices": [{"index": 0, "delta": {"content": "a"}}],
                "usage": {"prompt_tokens": 9, "total_tokens": 9 + n, "completion_tokens": n},
            }
        )
        for n in (0, 1, 2, 3)
    ]
    events, _, _ = told(*payloads)
    assert answer(events) == Answer(content="aaaa", usage=Usage(prompt=9, completion=3))


@pytest.mark.parametrize(
    ("details", "cached", "written"),
    [
        (None, 0, 0),
        ({"cached_tokens": None, "created_cache_tokens": None, "multimodal_tokens": None}, 0, 0),
        ({"cached_tokens": 0, "created_cache_tokens": 128, "multimodal_tokens": None}, 0, 128),
        (
            {"cached_tokens": 128, "created_cache_tokens": 0, "multimodal_tokens": {"image": 9}},
            128,
            0,
        ),
        ({"cached_tokens": 128, "created_cache_tokens": 16}, 128, 16),
        ({"cached_tokens": 128, "created_cache_tokens": 999}, 128, 22),
        ({"cached_tokens": 999, "created_cache_tokens": 999}, 999, 0),
    ],
)
def test_cached_and_newly_cached_tokens_are_told_within_the_prompt(
    details: Any, cached: int, written: int
) -> None:
    usage = {"prompt_tokens": 150, "completion_tokens": 3, "prompt_tokens_details": details}
    (event,) = told(json({"choices": [], "usage": usage}))[0]
    assert event == Usage(prompt=150, completion=3, cached=cached, cache_write=written)


def test_several_tokens_in_one_delta_are_one_text_and_the_limit_may_stand_beside_the_last() -> None:
    events, error, reader = told(
        chunk({"content": "Hello from"}, finish_reason=None),
        chunk({"content": " a tiny"}, finish_reason="length", stop_reason=None),
        DONE,
    )
    assert events == [Text(b"Hello from"), Text(b" a tiny"), Finish(0, "length", "length")]
    assert (error, reader.done, reader.finished) == (None, True, True)


def test_ids_of_tool_calls_are_left_as_they_are_though_they_repeat() -> None:
    first = {"id": "functions.f:0", "type": "function", "index": 0}
    opening = first | {"function": {"name": "f", "arguments": '{"a'}}
    closing = {"index": 0, "function": {"arguments": '": 1}'}}
    for _ in range(2):
        events, _, _ = told(chunk({"tool_calls": [opening]}), chunk({"tool_calls": [closing]}))
        (call,) = answer(events).tools
        assert call == {"id": "functions.f:0", "name": "f", "arguments": '{"a": 1}'}


@pytest.mark.parametrize("text", ["\\ud83c", "\\udf0a", "a\\uD83Cb", "\\ud83c\\ud83c\\udf0a"])
def test_half_an_emoji_does_not_cost_the_text_around_it(text: str) -> None:
    payloads = [b'{"choices":[{"delta":{"content":"%b"}}]}' % t.encode() for t in ("a", text, "b")]
    events, _, reader = told(*payloads)
    read = answer(events).content
    assert reader.malformed == 0
    assert read.startswith("a")
    assert read.endswith("b")
    assert "\ufffd" in read


def test_whole_pairs_of_surrogates_and_what_only_looks_like_one_stay() -> None:
    raw = rb"\ud83c\udf0a \\ud83c"
    payload = b'{"choices":[{"delta":{"content":"%b","x":"\\ud83c"}}]}' % raw
    (event,) = told(payload)[0]
    assert isinstance(event, Piece)
    assert event.delta == {"content": Raw(b'"%b"' % raw), "x": Raw(rb'"\ufffd"')}


def test_json_over_several_lines_goes_on_in_one() -> None:
    payload = b'{"choices":[\n{"delta":{"tool_calls":[\n{"index":0}\r\n]}}]}'
    (event,) = told(payload)[0]
    assert isinstance(event, Piece)
    assert event.delta["tool_calls"] == Raw(b'[ {"index":0}  ]')
    with pytest.raises(BadReply):
        read_whole(b'{"choices":[{"message":{"content":"a\nb"}}]}')


@pytest.mark.parametrize(
    ("cost", "told_as"),
    [
        (b"0.5", "0.5"),
        (b'"1e-7"', "1e-7"),
        (b"-1", None),
        (b'"a lot"', None),
        (b'{"usd":1}', None),
        (b"1" * 99, None),
    ],
)
def test_a_cost_is_a_number_or_nothing(cost: bytes, told_as: str | None) -> None:
    usage = b'{"prompt_tokens":1,"completion_tokens":1,"cost":%b}' % cost
    (event,) = told(b'{"choices":[],"usage":%b}' % usage)[0]
    assert event == Usage(prompt=1, completion=1, reported_cost=told_as)


def test_nothing_counts_after_the_end_mark() -> None:
    more = (chunk({"content": "x"}), json(flat(500, "x")), b"not JSON", DONE)
    events, error, reader = told(chunk({"content": "x"}), chunk({"content": "x"}), DONE, *more)
    assert (len(events), error, reader.malformed) == (2, None, 0)


def test_an_empty_event_is_a_sign_of_life() -> None:
    events, error, reader = told(b"", chunk({"content": "x"}), b"", DONE)
    assert (events, error, reader.malformed) == ([Text(b"x")], None, 0)
