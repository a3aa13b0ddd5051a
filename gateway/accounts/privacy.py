"""What an organisation, a team or a key demands of those who see its requests.

A level can only add to what the levels above it demand: all are put together by OR.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy.engine import Row

from gateway.errors import InvalidRequest


class Privacy(Struct, frozen=True):
    """What one level demands, as in `gateway.values.Preferences`."""

    zdr: bool = False
    no_training: bool = False  # `data_collection: deny`


NOTHING_DEMANDED = Privacy()


class Change(Struct, frozen=True):
    """What a level is to demand from now on; None leaves it as it is."""

    zdr: bool | None = None
    no_training: bool | None = None

    def values(self) -> Mapping[str, bool]:
        """The columns to write.

        Raises:
            InvalidRequest: there are none; code nothing_to_set.
        """
        stated = {"zdr": self.zdr, "no_training": self.no_training}
        found = {name: value for name, value in stated.items() if value is not None}
        if not found:
            raise InvalidRequest(
                "say what to set: --zdr, --no-zdr or --data-collection", code="nothing_to_set"
            )
        return found

    def differing(self, current: Privacy) -> Mapping[str, bool]:
        """The columns to write where this is demanded; those that have the value already left out."""
        stated = {"zdr": self.zdr, "no_training": self.no_training}
        return {
            name: value
            for name, value in stated.items()
            if value is not None and value != getattr(current, name)
        }


def privacy_of(row: Row[Any], prefix: str = "") -> Privacy:
    """From a row's columns, whose names begin with `prefix`."""
    found = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    return Privacy(found[f"{prefix}zdr"], found[f"{prefix}no_training"])


def demanded_by(levels: Mapping[str, Privacy], what: str) -> tuple[str, ...]:
    """The names of the levels that demand `what`, a field of `Privacy`."""
    return tuple(name for name, privacy in levels.items() if getattr(privacy, what))
