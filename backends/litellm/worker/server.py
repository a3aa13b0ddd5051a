"""The server: chat requests in, calls of litellm out."""

import asyncio
import contextlib
import inspect
import os
from collections.abc import Mapping
from typing import Any

from .failures import Failure, failure_of
from .wire import encoded, refused_in, stream_of, whole


class Server:
    """Answers chat requests with litellm.

    Args:
        config: what the gateway said at the start. `endpoints`: by id, `params` for litellm and `allowed`,
            further fields that this endpoint takes, whatever litellm knows of it; `fields`: those that
            every endpoint may be sent; `environment`: names of variables that hold secrets; `timeout`: the
            seconds after which the gateway has given up; `max_body`: bytes.
        litellm: the module.
        web: aiohttp's server.

    Attributes:
        running: requests under way.
    """

    def __init__(self, config: Mapping[str, Any], litellm: Any, web: Any) -> None:
        self.running = 0
        self._endpoints: Mapping[str, Mapping[str, Any]] = config["endpoints"]
        self._fields = frozenset(config["fields"])
        self._timeout: float = config["timeout"]
        self._max_body: int = config["max_body"]
        variables = os.environ  # noqa: TID251 - what the gateway put there for this process alone
        self._secrets = [variables.get(name, "") for name in config["environment"]]
        for row in self._endpoints.values():
            self._secrets += [one for name, one in row["params"].items() if name != "model"]
        self._litellm, self._web = litellm, web
        # Without it, tools of any kind have litellm load its gateway for MCP, which needs a package that it
        # does not require (1.106.2: "No module named 'mcp'" to every request with tools).
        knows = "_skip_mcp_handler" in inspect.getsource(litellm.main)
        self._always = {"_skip_mcp_handler": True} if knows else {}

    def unknown(self) -> dict[str, list[str] | None]:
        """Of each endpoint the fields that litellm would refuse; None: it knows no such model."""
        found: dict[str, list[str] | None] = {}
        for name, row in self._endpoints.items():
            params = row["params"]
            try:
                model, provider, *_ = self._litellm.get_llm_provider(
                    params["model"], api_base=params.get("api_base")
                )
                known = self._litellm.get_supported_openai_params(model, provider)
            except Exception:  # noqa: BLE001 - whatever it is, such a model cannot be served
                found[name] = None
            else:
                taken = {"messages", *row["allowed"], *(known or self._fields)}
                found[name] = sorted(self._fields - taken)
        return found

    def application(self, path: str) -> Any:
        """The aiohttp application, below a path that nobody but the gateway knows."""
        app = self._web.Application(client_max_size=self._max_body)
        app.router.add_post(f"{path}/v1/chat/completions", self.chat)
        app.router.add_get(f"{path}/health", self.health)
        return app

    async def health(self, _: Any) -> Any:
        """`GET /health`."""
        return self._web.json_response({"status": "ok", "running": self.running})

    async def chat(self, request: Any) -> Any:
        """`POST /v1/chat/completions`. Cancelled when the gateway leaves, which ends the call."""
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.running += 1
        try:
            call = self._call(await request.json(), key)
            return await self._answer(request, call, [*self._secrets, key])
        except (ConnectionResetError, self._web.HTTPException):
            raise
        except Exception as error:  # noqa: BLE001 - litellm raises whatever its providers' code does
            failure = failure_of(error, [*self._secrets, key])
            # As everywhere on this wire: a status is a refusal, which costs nothing; what went wrong in an
            # answer that may be billed is told inside of one.
            return self._web.Response(
                body=encoded({"error": failure.body}),
                status=200 if failure.begun else failure.status,
                content_type="application/json",
                headers={} if failure.wait is None else {"Retry-After": failure.wait},
            )
        finally:
            self.running -= 1

    def _call(self, body: Any, key: str) -> dict[str, Any]:
        """What litellm is asked.

        Raises:
            Failure: the request is not one for it.
        """
        row = self._endpoints.get(body.get("model"))
        if row is None:
            raise Failure(404, "NotFoundError", "there is no such endpoint")
        asked = body.keys() - {"model", "stream", "stream_options"}
        if strange := asked - self._fields - {*row["allowed"]}:
            raise Failure(400, "UnsupportedParamsError", f"not for litellm: {sorted(strange)}")
        if (reason := refused_in(body)) is not None:
            raise Failure(400, "BadRequestError", reason)
        call: dict[str, Any] = {name: body[name] for name in asked} | row["params"]
        call |= self._always
        call |= {"timeout": self._timeout, "max_retries": 0, "num_retries": 0, "drop_params": False}
        if allowed := [name for name in row["allowed"] if name in asked]:
            call["allowed_openai_params"] = allowed
        if key:
            call["api_key"] = key
        if body.get("stream") is True:
            call |= {"stream": True, "stream_options": {"include_usage": True}}
        return call

    async def _answer(self, request: Any, call: dict[str, Any], secrets: list[str]) -> Any:
        found = await self._litellm.acompletion(**call)
        if "stream" not in call:
            return self._web.Response(body=encoded(whole(found)), content_type="application/json")
        chunks = stream_of(found)
        try:
            chunk = await anext(chunks, None)  # what fails before it has a status of its own
            response = self._web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            last = b"[DONE]"
            try:
                while chunk is not None:
                    await response.write(b"data: " + encoded(chunk) + b"\n\n")
                    chunk = await anext(chunks, None)
            except ConnectionResetError:
                raise
            except Exception as error:  # noqa: BLE001 - as in `chat`
                last = encoded({"error": failure_of(error, secrets).body})
            await response.write(b"data: " + last + b"\n\n")
            await response.write_eof()
            return response
        finally:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await found.aclose()
