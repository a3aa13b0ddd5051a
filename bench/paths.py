"""Where things are, and the addresses that the peers' own settings files name too."""

from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
BUILD = BENCH / "build"
PEERS = BENCH / "peers"

HOST = "127.0.0.1"
UPSTREAM_PORT = 9100
