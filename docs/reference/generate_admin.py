"""The reference page of the administrative API, from its OpenAPI document."""  # noqa: INP001 - as in generate.py

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.api.admin.app import Desk, application, document

_PAGE = """\
# Administrative API

{note}

At `/admin/v1` of every gateway; the same as an OpenAPI document at `/admin/v1/openapi.json`. How to work
with it is in [the guide](../guides/admin-api.md), what roles may do in [accounts](../concepts/accounts.md).

{about}
"""


def _unasked() -> Any:
    raise AssertionError("a document asks nothing of a gateway")


def admin_page(note: str) -> str:
    """The whole page."""
    found = document(application(Desk(_unasked, _unasked)))
    parts = [_PAGE.format(note=note, about=found["info"]["description"].strip())]
    for tag in found["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}\n")
        parts += _operations(found, tag["name"])
    parts.append("## Bodies and answers\n")
    for name, schema in sorted(found["components"]["schemas"].items()):
        if "properties" in schema:
            parts.append("\n".join(_schema(name, schema)))
    return "\n".join(parts)


def _operations(found: Mapping[str, Any], tag: str) -> Iterator[str]:
    for path, methods in found["paths"].items():
        for method, about in methods.items():
            if about["tags"][-1] != tag:
                continue
            lines = [
                f"### {method.upper()} {path}",
                "",
                f"{about['summary'].rstrip('?')}. {about['description']}",
                "",
            ]
            lines += [
                f"- `{one['name']}` ({one['in']}): {one.get('description') or _kind(one['schema'])}"
                for one in about.get("parameters", ())
                if one["in"] != "path"
            ]
            if "requestBody" in about:
                body = about["requestBody"]["content"]["application/json"]["schema"]
                lines.append(f"- body: {_kind(body)}")
            lines.append(f"- answers: {', '.join(_answers(about['responses']))}")
            yield "\n".join(lines) + "\n"


def _answers(responses: Mapping[str, Any]) -> Iterator[str]:
    for status, response in sorted(responses.items()):
        if status.startswith("2"):
            content = response.get("content")
            schema = content["application/json"]["schema"] if content else None
            yield f"{status} {_kind(schema)}" if schema else f"{status} without a body"
        else:
            yield status


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if "description" in schema:
        yield schema["description"].replace("\n", " ")
        yield ""
    yield "| field | type | |"
    yield "|---|---|---|"
    required = schema.get("required", ())
    for field, about in schema["properties"].items():
        says = about.get("description", "").replace("|", "\\|").replace("\n", " ")
        needed = "" if field in required else " (optional)"
        yield f"| `{field}`{needed} | {_kind(about)} | {says} |"
    yield ""


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name == "JsonValue":
            return "any JSON"
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    kind = schema.get("type", "any JSON")
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kind(schema['additionalProperties'])}"
    form = schema.get("format")
    return f"{kind} ({form})" if form else str(kind)
