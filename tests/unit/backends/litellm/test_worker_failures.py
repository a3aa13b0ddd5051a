"""litellm's exceptions as errors of OpenAI's form, with nothing private in them."""

from typing import Any

import pytest

from backends.litellm.worker.failures import Failure, cleaned, failure_of


def raised(
    kind: str, message: str, *, module: str = "litellm.exceptions", **more: Any
) -> Exception:
    """An exception as litellm has them."""
    error = type(kind, (Exception,), {"__module__": module})(message)
    for name, value in {"message": f"litellm.{kind}: {message}", **more}.items():
        setattr(error, name, value)
    assert isinstance(error, Exception)
    return error


def foreign(kind: str, module: str, **more: Any) -> BaseException:
    """An exception of another library's."""
    return raised(kind, "x", module=module, **more)


@pytest.mark.parametrize(
    ("kind", "carried", "status", "told"),
    [
        ("AuthenticationError", 401, 401, "AuthenticationError"),
        ("Timeout", 408, 504, "Timeout"),
        ("APIError", 403, 403, "PermissionDeniedError"),
        ("APIError", 402, 402, "PaymentRequiredError"),
        ("APIError", 500, 500, "APIError"),
        ("ServiceUnavailableError", 503, 503, "ServiceUnavailableError"),
    ],
)
def test_the_class_is_the_type_and_the_status_does_not_blame_the_request(
    kind: str, carried: int, status: int, told: str
) -> None:
    answered = foreign("HTTPStatusError", "httpx")
    failure = failure_of(raised(kind, "no", status_code=carried, __cause__=answered), [])
    assert failure.status == status
    assert failure.body["type"] == told
    assert failure.body["provider_status"] == carried
    assert failure.body["message"] == "no"
    assert not failure.begun


@pytest.mark.parametrize(
    ("cause", "module", "kind", "told"),
    [
        ("TransportError", "httpx", "InternalServerError", "APIConnectionError"),
        ("ClientPayloadError", "aiohttp.client_exceptions", "APIError", "APIConnectionError"),
        ("ConnectionError", "builtins", "APIError", "APIConnectionError"),
        ("TransportError", "httpx", "Timeout", "Timeout"),
        ("JSONDecodeError", "json.decoder", "APIError", "APIResponseValidationError"),
        ("UnicodeDecodeError", "builtins", "InternalServerError", "APIResponseValidationError"),
        ("Exception", "builtins", "APIConnectionError", "APIError"),
        ("Exception", "builtins", "InternalServerError", "InternalServerError"),
    ],
)
def test_what_broke_after_it_was_sent_may_be_billed_whatever_status_litellm_gives_it(
    cause: str, module: str, kind: str, told: str
) -> None:
    outer = raised(kind, "no", status_code=500, __context__=foreign(cause, module))
    failure = failure_of(outer, [])
    assert failure.begun
    assert "provider_status" not in failure.body
    assert failure.body["type"] == told


@pytest.mark.parametrize(
    ("cause", "module"),
    [
        ("ClientConnectorError", "aiohttp.client_exceptions"),
        ("ConnectError", "httpcore"),
        ("ConnectTimeout", "httpx"),
        ("EndpointConnectionError", "botocore.exceptions"),
    ],
)
def test_where_no_connection_was_had_nothing_may_be_billed(cause: str, module: str) -> None:
    middle = raised("OpenAIError", "x", status_code=500, __cause__=foreign(cause, module))
    outer = raised("InternalServerError", "x", status_code=500, __context__=middle)
    failure = failure_of(outer, [])
    assert (failure.body["type"], failure.begun) == ("ConnectError", False)


def test_a_page_that_is_no_json_is_a_refusal_all_the_same() -> None:
    refusal = foreign("HTTPStatusError", "httpx", __context__=foreign("JSONDecodeError", "json"))
    failure = failure_of(raised("BadGatewayError", "x", status_code=502, __cause__=refusal), [])
    assert (failure.status, failure.body["type"]) == (502, "BadGatewayError")
    assert not failure.begun


def test_what_litellm_refuses_itself_was_never_sent() -> None:
    assert not failure_of(raised("UnsupportedParamsError", "x", status_code=400), []).begun


def test_a_circle_of_causes_ends() -> None:
    outer = raised("APIError", "x", status_code=500)
    inner = raised("OpenAIError", "x", original_exception=outer)
    outer.__cause__ = inner
    assert failure_of(outer, []).begun


def test_the_providers_word_is_read_where_litellm_left_it_behind() -> None:
    behind = foreign("APIError", "openai", body={"message": "full", "code": "server_overloaded"})
    outer = raised("APIConnectionError", "OpenAIException - x", status_code=500, __cause__=behind)
    failure = failure_of(outer, [])
    assert failure.body["message"] == "full"
    assert failure.body["code"] == "server_overloaded"


def test_what_litellm_says_of_a_broken_stream_is_the_error_behind_it() -> None:
    inner = raised("RateLimitError", "slow down", status_code=429)
    outer = raised("MidStreamFallbackError", "x", status_code=503, original_exception=inner)
    assert failure_of(outer, []).body["type"] == "RateLimitError"


def test_of_any_other_exception_not_a_word_is_told() -> None:
    failure = failure_of(KeyError("what the caller wrote"), [])
    assert failure.status == 500
    assert failure.body["type"] == "KeyError"
    assert "caller" not in failure.body["message"]


def test_a_providers_own_body_gives_message_and_word() -> None:
    text = '{"error":{"message":"too long","metadata":{"error_type":"context_length_exceeded"}}}'
    failure = failure_of(
        raised("BadRequestError", f"OpenrouterException - {text}", status_code=400), []
    )
    assert failure.body["message"] == "too long"
    assert failure.body["code"] == "context_length_exceeded"


def test_secrets_addresses_and_pieces_of_answers_are_taken_out() -> None:
    text = "key hunter2-secret at https://user:pw@host/x?key=1\nis wrong"
    assert cleaned(text, ["hunter2-secret", "is"]) == "key *** at … is wrong"
    broken = raised("APIError", "ended. Received Chunk={'text': 'dear diary'}", status_code=500)
    assert "diary" not in str(failure_of(broken, []).body)


def test_what_the_worker_itself_refuses_stays_as_it_is() -> None:
    failure = Failure(404, "NotFoundError", "there is no such endpoint")
    assert failure_of(failure, []) is failure
    assert failure.body["code"] == 404
