"""What a name of an organisation, team or key may be."""

from gateway.errors import InvalidRequest

MAX_LENGTH = 120


def checked_name(name: str, *, what: str) -> str:
    """The name without surrounding blanks.

    Raises:
        InvalidRequest: empty, too long, or with characters that do not print.
    """
    name = name.strip()
    if not name or len(name) > MAX_LENGTH or not name.isprintable():
        raise InvalidRequest(
            f"the name of a {what} must have 1 to {MAX_LENGTH} printable characters",
            code="invalid_name",
            param="name",
        )
    return name
