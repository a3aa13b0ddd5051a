"""Where the tests of each group are.

`make test` collects a group from these folders alone, as to collect the whole tree takes half a minute.
"""

from collections.abc import Mapping

GROUPS: Mapping[str, tuple[str, ...]] = {
    "faults": ("faults",),
    "litellm": ("litellm", "faultwall", "e2e"),
    "vllm": ("vllm",),
}
