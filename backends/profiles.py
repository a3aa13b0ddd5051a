"""What the Kimi models are like, whoever serves them: the facts that a request is adapted by."""

from collections.abc import Mapping

from msgspec import Struct


class Profile(Struct, frozen=True, kw_only=True):
    """One model's own rules. What is not known is None or empty.

    Attributes:
        thinking: `none`, `toggle` (thinks unless told not to) or `always`.
        efforts: words of `reasoning_effort` that it knows, weakest first; empty: it has no such setting.
        default_effort: what it does unasked.
        can_stop: whether a model that always thinks stops it all the same when Moonshot's `thinking`
            object says so.
        keep: whether the `thinking` object may say `keep`, which has earlier thinking stay in the
            prompt: `optional`, or `always` where that is how it works unasked; None: it knows no such word.
        forced_tools: values of `tool_choice` beyond auto and none that Moonshot takes while it thinks.
        native_tool_ids: whether ids of tool calls in the history must be `functions.<name>:<index>`, as
            its chat template writes them: other ids make it emit broken calls.
        inputs: kinds of content that it reads.
    """

    thinking: str | None = None
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    can_stop: bool = False
    keep: str | None = None
    forced_tools: frozenset[str] = frozenset()
    native_tool_ids: bool = False
    inputs: frozenset[str] = frozenset({"text", "image", "video"})


UNKNOWN = Profile()

_TEXT = frozenset({"text"})
# Moonshot, recorded 2026-09-03: `thinking: {"type": "disabled"}` is documented as unsupported on K3 and
# was honoured: 200, no reasoning. `tool_choice: "required"` is taken by K3 and answered 400 by K2.6 and
# K2.7 while they think; one that names a function is answered 400 by all. `keep` is K2.6's own to choose;
# K2.7 and K3 keep earlier thinking always (documentation of that day), K2.5 refused the word (the vendor's
# verifier, 2026-08-13).
_K3 = Profile(
    thinking="always",
    efforts=("low", "high", "max"),
    default_effort="max",
    can_stop=True,
    keep="always",
    forced_tools=frozenset({"required"}),
)
_K27_CODE = Profile(thinking="always", keep="always", native_tool_ids=True)

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
    "moonshotai/kimi-k2.6": Profile(thinking="toggle", keep="optional", native_tool_ids=True),
    "moonshotai/kimi-k2.7-code": _K27_CODE,
    "moonshotai/kimi-k2.7-code-highspeed": _K27_CODE,
    "moonshotai/kimi-k3": _K3,
    "moonshotai/kimi-k3.1-pro": _K3,
    "moonshotai/kimi-k3.1-pro-highspeed": _K3,
    "moonshotai/kimi-linear-48b-a3b-instruct": Profile(
        thinking="none", native_tool_ids=True, inputs=_TEXT
    ),
}


def profile_of(model: str) -> Profile:
    """The profile of a canonical model; `UNKNOWN` for one that is not of these."""
    return PROFILES.get(model, UNKNOWN)
