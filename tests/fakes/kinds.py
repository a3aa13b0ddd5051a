"""Every kind of endpoint behind one gateway, each with a stand-in of its own.

A model of the gateway is served by one kind, or by two of which the first is the cheaper, so that a test
says by a model's name who answers and who takes over: `only-<kind>/<model>`, `<first>-<second>/<model>`; of
`whole-<kind>/<model>` answers in one piece are asked for in one piece.
"""

import time
from collections.abc import Iterator
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from typing_extensions import override

from backends.sandbox import Moonshot, Novita, OpenRouter, SandboxServer, Vercel, Vllm
from tests.fakes.stage import GatewayStage, chat
from tests.litellm.environment import LITELLM

PLAIN = ("moonshot", "moonshot_cn", "novita", "openrouter", "vercel", "openai_compat", "vllm")
KINDS = (*PLAIN, "litellm")
# Short names here, to canonical ones: one that can think, two that always do, and one more that can stop.
MODELS = {
    "k2.6": "moonshotai/kimi-k2.6",
    "k2-thinking": "moonshotai/kimi-k2-thinking",
    "k2.7-code": "moonshotai/kimi-k2.7-code",
    "k3": "moonshotai/kimi-k3",
}
TEXT_ONLY = "k2-0905"
CONTEXT = 262_144
# Dollars per million tokens of prompt, answer and cached prompt: no host of an aggregator's is dearer.
CHEAP, DEAR = ("3", "15", "0.75"), ("6", "30", "1.5")


def each(*rows: tuple[str, ...]) -> list[Any]:
    """Parameters of a test; those with litellm in them are for the run that has it."""
    return [
        pytest.param(*row, marks=pytest.mark.litellm, id="-".join(row))
        if "litellm" in row
        else pytest.param(*row, id="-".join(row))
        for row in rows
    ]


ONE = pytest.mark.parametrize("kind", each(*((kind,) for kind in KINDS)))
ONE_WITH_A_MODEL = pytest.mark.parametrize(
    ("kind", "model"), each(*((kind, model) for kind in KINDS for model in MODELS))
)
TWO = pytest.mark.parametrize(("first", "second"), each(*permutations(KINDS, 2)))


def serves(kind: str, model: str) -> bool:
    """Whether this kind's stand-in has the model."""
    return not kind.startswith("moonshot") or model != TEXT_ONLY


ROWS = [(kind, model) for kind in KINDS for model in (*MODELS, TEXT_ONLY) if serves(kind, model)]


class KindsStage(GatewayStage):
    """The stand-ins, the gateway, its callers.

    Args:
        folder: for the gateway.
        litellm: whether kind `litellm` is among the others: it takes seconds to be there.

    Attributes:
        servers: the stand-ins, by kind.
    """

    def __init__(self, folder: Path, *, litellm: bool = False) -> None:
        super().__init__(folder)
        self._kinds = KINDS if litellm else PLAIN
        self.servers = {kind: _stand_in(kind) for kind in self._kinds}
        self._litellm = str(LITELLM.built() / "bin/python") if litellm else None

    @override
    def _begin(self) -> None:
        for server in self.servers.values():
            self.loop.run(server.start())
            self._up.callback(lambda one: self.loop.run(one.aclose()), server)

    @override
    def _settings(self) -> dict[str, Any]:
        endpoints = list(self._endpoints())
        settings: dict[str, Any] = {"auth": {"max_age": 0.3}, "endpoints": endpoints}
        if self._litellm is not None:
            settings["litellm"] = {"python": self._litellm}
        return settings

    def _endpoints(self) -> Iterator[dict[str, Any]]:
        for kind, model in ROWS:
            if kind in self._kinds:
                yield self._endpoint(f"only-{kind}", kind, model, CHEAP)
        for kind in self._kinds:
            row = self._endpoint(f"whole-{kind}", kind, "k2.6", CHEAP)
            yield row | {"native_non_stream": True}
        for first, second in permutations(self._kinds, 2):
            for model in MODELS:
                yield self._endpoint(f"{first}-{second}", first, model, CHEAP)
                yield self._endpoint(f"{first}-{second}", second, model, DEAR)

    def _endpoint(
        self, owner: str, kind: str, model: str, price: tuple[str, str, str]
    ) -> dict[str, Any]:
        canonical = MODELS.get(model, f"moonshotai/kimi-{model}")
        row = {
            "id": f"{kind}/{owner}/{model}",
            "provider": kind,
            "kind": kind,
            "base_url": self.servers[kind].base_url,
            "local": True,
            "api_key": "sandbox",
            "model": _name(kind, canonical),
            "serves": f"{owner}/{model}",
            "profile": canonical,
            "price": dict(zip(("input", "output", "cache_read"), price, strict=True)),
            "context_length": CONTEXT,
            "max_output": 4096,
        }
        # Of such a host only its row can say how it is told to think.
        return row | {"thinking_switch": "enable_thinking"} if kind == "openai_compat" else row

    def until_litellm_answers(self) -> None:
        """Ask until litellm is loaded."""
        end = time.monotonic() + 120
        while (answer := self.ask(chat(model="only-litellm/k2.6"))).status != 200:
            assert time.monotonic() < end, answer.body
            time.sleep(0.2)

    # Clients are made once: each loads the system's certificates.

    @cached_property
    def openai_sdk(self) -> openai.OpenAI:
        """OpenAI's SDK."""
        return self.client()

    @cached_property
    def openrouter_sdk(self) -> openai.OpenAI:
        """The same at the base that OpenRouter's clients use, where reasoning has all its forms."""
        return self.client(base_url=self.base_url.replace("/v1", "/api/v1"))

    @cached_property
    def anthropic_sdk(self) -> anthropic.Anthropic:
        """Anthropic's SDK."""
        base = self.base_url.removesuffix("/v1")
        client = anthropic.Anthropic(base_url=base, api_key=self.key, max_retries=0)
        self._up.callback(client.close)
        return client

    def told(self, kind: str) -> dict[str, Any]:
        """The body that this kind's stand-in was sent last."""
        body: dict[str, Any] = self.servers[kind].requests[-1].body
        return body


def _name(kind: str, canonical: str) -> str:
    """What a kind calls a model."""
    if kind.startswith("moonshot"):
        return canonical.removeprefix("moonshotai/")
    return f"openai/{canonical}" if kind == "litellm" else canonical


def _stand_in(kind: str) -> SandboxServer:
    wires = {
        "moonshot": Moonshot(retired=True),
        "moonshot_cn": Moonshot(retired=True),
        "vllm": Vllm([*MODELS.values(), f"moonshotai/kimi-{TEXT_ONLY}"], cache_details=True),
        "novita": Novita(),
        "openrouter": OpenRouter(),
        "vercel": Vercel(),
        "openai_compat": Novita("openai"),
        "litellm": Novita("openai"),
    }
    return SandboxServer(wires[kind], name=kind)
