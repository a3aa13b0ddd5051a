"""How the bench starts Tidegate: its settings, its key, its command. All of it is in this file.

Everything that costs something is on: authentication, two budgets to hold against, a plan over five
endpoints, journal, ledger and metrics.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from bench.gateways import Gateway
from bench.paths import BUILD, HOST, ROOT, UPSTREAM_PORT

NAME = "tidegate"
PORT = 9300
MODEL = "moonshotai/kimi-k2.6"
ENDPOINTS = 5
TEAM = "bench"
BUDGET = "9000000.00"  # USD; never reached, but held against
PROGRAM = Path(sys.executable).with_name("tidegate")


def settings(data: Path) -> dict[str, object]:
    """The settings file, with every endpoint at the fake upstream.

    Args:
        data: folder for journal and database.
    """
    endpoints = [
        {
            "id": f"fake-{number}/kimi-k2.6",
            "provider": f"fake-{number}",
            "kind": "openai_compat",
            "base_url": f"http://{HOST}:{UPSTREAM_PORT}/v1",
            "local": True,
            "model": "fake-model",
            "serves": MODEL,
            "api_key": "${FAKE_KEY}",
            # The fake upstream answers whole where it is asked to, and does so for the peers.
            "native_non_stream": True,
            "price": {"input": "0.95", "output": "4.00", "cache_read": "0.16"},
            "context_length": 2_000_000,
            "max_output": 32_768,
        }
        for number in range(1, ENDPOINTS + 1)
    ]
    return {"server": {"host": HOST, "port": PORT}, "data": str(data), "endpoints": endpoints}


def administer(*words: str, data: Path) -> str:
    """Run one administrative verb on the data folder; gives what it printed.

    Raises:
        CalledProcessError: it failed; why is on standard error.
    """
    done = subprocess.run(
        [PROGRAM, *words, "--data", data], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    return done.stdout.strip()


def prepare() -> Gateway:
    """Write settings, make an empty ledger, a team with a budget and a key with its own.

    Gives what starts the gateway.

    Raises:
        CalledProcessError: an administrative verb failed; why is on standard error.
    """
    folder = BUILD / "tidegate"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    data = folder / "data"
    config = folder / "tidegate.yaml"
    config.write_text(yaml.safe_dump(settings(data), sort_keys=False), encoding="utf-8")
    budget = (BUDGET, "--period", "monthly")
    administer("migrate", data=data)
    administer("teams", "create", TEAM, data=data)
    administer("budgets", "set", "--team", TEAM, *budget, data=data)
    key = administer("keys", "create", "--team", TEAM, "--budget", *budget, data=data)
    return Gateway(
        name=NAME,
        port=PORT,
        command=[str(PROGRAM), "serve", "--config", str(config)],
        environment={"FAKE_KEY": "sk-up"},
        headers={"Authorization": f"Bearer {key}"},
        model=MODEL,
        note=f"{ENDPOINTS} endpoints, all features on",
    )
