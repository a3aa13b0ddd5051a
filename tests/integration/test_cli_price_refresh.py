"""`tidegate prices refresh`, `diff` and `approve`, against sources of this machine."""

import datetime as dt
import json
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from typing_extensions import override

from gateway.cli import main
from gateway.store.prices import PriceFolder
from pricing import RateCard, load_packaged
from tests.fakes import commands
from tests.unit.pricing.source_bodies import novita, openrouter, packaged

K3 = "moonshotai/kimi-k3"
PRICES = {"input": "3", "output": "15", "cache_read": "0.3"}


class Sources(ThreadingHTTPServer):
    """OpenRouter's and Novita's lists; `answers` are by path: a status, a body and an ETag."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, bytes, str | None]] = {}
        self.heads: list[dict[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.says(novita=novita(), openrouter=openrouter())

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked is gone, as it shall be where the time is up."""

    def says(self, *, status: int = 200, etag: str | None = None, **bodies: bytes) -> None:
        for name, body in bodies.items():
            self.answers[f"/{name}"] = (status, body, etag)


class Handler(BaseHTTPRequestHandler):
    server: Sources

    def do_GET(self) -> None:
        self.server.gate.wait(20)
        self.server.heads.append({name.lower(): value for name, value in self.headers.items()})
        status, body, etag = self.server.answers[self.path]
        if etag is not None and self.headers.get("If-None-Match") == etag:
            status, body = 304, b""
        self.send_response(status)
        if etag is not None:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def sources() -> Iterator[Sources]:
    with Sources() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


class Desk:
    """An installation whose prices are refreshed."""

    def __init__(self, folder: Path, sources: Sources) -> None:
        self.folder = PriceFolder(folder / "data", None)
        self.config = folder / "tidegate.yaml"
        self.tree: dict[str, Any] = {
            "data": str(folder / "data"),
            "prices": {
                "refresh": {
                    "sources": ["openrouter", "novita"],
                    "novita_url": f"http://127.0.0.1:{sources.server_port}/novita",
                    "openrouter_url": f"http://127.0.0.1:{sources.server_port}/openrouter",
                }
            },
        }
        self.configure()
        assert self.run_any("migrate").exit_code == 0

    def configure(self) -> None:
        self.config.write_text(yaml.safe_dump(self.tree))

    def run_any(self, *words: str) -> Result:
        return CliRunner().invoke(main, [*words, "--config", str(self.config)])

    def run(self, *words: str) -> Result:
        return self.run_any("prices", *words)

    def refresh(self, *words: str) -> dict[str, Any]:
        result = self.run("refresh", "--json", *words)
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    def card(self, day: dt.date, provider: str = "novita", model: str = K3) -> RateCard:
        return self.folder.catalogue().card_for(provider, model, day)

    def audit(self) -> list[dict[str, Any]]:
        result = self.run_any("audit", "--json")
        assert result.exit_code == 0, result.output
        lines: list[dict[str, Any]] = json.loads(result.stdout)
        return [line for line in lines if line["action"].startswith("prices.")]


@pytest.fixture
def desk(tmp_path: Path, sources: Sources) -> Desk:
    return Desk(tmp_path, sources)


def today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def test_sources_that_say_what_is_known_change_nothing(desk: Desk) -> None:
    result = desk.refresh()

    assert (result["taken"], result["waiting"], result["failed"]) == ([], [], {})
    assert desk.folder.catalogue().cards == load_packaged().cards


def test_a_small_change_holds_from_today_and_yesterday_keeps_its_card(
    desk: Desk, sources: Sources
) -> None:
    yesterday = today() - dt.timedelta(days=1)
    before = desk.card(yesterday)
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "3.3"}))

    result = desk.refresh()

    (taken,) = result["taken"]
    assert (taken["old"]["input"], taken["new"]["input"], result["waiting"]) == ("3", "3.3", [])
    assert desk.card(today()).input == 3_300_000
    assert desk.card(yesterday).id == before.id
    assert desk.card(yesterday).valid_to == yesterday.isoformat()
    listed = desk.run("list", "--json", "--provider", "novita", "--model", K3)
    assert [(row["input"], row["source"]) for row in json.loads(listed.stdout)] == [
        ("3.3", "Novita model list")
    ]


