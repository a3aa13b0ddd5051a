"""Settings of gateways whose endpoints are stand-ins, or scripts, of this test."""

from typing import Any

from tests.faults.load import MODEL


def endpoint(name: str, base_url: str, *, kind: str = "moonshot", **fields: Any) -> dict[str, Any]:
    """One endpoint; the model is called what its provider calls it."""
    return {
        "id": f"{name}/kimi",
        "provider": name,
        "kind": kind,
        "base_url": base_url,
        "model": "moonshotai/kimi-k2.6" if kind == "novita" else "kimi-k2.6",
        "serves": MODEL,
        "api_key": "sk-upstream",
        "price": {"input": "0.95", "output": "4.00"},
        "context_length": 262_144,
        "max_output": 1_000_000_000,
        "default_output": 2048,
        "sandbox": True,
        **fields,
    }


DEARER = {"input": "1.90", "output": "8.00"}
"""The price of an endpoint that is to be tried second: the cheapest come first."""
