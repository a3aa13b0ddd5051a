"""Endpoints of kind `litellm` in the settings, and the worker that they mean."""

from typing import Any

import pytest

from gateway.errors import ConfigurationError
from gateway.routing.litellm_endpoints import litellm_plan
from gateway.settings import check


def tree(top: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Settings with one such endpoint."""
    row = {
        "id": "bedrock/kimi",
        "provider": "bedrock",
        "kind": "litellm",
        "model": "bedrock/moonshot.kimi-k2-thinking",
        "serves": "moonshotai/kimi-k2-thinking",
        "price": {"input": "1", "output": "2"},
        "context_length": 1000,
        "max_output": 100,
        **more,
    }
    return {"endpoints": [row], **(top or {})}


def test_it_needs_no_address_and_the_worker_gets_its_rows() -> None:
    top = {"litellm": {"python": "/opt/py", "environment": {"AWS_ACCESS_KEY_ID": "AKIA"}}}
    settings = check(
        tree(
            top,
            litellm={"aws_region_name": "us-east-1", "aws_session_token": "hush"},
            thinking_switch="reasoning_effort",
            extra_fields=["top_k"],
        )
    )
    plan = litellm_plan(settings)
    assert plan is not None
    assert plan.python == "/opt/py"
    assert {name: one.reveal() for name, one in plan.environment.items()} == {
        "AWS_ACCESS_KEY_ID": "AKIA"
    }
    row = plan.endpoints["bedrock/kimi"]
    assert row.model == "bedrock/moonshot.kimi-k2-thinking"
    assert row.base_url is None
    assert {name: one.reveal() for name, one in row.params.items()} == {
        "aws_region_name": "us-east-1",
        "aws_session_token": "hush",
    }
    assert row.allowed == ("reasoning_effort", "top_k")
    assert "messages" in plan.fields
    assert "max_tokens" in plan.fields
    assert "hush" not in repr(settings) + repr(plan)
    assert plan.timeout > settings.request.total_timeout


def test_without_such_an_endpoint_there_is_no_worker() -> None:
    other = tree(kind="openai_compat", base_url="https://x.example/v1")
    assert litellm_plan(check(other)) is None


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"kind": "openai_compat"}, "endpoints[0].base_url: is required"),
        ({"litellm": {"api_base": "http://x"}}, "endpoints[0].litellm.api_base: there is no such"),
        ({"extra_fields": ["api_base"]}, "'api_base' is not handed on by litellm"),
        ({"extra_fields": ["mock_response"]}, "'mock_response' is not handed on"),
        (
            {"kind": "vllm", "base_url": "http://gpu:1", "litellm": {"vertex_project": "x"}},
            "goes with kind litellm, not with vllm",
        ),
    ],
)
def test_what_it_cannot_have_is_told(more: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(tree(**more))
    assert any(fault in line for line in caught.value.faults), caught.value.faults
