"""A vLLM server with `--api-key`, and one that is not there."""

import pytest

from tests.vllm.stage_with_vllm import VLLM_KEY, WRONG_KEY, VllmStage


def body(model: str, *, stream: bool) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}


STREAM = pytest.mark.parametrize("stream", [False, True])


def test_vllm_wants_its_key(stage: VllmStage) -> None:
    assert stage.latent.ask(body("tiny-kimi", stream=False)) == {"error": "Unauthorized"}


@STREAM
@pytest.mark.parametrize("model", ["tests/wrong-key", "tests/no-key"])
def test_a_key_that_vllm_refuses_is_the_gateways_fault_and_stays_secret(
    stage: VllmStage,
    model: str,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    answer = stage.ask(body(model, stream=stream))
    error = answer.document["error"]
    assert (answer.status, error["code"]) == (502, "credential_refused")
    assert error["type"] == "api_error", "the caller's own key is good"
    (attempt,) = error["metadata"]["attempts"]
    assert (attempt["provider"], attempt["status"]) == ("latent", 401)
    told = answer.body.decode() + str(answer.headers) + "\n".join(stage.gateway.log)
    assert WRONG_KEY not in told
    assert VLLM_KEY not in told
    assert stage.generation(answer.generation)["total_cost"] == 0


@pytest.mark.parametrize(
    ("model", "code", "asked_again"),
    [
        # Without a good key there is no sense in asking any endpoint of that account again.
        ("tests/locked", "credential_refused", False),
        ("tests/nobody", "connect_failed", True),
    ],
)
def test_a_server_that_cannot_answer_is_passed_over(
    stage: VllmStage,
    model: str,
    code: str,
    asked_again: bool,  # noqa: FBT001 - a parameter
) -> None:
    answer = stage.ask(body(model, stream=False))
    assert answer.status == 200, answer.body
    assert answer.headers["x-tidegate-provider"] == "prefix"
    assert answer.headers["x-tidegate-attempts"] == "2"
    failed, served = stage.generation(answer.generation)["provider_responses"]
    assert (failed["error_code"], failed["charge"]) == (code, 0)
    assert served["result"] == "success"
    streamed = stage.ask(body(model, stream=True))
    assert streamed.status == 200, streamed.body
    assert streamed.headers["x-tidegate-provider"] == "prefix"
    assert ("x-tidegate-attempts" in streamed.headers) is asked_again
