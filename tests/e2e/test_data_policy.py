"""Over real sockets: a request under a data policy never reaches a provider without evidence."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from backends.sandbox import SandboxServer
from gateway.store.tables.metadata import metadata
from tests.fakes.stage import GatewayStage, Response, chat

MAX_AGE = 0.3  # seconds until a changed key shows
EVIDENCE = {"trains": False, "retains": False, "source": "agreement 17", "date": "2026-10-01"}
EXPIRED = {**EVIDENCE, "valid_until": "2026-10-31"}
TERMS = {"trains": True, "retains": True, "source": "terms of 2026-07-30", "date": "2026-09-03"}
# Model of a test: its endpoints, cheapest first, with what is stated of them.
MODELS: Mapping[str, Mapping[str, Mapping[str, Any] | None]] = {
    "cheap-unknown": {"unknown": None, "agreed": EVIDENCE},
    "trains": {"trainer": TERMS, "unknown": None},
    "expired": {"lapsed": EXPIRED},
    "failing": {"agreed": EVIDENCE, "trainer": TERMS, "unknown": None},
    "failing-over": {"unknown": None, "agreed": EVIDENCE, "also": EVIDENCE},
}


class PrivacyStage(GatewayStage):
    """A stand-in for each provider that the models name, and a gateway before them.

    Attributes:
        servers: the stand-ins, by provider.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        names = dict.fromkeys(name for rows in MODELS.values() for name in rows)
        self.servers = {name: SandboxServer("novita", name=name) for name in names}

    @override
    def _begin(self) -> None:
        for server in self.servers.values():
            self.loop.run(server.start())
            self._up.callback(self._close, server)

    def _close(self, server: SandboxServer) -> None:
        self.loop.run(server.aclose())

    @override
    def _settings(self) -> dict[str, Any]:
        endpoints = []
        for model, rows in MODELS.items():
            for price, (name, stated) in enumerate(rows.items(), 1):
                row = {
                    "id": f"{name}/{model}",
                    "provider": name,
                    "kind": "novita",
                    "base_url": self.servers[name].base_url,
                    "local": True,
                    "api_key": "sandbox",
                    "model": "moonshotai/kimi-k2.6",
                    "serves": f"tests/{model}",
                    "price": {"input": str(price), "output": str(price)},
                    "context_length": 262_144,
                    "max_output": 4096,
                }
                endpoints.append(row if stated is None else {**row, "data_policy": dict(stated)})
        return {"auth": {"max_age": MAX_AGE}, "endpoints": endpoints}

    @property
    def received(self) -> dict[str, int]:
        """Requests that each stand-in has seen."""
        return {name: server.received.count for name, server in self.servers.items()}

    def send(
        self, model: str, *, key: str, words: str = "Hello!", path: str = "chat", **fields: Any
    ) -> Response:
        """Ask in OpenAI's dialect, or at `messages` in Anthropic's."""
        body = chat(words, model=f"tests/{model}", **fields)
        if path == "messages":
            return self.ask({"max_tokens": 20, **body}, path="/v1/messages", key=key)
        return self.ask(body, key=key)


@pytest.fixture(scope="module")
def privacy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivacyStage]:
    with PrivacyStage(tmp_path_factory.mktemp("privacy")) as stage:
        yield stage


@pytest.fixture(scope="module")
def zdr_key(privacy: PrivacyStage) -> str:
    return privacy.new_key("--zdr")


def reached(stage: PrivacyStage, before: Mapping[str, int]) -> dict[str, int]:
    return {
        name: count - before[name]
        for name, count in stage.received.items()
        if count != before[name]
    }


