"""Local stand-ins of the providers: real servers that speak their wire and fail on request.

`SandboxServer` runs inside a test or another program; `tidegate sandbox` runs on its own, and so does
`python -m backends.sandbox`, which tells a program the ports.
`faults` says what can be made to go wrong, `tokens` how usage is counted.
"""

from backends.sandbox.faults import Fault, FaultName, fault_of
from backends.sandbox.moonshot import Moonshot
from backends.sandbox.novita import Novita
from backends.sandbox.openrouter import OpenRouter
from backends.sandbox.server import Provider, SandboxServer, serve_until_signal
from backends.sandbox.tokens import count_prompt_tokens
from backends.sandbox.vercel import Vercel
from backends.sandbox.vllm import Vllm

__all__ = [
    "Fault",
    "FaultName",
    "Moonshot",
    "Novita",
    "OpenRouter",
    "Provider",
    "SandboxServer",
    "Vercel",
    "Vllm",
    "count_prompt_tokens",
    "fault_of",
    "serve_until_signal",
]
