"""What a litellm worker is started with: interpreter, environment, endpoints."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from backends.secret import Secret

# `worker` is a package there by its own name alone: of Tidegate nothing may be importable, for its
# dependencies need not be installed. -I: no variables, no user's packages; -S: no `.pth` files yet.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from worker.main import main;"
    " sys.path.pop(0); sys.exit(main(sys.argv[1:]))"
)
FLAGS = ("-I", "-S", "-c", _PROGRAM, str(Path(__file__).parent))

# What every worker has in its environment. Files of credentials in a home folder and those of the machine
# itself (EC2's) are found only if the settings name them.
_BASE = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "CRITICAL",
    "LITELLM_MODE": "PRODUCTION",  # otherwise it reads `.env`
    "MAX_IMAGE_URL_DOWNLOAD_SIZE_MB": "0",
}


class LitellmRow(Struct, frozen=True, kw_only=True):
    """What litellm is told of one endpoint.

    Attributes:
        model: litellm's own name, such as `bedrock/moonshot.kimi-k2-thinking`.
        base_url: where it is, if not where litellm knows it to be.
        params: further parameters of litellm's, such as `aws_region_name`.
        allowed: fields that it takes beside those that every endpoint may be sent.
    """

    model: str
    base_url: str | None = None
    params: Mapping[str, Secret] = {}
    allowed: tuple[str, ...] = ()


class LitellmPlan(Struct, frozen=True, kw_only=True):
    """What a worker is started with.

    Attributes:
        endpoints: by id.
        fields: request fields that every endpoint may be sent.
        python: an interpreter that has litellm; the gateway's own unless given.
        environment: the variables that hold its credentials.
        timeout: seconds after which the gateway has given up any request.
        max_body: bytes of the largest request.
        proxy: the address of a proxy for all that litellm sends.
        no_proxy: hosts that it is not for, as NO_PROXY has them.
        ca_file: authorities to trust, instead of those that litellm brings.
    """

    endpoints: Mapping[str, LitellmRow]
    fields: frozenset[str]
    python: str | None = None
    environment: Mapping[str, Secret] = {}
    timeout: float = 900.0
    max_body: int = 34_603_008
    proxy: Secret | None = None
    no_proxy: str = ""
    ca_file: str | None = None

    @property
    def interpreter(self) -> str:
        """The interpreter that it runs under."""
        return self.python or sys.executable


def environment_of(plan: LitellmPlan) -> dict[str, str]:
    """All that is in a worker's environment; nothing is inherited."""
    found = dict(_BASE)
    if plan.proxy is not None:
        found |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), plan.proxy.reveal())
        found["NO_PROXY"] = ",".join(filter(None, (plan.no_proxy, "localhost,127.0.0.1,::1")))
    if plan.ca_file is not None:
        # litellm's own, botocore's and that of requests.
        names = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
        found |= dict.fromkeys(names, plan.ca_file)
    return found | {name: value.reveal() for name, value in plan.environment.items()}


async def fault_of(plan: LitellmPlan) -> str | None:
    """Why no worker can run, in one line: litellm is missing or must not be used. It is not loaded."""
    interpreter = plan.interpreter
    try:
        process = await asyncio.create_subprocess_exec(
            *(interpreter, *FLAGS, "--check"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_BASE,
        )
    except OSError as error:
        return f"{interpreter} cannot be run: {error.strerror}; 'litellm.python' must be a Python"
    told, _ = await process.communicate()
    try:
        fault: str | None = json.loads(told)["fault"]
    except (ValueError, LookupError):
        return f"{interpreter} cannot run the worker; 'litellm.python' must be Python 3.11 or newer"
    return fault