def test_a_great_change_waits_until_it_is_approved(desk: Desk, sources: Sources) -> None:
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "4"}))

    (waits,) = desk.refresh()["waiting"]
    assert waits["reasons"] == ["input rises by 33.3 % from 3 to 4"]
    assert desk.card(today()).input == 3_000_000
    shown = desk.run("diff").stdout
    assert waits["id"] in shown
    assert "input rises by 33.3 % from 3 to 4" in shown

    approved = desk.run("approve", waits["id"])
    assert approved.exit_code == 0, approved.output
    assert desk.card(today()).input == 4_000_000
    assert desk.run("diff").stderr == "nothing waits\n"


def test_to_approve_twice_is_refused_and_changes_nothing(desk: Desk, sources: Sources) -> None:
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "4"}))
    (waits,) = desk.refresh()["waiting"]
    assert desk.run("approve", waits["id"]).exit_code == 0
    accepted = (desk.folder.path / "accepted.json").read_bytes()

    again = desk.run("approve", waits["id"])

    assert again.exit_code == 1
    assert f"no price change called '{waits['id']}' waits; nothing does" in again.stderr
    assert (desk.folder.path / "accepted.json").read_bytes() == accepted


def test_a_price_of_zero_is_not_approved_with_the_others(desk: Desk, sources: Sources) -> None:
    zero = {"input": "0", "output": "0"}
    sources.says(novita=novita(kimi_k3=zero, kimi_k2__6=PRICES | {"input": "9"}))
    assert len(desk.refresh()["waiting"]) == 2

    assert desk.run("approve", "--all").exit_code == 0

    (left,) = json.loads(desk.run("diff", "--json").stdout)
    assert left["new"]["input"] == "0"
    assert desk.card(today()).input == 3_000_000
    assert desk.card(today(), model="moonshotai/kimi-k2.6").input == 9_000_000


def test_a_wrong_unit_an_added_and_a_removed_model_wait(desk: Desk, sources: Sources) -> None:
    per_million = {"prompt": "3", "completion": "15"}
    sources.says(
        novita=novita(kimi_k3=None, kimi_linear_48b_a3b_instruct={"input": "0.3", "output": "0.6"}),
        openrouter=openrouter(kimi_k3=per_million),
    )

    waiting = {change["kind"]: change for change in desk.refresh()["waiting"]}

    assert set(waiting) == {"added", "removed", "changed"}
    assert "looks like a price in millionths" in " ".join(waiting["changed"]["reasons"])
    assert desk.run("approve", waiting["removed"]["id"]).exit_code == 0
    offered = [
        offer.provider_model_id for offer in desk.folder.catalogue().offers("novita", today())
    ]
    assert K3 not in offered
    assert len(offered) == len(packaged("novita")) - 1
    assert desk.card(today()).input == 3_000_000


def test_what_waits_goes_when_its_source_takes_it_back(desk: Desk, sources: Sources) -> None:
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "4"}))
    assert len(desk.refresh()["waiting"]) == 1
    sources.says(openrouter=openrouter())
    assert len(desk.refresh("--source", "openrouter")["waiting"]) == 1

    sources.says(novita=novita())

    assert desk.refresh()["waiting"] == []


def test_an_etag_that_is_still_good_is_no_change(desk: Desk, sources: Sources) -> None:
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "4"}), etag='"one"')
    first = desk.refresh("--source", "novita")
    second = desk.refresh("--source", "novita")

    assert [head.get("if-none-match") for head in sources.heads] == [None, '"one"']
    assert (first["unchanged"], second["unchanged"]) == ([], ["novita"])
    assert second["waiting"] == first["waiting"]


