"""How the bench starts Tidegate: its settings, its key, its command. All of it is in this file.

Everything that costs something is on: authentication, three limits and two budgets to hold against, a plan
over five endpoints, journal, ledger and metrics. It has two forms: one process with SQLite and counters in
memory, and one that could be one of several, with PostgreSQL and Redis.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from bench.gateways import Gateway
from bench.paths import BUILD, HOST, ROOT, UPSTREAM_PORT
from bench.stores import Stores

NAME = "tidegate"
SHARED = "tidegate-shared"
PORTS = {NAME: 9300, SHARED: 9301}
MODEL = "moonshotai/kimi-k2.6"
ENDPOINTS = 5
TEAM = "bench"
BUDGET = "9000000.00"  # USD; never reached, but held against
# Nor are these.
LIMITS = (
    {"what": "requests", "amount": 10**8, "per": "minute", "each": "key"},
    {"what": "tokens", "amount": 10**11, "per": "minute"},
    {"what": "concurrency", "amount": 10**5},
)
ENVIRONMENT = {"FAKE_KEY": "sk-up"}
PROGRAM = Path(sys.executable).with_name("tidegate")


def settings(name: str, data: Path, stores: Stores | None) -> dict[str, object]:
    """The settings file, with every endpoint at the fake upstream.

    Args:
        name: of the form.
        data: folder for journal and, without stores, database.
        stores: where accounts, ledger and counters are kept otherwise.
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
    written: dict[str, object] = {
        "server": {"host": HOST, "port": PORTS[name]},
        "data": str(data),
        "endpoints": endpoints,
    }
    if stores is not None:
        written["database"] = {"url": stores.database_url}
        written["state"] = {"url": stores.state_url}
    return written


def administer(*words: str, config: Path) -> str:
    """Run one administrative verb; gives what it printed.

    Raises:
        CalledProcessError: it failed; why is on standard error.
    """
    variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    done = subprocess.run(
        ["env", *variables, PROGRAM, *words, "--config", config],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    return done.stdout.strip()


def prepare(name: str = NAME, stores: Stores | None = None) -> Gateway:
    """Write settings, make an empty ledger, a team with limits and a budget, and a key with its own.

    Gives what starts the gateway.

    Raises:
        CalledProcessError: an administrative verb failed; why is on standard error.
    """
    folder = BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config, team = folder / "tidegate.yaml", folder / "team.yaml"
    written = settings(name, folder / "data", stores)
    config.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
    team.write_text(yaml.safe_dump({"limits": list(LIMITS)}), encoding="utf-8")
    budget = (BUDGET, "--period", "monthly")
    administer("migrate", config=config)
    administer("teams", "create", TEAM, config=config)
    administer("settings", "set", "team", TEAM, "--file", str(team), config=config)
    administer("budgets", "set", "--team", TEAM, *budget, config=config)
    key = administer("keys", "create", "--team", TEAM, "--budget", *budget, config=config)
    over = "PostgreSQL and Redis" if stores else "SQLite and memory"
    return Gateway(
        name=name,
        port=PORTS[name],
        command=[str(PROGRAM), "serve", "--config", str(config)],
        environment=ENVIRONMENT,
        headers={"Authorization": f"Bearer {key}"},
        model=MODEL,
        beside=stores.pids if stores else {},
        note=f"{ENDPOINTS} endpoints, all features on, {over}",
    )
