"""What every part of the settings is made of: a section, and the forms that values have."""

from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(gt=0)]
Price = Annotated[str, Field(pattern=r"^\d+(\.\d{1,6})?$")]


def _checked_url(value: str) -> str:
    """An address of an upstream, without the slash at its end.

    Raises:
        ValueError: it is none.
    """
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(
            "must be of ASCII without spaces: write others as in %20, and names of hosts as in xn--…"
        )
    url = urlsplit(value)
    try:
        port_fits = url.port is None or url.port > 0
    except ValueError:
        port_fits = False
    if url.scheme not in {"http", "https"} or not url.hostname or not port_fits:
        raise ValueError("must be an http:// or https:// address with a host")
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("must not hold a user, a password, a query or a fragment")
    return value.rstrip("/")


def _checked_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a non-empty key of printable characters without spaces")
    return value


Address = Annotated[str, AfterValidator(_checked_url)]
Credential = Annotated[SecretStr, AfterValidator(_checked_key)]
Money = Annotated[str, Field(pattern=r"^\d+(\.\d{1,12})?$")]


class OneOf:
    """An annotation of strings: one of these names, which come from elsewhere in the code.

    Args:
        names: what may be set, in the order in which pages and faults list it.
        else_: what a fault advises besides.
    """

    def __init__(self, names: Iterable[str], else_: str = "") -> None:
        self.names = tuple(names)
        self._advice = f"; {else_}" if else_ else ""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """What pydantic checks such a field by."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: str) -> str:
        if value not in self.names:
            raise ValueError(f"{value!r} is not one of {', '.join(self.names)}{self._advice}")
        return value


class Section(BaseModel):
    """Part of the tree: nothing unknown, nothing changed after."""

    model_config = ConfigDict(extra="forbid", frozen=True)