PATHS = pytest.mark.parametrize("path", ["chat", "messages"])
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@PATHS
@STREAM
def test_a_zdr_key_goes_past_cheaper_providers_to_the_one_with_evidence(
    privacy: PrivacyStage,
    zdr_key: str,
    path: str,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    before = privacy.received
    answer = privacy.send("cheap-unknown", key=zdr_key, path=path, stream=stream)
    assert answer.status == 200, answer.body
    assert answer.headers["x-tidegate-provider"] == "agreed"
    assert reached(privacy, before) == {"agreed": 1}


@PATHS
def test_a_key_that_demands_nothing_takes_the_cheapest(privacy: PrivacyStage, path: str) -> None:
    answer = privacy.send("cheap-unknown", key=privacy.key, path=path)
    assert answer.headers["x-tidegate-provider"] == "unknown"


@PATHS
def test_a_zdr_key_reaches_nobody_without_evidence(
    privacy: PrivacyStage, zdr_key: str, path: str
) -> None:
    before = privacy.received
    for model, known in (
        ("trains", "trainer/trains: trains, retains (terms of 2026-07-30, read 2026-09-03)"),
        ("expired", "lapsed/expired: evidence valid until 2026-10-31"),
    ):
        answer = privacy.send(model, key=zdr_key, path=path)
        assert answer.status == 404
        error = answer.document["error"]
        assert known in error["message"]
        assert "the key, its team or its organisation demands zero data" in error["message"]
        assert b"data_policy:zdr" in answer.body
        assert b"privacy_restricted" in answer.body
    assert reached(privacy, before) == {}


@PATHS
@STREAM
def test_failover_reaches_nobody_without_evidence(
    privacy: PrivacyStage,
    zdr_key: str,
    path: str,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    before = privacy.received
    answer = privacy.send(
        "failing", key=zdr_key, words="[[fault=error503,at=agreed]]", path=path, stream=stream
    )
    assert answer.status == 503
    assert set(reached(privacy, before)) == {"agreed"}


def test_failover_goes_on_to_others_with_evidence(privacy: PrivacyStage, zdr_key: str) -> None:
    before = privacy.received
    answer = privacy.send("failing-over", key=zdr_key, words="[[fault=error503,at=agreed]]")
    assert answer.status == 200, answer.body
    assert answer.headers["x-tidegate-provider"] == "also"
    assert set(reached(privacy, before)) == {"agreed", "also"}


@PATHS
@pytest.mark.parametrize(
    "fields",
    [
        {"provider": {"zdr": True}},
        {"provider": {"data_collection": "deny"}},
        {"providerOptions": {"gateway": {"zeroDataRetention": True}}},
    ],
    ids=["zdr", "data_collection", "zeroDataRetention"],
)
def test_a_request_can_demand_it(privacy: PrivacyStage, path: str, fields: dict[str, Any]) -> None:
    before = privacy.received
    answer = privacy.send("cheap-unknown", key=privacy.key, path=path, **fields)
    assert answer.status == 200, answer.body
    assert privacy.send("trains", key=privacy.key, path=path, **fields).status == 404
    assert reached(privacy, before) == {"agreed": 1}


@PATHS
@pytest.mark.parametrize("provider", [{"zdr": False}, {"data_collection": "allow"}])
def test_a_request_cannot_loosen_what_its_key_demands(
    privacy: PrivacyStage, zdr_key: str, path: str, provider: dict[str, Any]
) -> None:
    before = privacy.received
    assert privacy.send("trains", key=zdr_key, path=path, provider=provider).status == 404
    assert reached(privacy, before) == {}


def test_a_key_that_denies_collection_is_bound_as_well(privacy: PrivacyStage) -> None:
    key = privacy.new_key("--data-collection", "deny")
    before = privacy.received
    answer = privacy.send("trains", key=key)
    assert (answer.status, answer.document["error"]["code"]) == (404, "privacy_restricted")
    assert answer.document["error"]["availability"]["excluded_by"] == ["data_policy:training"]
    assert privacy.send("cheap-unknown", key=key).headers["x-tidegate-provider"] == "agreed"
    assert reached(privacy, before) == {"agreed": 1}


@pytest.mark.parametrize("level", ["team", "organisation"])
def test_a_level_above_binds_keys_in_use_within_moments_and_frees_them_again(
    privacy: PrivacyStage, level: str
) -> None:
    if level == "team":
        privacy.administer("teams", "create", "legal")
        key, words = privacy.new_key(team="legal"), ("teams", "set", "legal")
    else:
        key, words = privacy.new_key(), ("organisations", "set", "default")
    assert privacy.send("trains", key=key).status == 200
    privacy.administer(*words, "--zdr")
    assert _status_becomes(privacy, key, 404)
    before = privacy.received
    assert privacy.send("trains", key=key).status == 404
    assert reached(privacy, before) == {}
    privacy.administer(*words, "--no-zdr")
    assert _status_becomes(privacy, key, 200)


CANARY = "zq7canary4xv"


def test_nothing_of_the_content_is_left_behind(privacy: PrivacyStage, zdr_key: str) -> None:
    """Neither on disk, nor in the log, nor in metrics, records and errors; whatever happens to it."""
    tool = {"type": "function", "function": {"name": CANARY, "description": CANARY}}
    seen = []
    for words in ("", "[[fault=error400,at=agreed]]", "[[fault=cut,after=2,at=agreed]]",
                  "[[fault=error503,at=agreed]]", "[[fault=malformed_event,at=agreed]]"):  # fmt: skip
        for stream in (False, True):
            for path in ("chat", "messages"):
                answer = privacy.send(
                    "failing-over",
                    key=zdr_key,
                    words=f"{words} {CANARY}",
                    path=path,
                    stream=stream,
                    **({"tools": [tool], "user": CANARY} if path == "chat" else {"system": CANARY}),
                )
                seen.append(answer.status)
                # A good answer may call the tool; an error may not quote anything.
                assert answer.status == 200 or CANARY.encode() not in answer.body
                record = privacy.ask(path=f"/v1/generation?id={answer.generation}", key=zdr_key)
                assert CANARY.encode() not in record.body
    refused = privacy.send("trains", key=zdr_key, words=CANARY)
    assert CANARY.encode() not in refused.body
    assert {200, 400} <= set(seen)
    assert CANARY.encode() not in privacy.ask(path="/metrics", key="").body
    files = [path for path in privacy.gateway.data.rglob("*") if path.is_file()]
    assert {"pepper"} < {path.name for path in files}
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []
    rows = {
        name: repr(privacy.read(f"SELECT * FROM {name}"))  # noqa: S608 - our own names
        for name in metadata.tables
    }
    assert len(rows["generations"]) > 1000
    assert [name for name, text in rows.items() if CANARY in text] == []
    assert CANARY not in "\n".join(privacy.gateway.log)


def _status_becomes(stage: PrivacyStage, key: str, status: int) -> bool:
    """Whether a key in use follows a change within `auth.max_age`, give or take a slow machine.

    In every process: it is so only when it has been so for a while.
    """
    deadline = since = time.monotonic()
    deadline += 20 * MAX_AGE
    while (now := time.monotonic()) < deadline:
        if stage.send("trains", key=key).status != status:
            since = time.monotonic()
        elif now - since > 2 * MAX_AGE:
            return True
    return False
