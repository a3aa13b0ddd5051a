"""Refusals of the administrative API: every one in the same form as elsewhere, from one place.

What FastAPI itself refuses becomes a `GatewayError` first. A body, a query or a header that is not as
documented is a 400 with `param`; there is no 422 here, so that clients of the other routes need no second
way to read errors. An id that cannot be one is not found, as any that is not there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field

from gateway.api.admin.edge import masked
from gateway.api.admin.shapes import Answer
from gateway.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound
from gateway.wire.errors import error_body, error_headers

_MOST = 5  # faults that one message names
_BAD_REQUEST, _NOT_FOUND, _NOT_ALLOWED = 400, 404, 405

AllowedMethods = Callable[[str], frozenset[str]]


class ErrorDetails(Answer):
    """What went wrong, and what to do about it."""

    message: str = Field(description="For people.")
    type: str = Field(description="The kind of error, in OpenAI's words.")
    param: str | None = Field(description="The field, parameter or header at fault.")
    code: str = Field(description="For programs: stable, and listed in the reference of errors.")
    metadata: dict[str, Any] | None = Field(
        None, description="More of it, by code; absent otherwise."
    )


class Error(Answer):
    """The body of every refusal."""

    error: ErrorDetails


_MEANINGS: Final[Mapping[int, str]] = {
    400: "The request is not as documented; `param` names what is wrong.",
    401: "No management key, or not a valid one.",
    403: "The key is good, but its role or scopes do not allow this.",
    404: "There is no such thing among those that the key may know of.",
    409: "What is there already stands in the way.",
    412: "The thing was changed since it was read: `If-Match` names another revision.",
    413: "The body is too large.",
    415: "The body is not plain JSON.",
    428: "`If-Match` is missing.",
    500: "A fault of the gateway; its log has the reason.",
    503: "The database cannot be used now; try again.",
}

Responses = dict[int | str, dict[str, Any]]


def refusals(*statuses: int) -> Responses:
    """What an operation may be answered instead, for its documentation.

    401, 500 and 503 can happen to each.
    """
    every = sorted({401, 500, 503, *statuses})
    return {status: {"model": Error, "description": _MEANINGS[status]} for status in every}


READ: Final = refusals(400, 403, 404)
CREATE: Final = refusals(400, 403, 404, 409, 413, 415)
CHANGE: Final = refusals(400, 403, 404, 409, 412, 413, 415, 428)
REMOVE: Final = refusals(400, 403, 404, 409, 412, 428)
ACT: Final = refusals(400, 403, 404, 409)


class Refusals:
    """Handlers of everything that is raised; `methods` gives those that a path takes."""

    def __init__(self, methods: AllowedMethods) -> None:
        self._methods = methods

    async def __call__(self, request: Request, fault: Exception) -> Response:
        """The refusal as a response."""
        error = self._error(request, fault)
        headers = error_headers(error)
        if isinstance(error, MethodNotAllowed):
            headers["allow"] = ", ".join(sorted(self._methods(request.url.path)))
        return Response(error_body(error), error.status, headers=headers)

    @staticmethod
    def _error(request: Request, fault: Exception) -> GatewayError:
        if isinstance(fault, GatewayError):
            return fault
        if isinstance(fault, RequestValidationError):
            return invalid(fault.errors())
        status = getattr(fault, "status_code", None)
        if status == _NOT_FOUND:
            return NotFound(
                f"there is no {request.url.path} here; see the reference of the administrative API",
                code="no_route",
            )
        if status == _NOT_ALLOWED:
            return MethodNotAllowed(f"{request.method} is not a method of {request.url.path}")
        if status == _BAD_REQUEST:  # as FastAPI says of a body that no parser can take
            return InvalidRequest("the body is not JSON that can be read", code="invalid_json")
        return masked(request.scope["request_id"])  # and `edge` logs it, as FastAPI raises it again


def invalid(faults: Sequence[Mapping[str, Any]]) -> GatewayError:
    """What is wrong with a request, from pydantic's list of faults.

    `param` is the first one's: `limits[0].amount`, or the name of a parameter or header.
    """
    if any(fault["loc"][0] == "path" for fault in faults):
        return NotFound("there is no such thing here")
    first = faults[0]
    where = [_place(fault) for fault in faults]
    said = [
        f"{place}: {_words(fault)}" if place else _words(fault)
        for place, fault in zip(where, faults, strict=True)
    ]
    more = f"; and {len(said) - _MOST} more faults" if len(said) > _MOST else ""
    return InvalidRequest(
        "; ".join(said[:_MOST]) + more, code=_code(first["type"]), param=where[0] or None
    )


def _place(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "json_invalid":
        return ""
    _, *path = fault["loc"]
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.lstrip(".")


def _words(fault: Mapping[str, Any]) -> str:
    kind, whole = fault["type"], len(fault["loc"]) == 1
    if kind == "json_invalid":
        at = fault["loc"][1]
        return f"the body is not valid JSON: {fault['ctx']['error']} at character {at}"
    if kind == "missing":
        return "a body is needed" if whole else "is required"
    if kind == "extra_forbidden":
        return "is not known here"
    if whole:
        return "the body must be a JSON object"
    words = str(fault["msg"]).removeprefix("Value error, ")
    return words[:1].lower() + words[1:]


def _code(kind: str) -> str:
    if kind == "json_invalid":
        return "invalid_json"
    if kind == "missing":
        return "missing_field"
    if kind == "extra_forbidden":
        return "unknown_parameter"
    return "invalid_type" if kind.endswith("_type") else "invalid_value"
