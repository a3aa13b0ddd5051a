"""Any host that speaks OpenAI's dialect and of which nothing else is known."""

from backends.errors import ContextLengthExceeded
from backends.kind import Kind
from backends.openai_compat.failure_rows import SHARED
from backends.openai_compat.failures import FailureRules, row
from backends.openai_compat.messages import History
from backends.openai_compat.quirks import CORE, SAMPLING, Quirks

_ROWS = (
    row(
        ContextLengthExceeded,
        "DeepSeek (reports of 2025-12-26 and 2026-01-19), vLLM: only the text tells",
        status=(400,),
        says=("maximum context length",),
        inside=False,
    ),
)
FAILURES = FailureRules(_ROWS, SHARED)

# Nothing is known of such a host but that it speaks the dialect: how it is told to think is for its row.
QUIRKS = Quirks(
    source="Any host that speaks OpenAI's dialect: the fields of OpenAI's own reference that bear neither"
    " cost nor retention.",
    forwarded=CORE | SAMPLING,
    gateway=True,
    history=History(developer=True),
    failures=FAILURES,
)

KIND = Kind(quirks=QUIRKS, title="any host that speaks OpenAI's dialect")
