"""What of a request litellm never sees, as it would fetch it."""

from typing import Any

import pytest

from backends.litellm.worker.wire import refused_in

URL = "http://169.254.169.254/latest/meta-data"
IMAGE = {"type": "image_url", "image_url": {"url": URL}}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [IMAGE]},
        {"role": "user", "content": IMAGE},
        {"role": "user", "content": [URL]},
        {"role": "user", "content": [{"type": "text", "text": "Hi", "image_url": {"url": URL}}]},
        {
            "role": "tool",
            "tool_call_id": "c",
            "content": [{"type": "image", "source": {"url": URL}}],
        },
        # Gemini's: read by litellm 1.106.2 from messages of every role.
        {"role": "assistant", "content": "Here", "images": [IMAGE]},
    ],
)
def test_what_is_given_by_address_is_refused_wherever_it_stands(message: dict[str, Any]) -> None:
    assert "data: URL" in str(refused_in({"messages": [message]}))


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": URL},
        {"role": "user", "content": [{"type": "text", "text": URL}]},
        {"role": "assistant", "content": None, "reasoning_content": URL, "tool_calls": []},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "function": {"name": "get", "arguments": f'{{"u":"{URL}"}}'}}
            ],
        },
        {"role": "tool", "tool_call_id": URL, "content": URL},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:image/png;,"}}],
        },
        {"role": "user", "content": None},
    ],
)
def test_an_address_in_text_is_text(message: dict[str, Any]) -> None:
    assert refused_in({"messages": [message]}) is None


@pytest.mark.parametrize("messages", [None, {}, [None], ["x"], [[]], 7])
def test_what_is_no_list_of_messages_is_for_litellm_to_refuse(messages: Any) -> None:
    assert refused_in({"messages": messages}) is None
