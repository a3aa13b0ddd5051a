"""How the gateway is: its processes, its counters and its database."""

from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from gateway.accounts import status
from gateway.api.admin.caller import AdminRoute, Caller, Desks, Running
from gateway.api.admin.errors import refusals
from gateway.api.admin.shapes import Answer, Time, shown_time

router = APIRouter(route_class=AdminRoute, tags=["status"])


class WorkerAnswer(Answer):
    """A process that serves."""

    id: str
    host: str
    pid: int
    version: str
    started_at: Time
    seen_at: Time = Field(description="When it last said that it is alive.")
    alive: bool


class StatusAnswer(Answer):
    """How the gateway is."""

    database: Literal["sqlite", "postgresql"]
    counters: Literal["memory", "shared"] = Field(
        description="`shared`: in Redis or Valkey; `memory`: of the one process."
    )
    requests_under_way: int = Field(description="Of the process that answers, which hold budgets.")
    unshipped: int = Field(description="Requests of that process that are not in the ledger yet.")
    workers: list[WorkerAnswer] = Field(description="Empty where one process has its own counters.")


@router.get(
    "/status",
    operation_id="get_status",
    summary="Read how the gateway is",
    responses=refusals(403),
)
async def get_status(caller: Caller, office: Desks, running: Running) -> StatusAnswer:
    """Only for a key that administers the whole installation."""
    found = await status.status(office, caller)
    return StatusAnswer.model_validate(
        {
            "database": found.database,
            "counters": "memory" if running.settings.state.url is None else "shared",
            "requests_under_way": running.state.held_count,
            "unshipped": len(running.recent),
            "workers": [
                {
                    "id": row.id,
                    "host": row.host,
                    "pid": row.pid,
                    "version": row.version,
                    "started_at": shown_time(row.started_ms),
                    "seen_at": shown_time(row.seen_ms),
                    "alive": row.alive,
                }
                for row in found.workers
            ],
        }
    )
