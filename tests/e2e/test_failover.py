"""The answer survives its provider, or the caller is told honestly; over real sockets, fault by fault."""

from decimal import Decimal

import pytest

from tests.fakes.stage import Stage, chat

BEFORE = {  # what strikes before the first token, as a tag's words
    "refuse": "connection_lost",
    "error401": "credential_refused",
    "error403": "access_refused",
    "error404": "model_unavailable",
    "error429_rate": "rate_limited",
    "error429_overloaded": "rate_limited",  # Novita has no word for it that is known
    "error429_quota": "quota_exhausted",
    "error500": "upstream_fault",
    "error503": "provider_unavailable",
    "html504": "timeout",
    "stall": "timeout",
    "stall_after_head": "timeout",
    "cut": "connection_lost",
    "cut_nonstream": "connection_lost",
    "empty": "empty_reply",
    "error_event": "upstream_fault",
}
AFTER = {
    "cut": ("cut,after=3", "connection_lost"),
    "cut with an orderly close": ("cut,after=3,how=fin", "connection_lost"),
    "stall_after_head": ("stall_after_head,after=3", "timeout"),
    "error_event": ("error_event,after=3", "upstream_fault"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", BEFORE)
def test_a_failure_before_the_first_token_is_invisible(
    stage: Stage,
    fault: str,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    model = f"tests/{fault}-stream" if stream else f"tests/{fault}"
    body = chat(f"[[fault={fault},at=novita]] Hello!", model=model, stream=stream)
    answer = stage.ask(body)
    assert answer.status == 200, answer.body
    if not answer.body.startswith(b":"):  # a comment that bridges a silence sends the head early
        assert answer.headers["x-tidegate-provider"] == "second"
        assert answer.headers["x-tidegate-attempts"] == "2"
    if not stream:
        text = answer.document["choices"][0]["message"]["content"]
        assert "sandbox of Moonshot AI" in text
    else:
        events = answer.events
        assert events[-1] == "[DONE]"
        assert not [event for event in events[:-1] if "error" in event]
        words = [c["delta"].get("content", "") for event in events[:-1] for c in event["choices"]]
        assert "sandbox of Moonshot AI" in "".join(words)

    seen = stage.generation(answer.generation)
    failed, served = seen["provider_responses"]
    assert (failed["provider_name"], failed["error_code"]) == ("first", BEFORE[fault])
    assert failed["charge"] == 0
    assert (served["provider_name"], served["result"]) == ("second", "success")
    assert seen["total_cost"] == served["charge"] > 0


@pytest.mark.parametrize("name", AFTER)
def test_a_failure_after_the_first_token_is_told_and_what_was_sent_is_charged(
    stage: Stage, name: str
) -> None:
    words, code = AFTER[name]
    model = f"tests/{words.partition(',')[0]}-other"
    raw = (
        f'{{"model": "{model}", "stream": true, "messages": '
        f'[{{"role": "user", "content": "[[fault={words}]] Hello!"}}]}}'
    ).encode()
    answer = stage.ask(raw)
    assert answer.status == 200
    events = answer.events
    assert "[DONE]" not in events
    *_, last = events
    assert last["error"]["code"] == code
    assert "charged" in last["error"]["message"]
    assert last["choices"][0]["finish_reason"] == "error"
    texts = [c["delta"] for event in events[:-1] for c in event["choices"]]
    delivered = [delta for delta in texts if delta.get("reasoning") or delta.get("content")]
    assert len(delivered) == 3

    seen = stage.generation(answer.generation)
    (attempt,) = seen["provider_responses"]
    assert (seen["result"], seen["error_code"], attempt["basis"]) == ("failed", code, "estimated")
    prompt = -(-len(raw) // 4)  # the rule for prompts that nobody counted
    size = sum(len(delta.get("reasoning") or delta["content"]) for delta in delivered)
    output = max(3, -(-size // 4))  # and for pieces, each of which may be several tokens
    assert (seen["tokens_prompt"], seen["tokens_completion"]) == (prompt, output)
    dearness = {"first": (1, 2), "second": (3, 6)}[attempt["provider_name"]]
    expected = Decimal(prompt * dearness[0] + output * dearness[1]) / 1_000_000
    assert seen["total_cost"] == expected


def test_a_whole_answer_that_is_cut_late_is_one_error_and_free(stage: Stage) -> None:
    """Not streamed, so nothing reached the caller."""
    answer = stage.ask(chat("[[fault=cut,after=3]] Hello!", model="tests/cut"))
    assert answer.status == 502
    error = answer.document["error"]
    assert error["code"] == "connection_lost"
    assert len(error["metadata"]["attempts"]) == 2  # the second one tried, and broke off too
    assert stage.generation(answer.generation)["total_cost"] == 0


def test_a_stream_without_its_end_mark_is_not_passed_off_as_whole(stage: Stage) -> None:
    answer = stage.ask(chat("[[fault=no_done]] Hello!", model="tests/no_done", stream=True))
    assert answer.events[-1]["error"]["code"] == "bad_reply"


@pytest.mark.parametrize("fault", ["slow,delay=2", "trickle", "malformed_event,after=2"])
def test_what_is_no_failure_is_answered_by_the_first(stage: Stage, fault: str) -> None:
    model = f"tests/{fault.partition(',')[0]}"
    answer = stage.ask(chat(f"[[fault={fault}]] Hello!", model=model, stream=True))
    assert answer.headers["x-tidegate-provider"] == "first"
    assert answer.events[-1] == "[DONE]"


def test_an_answer_without_counts_is_estimated_and_says_so(stage: Stage) -> None:
    answer = stage.ask(chat("[[fault=no_usage]] Hello!", model="tests/no_usage"))
    usage = answer.document["usage"]
    assert usage["estimated"] is True
    assert usage["cost"] > 0
    assert stage.generation(answer.generation)["basis"] == "estimated"


def test_one_error_lists_every_attempt(stage: Stage) -> None:
    answer = stage.ask(chat("[[fault=error503]]", model="tests/error503"))
    assert answer.status == 503
    attempts = answer.document["error"]["metadata"]["attempts"]
    assert {one["provider"] for one in attempts} == {"first", "second"}
    assert {(one["code"], one["status"]) for one in attempts} == {("provider_unavailable", 503)}
    assert stage.generation(answer.generation)["total_cost"] == 0


def test_what_the_provider_calls_the_callers_fault_is_not_tried_elsewhere(stage: Stage) -> None:
    before = stage.moonshot.received.count
    answer = stage.ask(chat("[[fault=error400,at=novita]]", model="tests/error400"))
    assert (answer.status, answer.document["error"]["code"]) == (400, "request_refused")
    assert stage.moonshot.received.count == before

    tags = "[[fault=error503,at=novita]] [[fault=error400_filter,at=moonshot]]"
    answer = stage.ask(chat(tags, model="tests/error400_filter"))
    assert (answer.status, answer.document["error"]["code"]) == (400, "content_policy_violation")


def test_a_silent_provider_is_bridged_by_comments(stage: Stage) -> None:
    answer = stage.ask(chat("[[wait=350]] Hello!", stream=True))
    comments = answer.body.partition(b"data: ")[0].split(b"\n\n")[:-1]
    assert len(comments) >= 2
    assert all(comment.startswith(b": ") for comment in comments)
    assert answer.events[-1] == "[DONE]"
    with stage.client().chat.completions.create(
        **chat("[[wait=150]] Hello!"), stream=True
    ) as stream:
        assert [chunk for chunk in stream if chunk.choices]


def test_a_failure_after_a_comment_is_told_inside_the_stream(stage: Stage) -> None:
    body = chat("[[fault=error500,delay=150]] Hello!", model="tests/error500-other", stream=True)
    answer = stage.ask(body)
    assert answer.status == 200
    (error,) = answer.events
    assert error["error"]["code"] == "upstream_fault"
