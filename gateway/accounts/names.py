"""What a name of an organisation, team, member or key may be."""

import re

from gateway.errors import InvalidRequest

MAX_LENGTH = 120
MAX_EMAIL = 254  # RFC 3696, erratum 1690: the longest address that mail can be sent to

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


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


def checked_email(email: str) -> str:
    """The address in lower case, without surrounding blanks.

    Raises:
        InvalidRequest: it does not look like one; code invalid_email.
    """
    email = email.strip().lower()
    if len(email) > MAX_EMAIL or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise InvalidRequest(
            "an email address looks like ada@example.com", code="invalid_email", param="email"
        )
    return email


def can_be_meant(ref: str) -> bool:
    """Whether something can have this id or name: what cannot be is not asked the database for.

    PostgreSQL refuses text with a NUL.
    """
    return 0 < len(ref) <= MAX_EMAIL and ref.isprintable()
