"""Local stand-ins of the providers: real servers that speak their wire and fail on request.

`SandboxServer` runs inside a test or another program; `python -m backends.sandbox` runs on its own.
`faults` says what can be made to go wrong, `tokens` how usage is counted.
"""

from backends.sandbox.faults import Fault, FaultName
from backends.sandbox.moonshot import Moonshot
from backends.sandbox.novita import Novita
from backends.sandbox.server import Provider, SandboxServer
from backends.sandbox.tokens import count_prompt_tokens
from backends.sandbox.vllm import Vllm

__all__ = [
    "Fault",
    "FaultName",
    "Moonshot",
    "Novita",
    "Provider",
    "SandboxServer",
    "Vllm",
    "count_prompt_tokens",
]
