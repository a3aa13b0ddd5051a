"""What fails behind litellm is told as what it is, without what is private."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from backends import BackendError, Deadlines
from backends.errors import (
    AccessRefused,
    BadReply,
    ConnectFailed,
    ContentRefused,
    ContextLengthExceeded,
    CredentialRefused,
    ModelUnavailable,
    NoHost,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    UpstreamFault,
    UpstreamTimeout,
)
from tests.litellm.desk import HOW, MODELS, Desk

REFUSALS: list[tuple[str, type[BackendError]]] = [
    ("error400", RequestRefused),
    ("error400_context", ContextLengthExceeded),
    ("error401", CredentialRefused),
    ("error402", QuotaExhausted),
    ("error403", AccessRefused),
    ("error404", ModelUnavailable),
    ("error429_rate", RateLimited),
    ("error500", UpstreamFault),
    ("error503", ProviderUnavailable),
    ("html504", ProviderTimeout),
]
WITHIN_AN_ANSWER = {"cut", "error_event", "finish_error"}
CUTS = ("cut", "comments_only", "login_page", "error_event", "finish_error", "whole_error")


def post(desk: Desk, body: dict[str, Any], *, token: str | None = None) -> tuple[int, Any]:
    """Ask the worker itself, as only the gateway can."""
    parts = urlsplit(desk.worker.base_url)
    path = f"{parts.path if token is None else f'/{token}/v1'}/chat/completions"
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=30)
    try:
        headers = {"Authorization": "Bearer sk-good"}
        connection.request("POST", path, json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text
    finally:
        connection.close()


@pytest.mark.parametrize("how", ["stream", "whole"])
@pytest.mark.parametrize("name", ["openai", "novita", "openrouter"])
@pytest.mark.parametrize(("fault", "kind"), REFUSALS)
def test_a_refusal_is_classed_by_litellms_exception(
    desk: Desk, name: str, how: str, fault: str, kind: type[BackendError]
) -> None:
    error = desk.refusal(name, f"[[fault={fault}]]", how)
    assert type(error) is kind
    assert error.status is not None
    assert error.status >= 400


def test_a_providers_own_word_says_more_than_litellms_class(desk: Desk) -> None:
    error = desk.refusal("openrouter", "[[fault=error400_filter]]")
    assert type(error) is ContentRefused
    assert error.native_code == "content_policy_violation"


def test_retry_after_is_passed_on(desk: Desk) -> None:
    error = desk.refusal("openai", "[[fault=error429_overloaded,retry_after=17]]")
    assert isinstance(error, RateLimited)
    assert error.retry_after == 17.0


@pytest.mark.parametrize("name", MODELS)
def test_neither_key_nor_address_is_in_a_message(desk: Desk, name: str) -> None:
    error = desk.refusal(name, row={"key": "sk-wrong-and-secret"})
    assert isinstance(error, CredentialRefused)
    for text in (str(error), error.public):
        assert "secret" not in text
        assert "127.0.0.1" not in text


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("fault", CUTS)
def test_a_stream_that_breaks_is_never_a_clean_end(desk: Desk, name: str, fault: str) -> None:
    content, finish, error = desk.outcome(name, f"[[fault={fault},after=2,think=0]]")
    assert isinstance(error, BadReply | ProviderUnavailable | UpstreamFault)
    assert error.in_work
    assert error.try_next
    assert content == ("This is" if fault in WITHIN_AN_ANSWER else "")
    assert finish == []


@pytest.mark.parametrize("name", MODELS)
def test_a_whole_answer_that_its_provider_broke_off_is_none(desk: Desk, name: str) -> None:
    error = desk.refusal(name, "[[fault=finish_error,after=2,think=0]]", "whole")
    assert isinstance(error, UpstreamFault)
    assert error.in_work


@pytest.mark.parametrize("how", HOW)
def test_a_provider_that_is_not_there_is_told_as_such(desk: Desk, how: str) -> None:
    assert type(desk.refusal("effort", how=how)) is ConnectFailed


def test_no_piece_of_the_answer_is_in_the_message(desk: Desk) -> None:
    error = desk.ask("openai", "[[fault=finish_error,after=2,think=0]]").error
    assert error is not None
    assert "Chunk" not in str(error)


def test_silence_ends_at_the_deadline_and_ends_the_call(desk: Desk) -> None:
    server = desk.servers["openai"]
    assert desk.ask("openai").error is None  # litellm's first call takes longer than the deadline
    before = server.cancelled.count
    quick = Deadlines(first_byte=1.0, idle=1.0)
    error = desk.refusal("openai", "[[fault=stall]]", row={"deadlines": quick})
    assert isinstance(error, UpstreamTimeout)
    desk.run(server.cancelled.wait(before + 1))
    ended = desk.ask(
        "openai", "[[fault=stall_after_head,after=4,think=0]]", row={"deadlines": quick}
    )
    assert isinstance(ended.error, UpstreamTimeout)
    assert ended.answer.content == "This is Tidegate's sandbox"
    desk.run(server.cancelled.wait(before + 2))


@pytest.mark.parametrize("name", MODELS)
def test_leaving_an_answer_ends_the_call_to_the_provider(desk: Desk, name: str) -> None:
    server = desk.servers[name]
    before = server.cancelled.count

    async def leave() -> None:
        reply = await desk.open(name, "[[n=100000,pace=5]]")
        assert await reply.next()
        reply.abort()
        await server.cancelled.wait(before + 1)

    desk.run(leave())


def test_a_model_that_litellm_does_not_know_is_not_served(desk: Desk) -> None:
    assert desk.worker.unknown["nonsense"] is None
    assert type(desk.refusal("nonsense")) is ModelUnavailable


def test_what_the_answer_needs_and_the_provider_has_not_goes_elsewhere(desk: Desk) -> None:
    error = desk.refusal("bedrock", tool_choice="required")
    assert type(error) is NoHost
    assert error.try_next
    assert "tool_choice" in str(error)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}},
        {"type": "image_url", "image_url": "HTTPS://example.com/x.png"},
        {"type": "video_url", "video_url": {"url": " file:///etc/passwd"}},
        {"type": "file", "file": {"file_id": "gs://bucket/object"}},
        {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/"}},
    ],
)
def test_nothing_that_a_caller_names_is_fetched(desk: Desk, part: dict[str, Any]) -> None:
    error = desk.refusal("anthropic", messages=[{"role": "user", "content": [part]}])
    assert isinstance(error, RequestRefused)
    assert "data: URL" in error.public


def test_nothing_is_fetched_that_stands_beside_the_content_either(desk: Desk) -> None:
    image = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}
    error = desk.refusal(
        "anthropic", messages=[{"role": "user", "content": "Hi", "images": [image]}]
    )
    assert isinstance(error, RequestRefused)
    assert "data: URL" in error.public


def test_tools_that_are_no_functions_are_refused(desk: Desk) -> None:
    tool = {"type": "mcp", "server_url": "litellm_proxy", "server_label": "x"}
    assert "type function" in desk.refusal("openai", tools=[tool]).public


@pytest.mark.parametrize(
    "field", ["api_base", "base_url", "api_key", "mock_response", "extra_headers", "fallbacks"]
)
def test_the_worker_takes_no_parameter_of_litellms_from_a_request(desk: Desk, field: str) -> None:
    asked = {"model": "openai", "messages": [{"role": "user", "content": "Hi"}], field: "x"}
    status, body = post(desk, asked)
    assert status == 400
    assert field in body["error"]["message"]


def test_the_worker_serves_the_endpoints_it_was_started_with_and_who_knows_its_path(
    desk: Desk,
) -> None:
    asked = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    assert post(desk, asked)[0] == 404
    assert post(desk, {**asked, "model": "openai"})[0] == 200
    assert post(desk, {**asked, "model": "openai"}, token="0" * 64)[0] == 404


@pytest.mark.parametrize("how", HOW)
def test_after_all_that_it_still_answers(desk: Desk, how: str) -> None:
    assert desk.ask("openai", how=how).error is None
    assert desk.worker.starts == 1
