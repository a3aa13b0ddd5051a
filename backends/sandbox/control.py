"""The control paths, by which another process steers a sandbox server and asks what reached it.

GET, POST, DELETE `/__sandbox/faults`; GET, DELETE `/__sandbox/requests`; POST `/__sandbox/listener`
with `{"closed_for_s": 2}`. They need no key: a sandbox belongs on a loopback address.
"""

from typing import Any, Protocol

from msgspec import DecodeError, Struct, json

from backends.sandbox.faults import Fault, FaultBoard
from backends.sandbox.http import Request
from backends.sandbox.record import Record
from backends.sandbox.script import Send, Step, head

CONTROL = "/__sandbox/"


class _Closure(Struct, forbid_unknown_fields=True):
    closed_for_s: float


class Controlled(Protocol):
    """What can be steered."""

    faults: FaultBoard
    record: Record

    def close_for(self, seconds: float) -> None:
        """Refuse connections for so long."""


def control(server: Controlled, request: Request) -> list[Step]:
    """Do what a request to a control path asks, and answer with the state that this leaves."""
    try:
        status, document = _act(server, request)
    except DecodeError as error:
        status, document = 400, {"error": str(error)}
    body = json.encode(document)
    return [Send(head(status, "application/json", (), len(body)) + body)]


def _act(server: Controlled, request: Request) -> tuple[int, Any]:
    match request.method, request.path.removeprefix(CONTROL):
        case "GET", "requests":
            return 200, server.record.as_document()
        case "DELETE", "requests":
            server.record.reset()
            return 200, server.record.as_document()
        case "POST", "listener":
            closure = json.decode(request.body, type=_Closure)
            server.close_for(closure.closed_for_s)
            return 200, closure
        case "GET", "faults":
            pass
        case "POST", "faults":
            server.faults.add(json.decode(request.body, type=Fault))
        case "DELETE", "faults":
            server.faults.clear()
        case _:
            return 404, {"error": "no such control path"}
    return 200, {"faults": server.faults.active()}
