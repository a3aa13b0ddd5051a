"""The composition root: builds every part once. The only room that names concrete ones.

- `start`: what can be refused before anything is served
- `upstream`: what a reload exchanges: settings, endpoints, connections to them
- `worker`: all parts of one process
- `serving`: the server around them
- `process`: one of several processes under a supervisor
"""

from gateway.app.serving import serve
from gateway.app.start import check, first_account, prepare
from gateway.app.upstream import upstream_client, upstream_dialer
from gateway.app.worker import build
from gateway.processes.listening import bind

__all__ = [
    "bind",
    "build",
    "check",
    "first_account",
    "prepare",
    "serve",
    "upstream_client",
    "upstream_dialer",
]
