"""What the Kimi models are like, whoever serves them: the facts that a request is adapted by."""

from collections.abc import Mapping

from msgspec import Struct


class Profile(Struct, frozen=True, kw_only=True):
    """One model's own rules. What is not known is None or empty.

    Attributes:
        thinking: `none`, `toggle` (thinks unless told not to) or `always`.
        efforts: words of `reasoning_effort` that it knows, weakest first; empty: it has no such setting.
        default_effort: what it does unasked.
        native_tool_ids: whether ids of tool calls in the history must be `functions.<name>:<index>`, as
            its chat template writes them: other ids make it emit broken calls.
        inputs: kinds of content that it reads.
    """

    thinking: str | None = None
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    native_tool_ids: bool = False
    inputs: frozenset[str] = frozenset({"text", "image", "video"})


UNKNOWN = Profile()

_TEXT = frozenset({"text"})
_K3_EFFORTS = ("low", "high", "max")

# Moonshot's model list and documentation (recorded 2026-09-03), the model cards, and the vendor's note on
# tool calling, in which the id "must" be functions.<name>:<idx>, counting over the conversation.
PROFILES: Mapping[str, Profile] = {
    "moonshotai/kimi-k2-0711": Profile(thinking="none", native_tool_ids=True, inputs=_TEXT),
    "moonshotai/kimi-k2-0905": Profile(thinking="none", native_tool_ids=True, inputs=_TEXT),
    "moonshotai/kimi-k2-turbo": Profile(thinking="none", native_tool_ids=True, inputs=_TEXT),
    "moonshotai/kimi-k2-thinking": Profile(thinking="always", native_tool_ids=True, inputs=_TEXT),
    "moonshotai/kimi-k2-thinking-turbo": Profile(
        thinking="always", native_tool_ids=True, inputs=_TEXT
    ),
    "moonshotai/kimi-k2.5": Profile(thinking="toggle", native_tool_ids=True),
    "moonshotai/kimi-k2.6": Profile(thinking="toggle", native_tool_ids=True),
    "moonshotai/kimi-k2.7-code": Profile(thinking="always", native_tool_ids=True),
    "moonshotai/kimi-k2.7-code-highspeed": Profile(thinking="always", native_tool_ids=True),
    "moonshotai/kimi-k3": Profile(thinking="always", efforts=_K3_EFFORTS, default_effort="max"),
    "moonshotai/kimi-k3.1-pro": Profile(
        thinking="always", efforts=_K3_EFFORTS, default_effort="max"
    ),
    "moonshotai/kimi-k3.1-pro-highspeed": Profile(
        thinking="always", efforts=_K3_EFFORTS, default_effort="max"
    ),
    "moonshotai/kimi-linear-48b-a3b-instruct": Profile(
        thinking="none", native_tool_ids=True, inputs=_TEXT
    ),
}


def profile_of(model: str) -> Profile:
    """The profile of a canonical model; `UNKNOWN` for one that is not of these."""
    return PROFILES.get(model, UNKNOWN)
