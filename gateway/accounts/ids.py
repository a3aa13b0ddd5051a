"""Identifiers of accounts: a word that says of what, and 131 random bits, safe in URLs."""

from gateway.auth.keys import random_base62

_LENGTH = 22


def new_id(kind: str) -> str:
    """A fresh id such as `team_4fX…`; `kind` is one of ins, org, team, key, bud."""
    return f"{kind}_{random_base62(_LENGTH)}"
