"""What a call used, in the units that are billed."""

from msgspec import Struct
from msgspec.structs import astuple


class Quantities(Struct, frozen=True, kw_only=True, gc=False):
    """Disjoint billable counts: no token is in two of them.

    `output` includes reasoning. `images` tells how many there were; hosts of Kimi models bill an
    image as the input tokens it becomes, so no price applies to the count itself.

    The constructor does not check, since it runs for each request; `checked` does.
    """

    fresh_input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    requests: int = 0
    images: int = 0
    searches: int = 0

    @classmethod
    def checked(
        cls,
        *,
        fresh_input: int = 0,
        cache_read: int = 0,
        cache_write_5m: int = 0,
        cache_write_1h: int = 0,
        output: int = 0,
        requests: int = 0,
        images: int = 0,
        searches: int = 0,
    ) -> "Quantities":
        """Quantities from counts that are not trusted, such as a provider's usage.

        Raises:
            ValueError: a count is below zero or not a whole number; the message names it.
        """
        quantities = cls(
            fresh_input=fresh_input,
            cache_read=cache_read,
            cache_write_5m=cache_write_5m,
            cache_write_1h=cache_write_1h,
            output=output,
            requests=requests,
            images=images,
            searches=searches,
        )
        for name, count in zip(cls.__struct_fields__, astuple(quantities), strict=True):
            if type(count) is not int:
                raise ValueError(f"{name} is {count!r}, not a whole number")
            if count < 0:
                raise ValueError(f"{name} is {count}, below zero")
        return quantities

    @property
    def input_total(self) -> int:
        """All input tokens, cached or not."""
        return self.fresh_input + self.cache_read + self.cache_write_5m + self.cache_write_1h