def test_the_same_body_is_no_change_until_prices_in_force_are_others(
    desk: Desk, sources: Sources
) -> None:
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "4"}), etag='"one"')
    sources.says(openrouter=openrouter())
    (waits,) = desk.refresh()["waiting"]
    assert desk.refresh()["unchanged"] == ["openrouter", "novita"]

    assert desk.run("approve", waits["id"]).exit_code == 0

    assert desk.refresh()["unchanged"] == []


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"oh", "HTTP status 500"),
        (302, b"", "HTTP status 302"),
        (200, b"{", "is not JSON"),
        (200, b'{"data": 3}', "data is not a list"),
        (200, b"x" * 200_000, "body over 100000 bytes"),
    ],
)
def test_a_source_that_cannot_be_had_changes_nothing_and_others_are_taken(
    desk: Desk, sources: Sources, status: int, body: bytes, said: str
) -> None:
    desk.tree["prices"]["refresh"]["max_bytes"] = 100_000
    desk.configure()
    sources.says(openrouter=body, status=status)
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "3.3"}))

    result = desk.run("refresh")

    assert result.exit_code == 1
    assert "openrouter: nothing is taken from it: " in result.stderr
    assert said in result.stderr
    assert desk.card(today()).input == 3_300_000
    assert "openrouter" not in desk.folder.seen()


def test_a_source_that_does_not_answer_in_time_changes_nothing(
    desk: Desk, sources: Sources
) -> None:
    desk.tree["prices"]["refresh"]["timeout"] = 0.2
    desk.configure()
    sources.gate.clear()

    result = desk.run("refresh")

    sources.gate.set()
    assert result.exit_code == 1
    assert result.stderr.count("nothing is taken from it") == 2
    assert not (desk.folder.path / "accepted.json").exists()


def test_two_refreshes_at_once_take_a_change_once(desk: Desk, sources: Sources) -> None:
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "3.3"}))
    words = ["prices", "refresh", "--config", str(desk.config)]

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(commands.run, [words, words]))

    assert [status for status, _, _ in results] == [0, 0], results
    assert len(desk.folder.accepted().listings) == 1
    assert sum("1 taken" in err for _, _, err in results) == 1


def test_a_file_takes_the_place_of_an_answer(desk: Desk, tmp_path: Path, sources: Sources) -> None:
    body = tmp_path / "novita.json"
    body.write_bytes(novita(kimi_k3=PRICES | {"input": "3.3"}))

    assert len(desk.refresh("--source", "novita", "--file", str(body))["taken"]) == 1
    assert sources.heads == []
    assert desk.run("refresh", "--file", str(body)).exit_code == 2


def test_rows_of_ones_own_file_are_left_alone(desk: Desk, sources: Sources, tmp_path: Path) -> None:
    row = {"provider": "novita", "provider_model_id": K3, "model": K3, "currency": "USD"}
    row |= {"input": "2", "output": "10", "source": "contract", "source_date": "2026-11-23"}
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"schema": "tidegate-prices/1", "prices": [row]}))
    desk.tree["prices"]["file"] = str(own)
    desk.configure()
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "9"}))

    assert desk.refresh()["waiting"] == []
    listed = desk.run("list", "--json", "--provider", "novita", "--model", K3)
    assert [(one["input"], one["source"]) for one in json.loads(listed.stdout)] == [
        ("2", "contract")
    ]


def test_who_refreshed_and_approved_is_in_the_audit_log(desk: Desk, sources: Sources) -> None:
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "4"}))
    (waits,) = desk.refresh()["waiting"]
    desk.run("approve", waits["id"])

    approved, refreshed = desk.audit()

    assert (approved["action"], approved["target"]) == ("prices.approve", waits["id"])
    assert approved["before"]["input"] == 3_000_000
    assert approved["after"]["input"] == 4_000_000
    assert refreshed["action"] == "prices.refresh"
    assert refreshed["after"]["waiting"] == [waits["id"]]
    assert approved["who"] == refreshed["who"] != ""
    assert approved["time"].startswith(today().isoformat())


def test_the_files_are_their_owners_and_price_files_like_any_other(
    desk: Desk, sources: Sources
) -> None:
    sources.says(novita=novita(kimi_k3=PRICES | {"input": "3.3"}))
    desk.refresh()

    assert stat.S_IMODE(desk.folder.path.stat().st_mode) == 0o700
    for name in ("accepted.json", "waiting.json", "sources.json"):
        assert stat.S_IMODE((desk.folder.path / name).stat().st_mode) == 0o600
    checked = desk.run("check", str(desk.folder.path / "accepted.json"))
    assert checked.exit_code == 0, checked.output
