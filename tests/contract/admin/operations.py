"""Every operation of the administrative API, from its own document, and a body for each that takes one."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.api.admin.app import Desk, application, document


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    about: Mapping[str, Any]

    @property
    def takes_body(self) -> bool:
        return "requestBody" in self.about

    @property
    def takes_revision(self) -> bool:
        return any(one["name"] == "If-Match" for one in self.about.get("parameters", ()))

    def at(self, things: Mapping[str, str]) -> str:
        """The path of these things."""
        return self.path.format(**things)


def _unasked() -> Any:
    raise AssertionError("nothing is asked for a document")


DOCUMENT: dict[str, Any] = document(application(Desk(_unasked, _unasked)))


def operations() -> Iterator[Operation]:
    """All of them."""
    for path, methods in DOCUMENT["paths"].items():
        for method, about in methods.items():
            yield Operation(about["operationId"], method.upper(), path, about)


OPERATIONS = tuple(operations())

_SETTINGS = {"default_model": "moonshotai/kimi-k2.6"}
_BUDGET = {"amount": "1", "period": "daily"}
BODIES: Mapping[str, Any] = {
    "create_organisation": {"name": "new"},
    "update_organisation": {"name": "renamed", "zdr": True},
    "create_team": {"name": "new"},
    "update_team": {"disabled": True, "zdr": True},
    "create_member": {"name": "Mallory", "role": "viewer"},
    "create_service_account": {"name": "bot", "role": "viewer"},
    "update_member": {"disabled": True},
    "set_team_member": {"role": "viewer"},
    "create_key": {"name": "new"},
    "update_key": {"disabled": True},
    "rotate_key": {"overlap_seconds": 60},
    "create_management_key": {"name": "new", "scopes": ["teams:read"]},
    "update_management_key": {"disabled": True},
    "rotate_management_key": {"overlap_seconds": 60},
    **{f"set_{level}_budget": _BUDGET for level in ("organisation", "team", "member", "key")},
    **{
        f"replace_{level}_settings": _SETTINGS
        for level in ("organisation", "team", "member", "key")
    },
    **{
        f"update_{level}_settings": _SETTINGS for level in ("organisation", "team", "member", "key")
    },
}


def request_of(operation: Operation, *, revision: str = "*") -> dict[str, Any]:
    """Headers and content of a request that is as documented."""
    more: dict[str, Any] = {}
    if operation.takes_revision:
        more["revision"] = revision
    if operation.takes_body:
        more["content"] = json.dumps(BODIES[operation.id]).encode()
        more["headers"] = {"content-type": "application/json"}
    return more
