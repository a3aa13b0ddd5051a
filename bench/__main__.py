"""The bench's command line: `python -m bench`, or `make bench`."""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import msgspec

from bench import report, stores, tidegate, upstream
from bench.gateways import DIRECT, Gateway, nginx, peers
from bench.paths import BUILD
from bench.preflight import missing
from bench.results import Row
from bench.workloads import ALL, Course, measure
from tests.servers.binaries import Missing
from tests.servers.watched import Unready

RESULTS = BUILD / "results.jsonl"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="What a gateway adds to a request.")
    parser.add_argument("--peers", type=Path, help="folder with other gateways: bench/README.md")
    parser.add_argument("--only", help="names of gateways, with commas between")
    parser.add_argument("--work", default=",".join(ALL), help="workloads, with commas between")
    parser.add_argument("--repeats", type=int, default=3, help="of W1; the quietest counts")
    parser.add_argument("--seconds", type=int, default=2, help="that each stretch of W1 lasts")
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS, help="file that results are added to")
    parser.add_argument("--report", type=Path, metavar="FILE", help="print the tables of FILE only")
    options = parser.parse_args()
    options.work = tuple(options.work.split(","))
    if unknown := sorted(set(options.work) - set(ALL)):
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(ALL)}")
    return options


def _gateways(options: argparse.Namespace) -> list[AbstractContextManager[Gateway]]:
    """What to measure, in order, prepared on entry; what is not installed is left out, and said."""
    wanted = options.only.split(",") if options.only else None
    listed = [DIRECT, nginx(), *(peers(options.peers) if options.peers else [])]
    chosen = [gateway for gateway in listed if wanted is None or gateway.name in wanted]
    if absent := [gateway.name for gateway in chosen if not gateway.installed()]:
        print(f"not installed, left out: {', '.join(absent)}", file=sys.stderr)
    ready: list[AbstractContextManager[Gateway]] = [
        nullcontext(gateway) for gateway in chosen if gateway.installed()
    ]
    if wanted is None or tidegate.NAME in wanted:
        ready.append(_alone())
    if wanted is None or tidegate.SHARED in wanted:
        ready.append(_shared(options.load_core))
    return ready


@contextmanager
def _alone() -> Iterator[Gateway]:
    yield tidegate.prepare()


@contextmanager
def _shared(core: int) -> Iterator[Gateway]:
    with stores.running(core) as running:
        yield tidegate.prepare(tidegate.SHARED, running)


def _stored(path: Path) -> list[Row]:
    """The last row of each name in a results file."""
    rows = [msgspec.json.decode(line, type=Row) for line in path.read_bytes().splitlines()]
    return list({row.name: row for row in rows}.values())


def _measure(options: argparse.Namespace) -> list[Row]:
    course = Course(
        options.work, options.repeats, options.seconds, options.gateway_core, options.load_core
    )
    rows = []
    # The upstream first: its port keeps a second bench from emptying this one's folders.
    with upstream.running(options.load_core) as upstream_pid, options.out.open("ab") as out:
        for prepared in _gateways(options):
            with prepared as gateway:
                print(f"measuring {gateway.name}", file=sys.stderr)
                row = measure(gateway, course, upstream_pid)
            out.write(msgspec.json.encode(row) + b"\n")
            out.flush()
            rows.append(row)
    return rows


def main() -> int:
    """Measure or report; gives the exit status: 1 where Tidegate answered anything but 200."""
    options = _options()
    if options.report:
        print(report.tables(_stored(options.report)))
        return 0
    if fault := missing():
        print(fault, file=sys.stderr)
        return 2
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        rows = _measure(options)
    except (RuntimeError, subprocess.CalledProcessError, Missing, Unready) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{report.machine()}\n\n{report.tables(rows)}")
    return 1 if any(row.failed() for row in rows if row.name in tidegate.PORTS) else 0


if __name__ == "__main__":
    sys.exit(main())
