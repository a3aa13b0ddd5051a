"""What is done, and what can be refused, before requests are answered."""

from pathlib import Path

from backends import litellm_fault
from gateway.accounts import bootstrap
from gateway.accounts.opening import Installation, make_folder
from gateway.app import alone
from gateway.app.counting import redis_counters
from gateway.app.upstream import Books
from gateway.clock import SystemClock
from gateway.errors import ConfigurationError
from gateway.routing.litellm_endpoints import litellm_plan
from gateway.settings import Settings
from gateway.store import owner, schema
from gateway.store.prices import PriceFolder


async def prepare(settings: Settings, *, owned: bool = False) -> None:
    """Do all that can be refused before requests are answered: folder, database, secret, endpoints.

    The data folder is this process's from here on, until it ends; unless it is `owned` already, by the
    process that started this one.

    Raises:
        ConfigurationError: with a line for each fault.
    """
    await check_all(settings)
    make_folder(settings.data)
    if not owned:
        owner.take(settings.data)
    installation = Installation.of(settings)
    await schema.upgrade(installation.url)
    await first_account(installation, with_key=False)
    database = installation.database()
    try:
        await alone.claim(settings, database, SystemClock())
    finally:
        await database.aclose()


async def check_all(settings: Settings) -> None:
    """`check`, and whether the litellm worker could start.

    Raises:
        ConfigurationError: with a line for each fault.
    """
    check(settings)
    plan = litellm_plan(settings)
    if plan is not None and (fault := await litellm_fault(plan)) is not None:
        raise ConfigurationError([f"litellm: {fault}"])


def check(settings: Settings) -> None:
    """Do all that can be refused without touching anything.

    Raises:
        ConfigurationError: with a line for each fault.
    """
    catalogue = PriceFolder(settings.data, settings.prices.file).catalogue()
    books = Books(settings, catalogue, SystemClock())
    unpriced = [
        f"endpoint {candidate.endpoint.id} has no price: give it one, nothing is free by default"
        for candidates in books().models.values()
        for candidate in candidates
        if candidate.card is None
    ]
    if unpriced:
        raise ConfigurationError(unpriced)
    if settings.state.url is not None:
        redis_counters(settings.state)  # is not connected by this


async def first_account(where: Path | Installation, *, with_key: bool) -> bootstrap.First:
    """Organisation, team and, if wanted, key, made if there are none."""
    installation = where if isinstance(where, Installation) else Installation.in_folder(where)
    secret = installation.pepper()
    database = installation.database()
    try:
        return await bootstrap.ensure_first(
            database, secret, clock=SystemClock(), with_key=with_key
        )
    finally:
        await database.aclose()
