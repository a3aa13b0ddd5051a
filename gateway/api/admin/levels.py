"""The levels that settings and budgets are of, as paths: one row each, the same routes for all."""

from typing import Final

from fastapi import Path
from fastapi.params import Path as PathParam
from msgspec import Struct

from gateway.accounts.owners import LevelName
from gateway.api.admin.shapes import ID_PATTERN


class LevelPath(Struct, frozen=True):
    """A level; its things are at `/{plural}/{<name>_id}/…`."""

    name: LevelName
    plural: str
    example: str

    @property
    def of_one(self) -> str:
        """The path of one of them."""
        return f"/{self.plural}/{{{self.name}_id}}"

    def id_in_path(self) -> PathParam:
        """The parameter of that path."""
        found: PathParam = Path(
            alias=f"{self.name}_id", pattern=ID_PATTERN, examples=[self.example]
        )
        return found

    @property
    def article(self) -> str:
        """Its name with an article, for people."""
        return f"an {self.name}" if self.name == "organisation" else f"a {self.name}"


LEVELS: Final = (
    LevelPath("organisation", "organisations", "org_2Yh0mWkZ9sQd8Rr1TtUuVv"),
    LevelPath("team", "teams", "team_2Yh0mWkZ9sQd8Rr1TtUuVv"),
    LevelPath("member", "members", "mem_2Yh0mWkZ9sQd8Rr1TtUuVv"),
    LevelPath("key", "keys", "key_2Yh0mWkZ9sQd8Rr1TtUuVv"),
)
