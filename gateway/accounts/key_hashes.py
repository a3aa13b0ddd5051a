"""The public identifier of a key in OpenRouter's contract: the hash under which the key is stored, in hex.

It is keyed with the installation's pepper: whoever has it learns nothing of the key, and cannot test one. A
key that is rotated has another; the old one names it too for as long as the old secret is taken.
"""

import re
from collections.abc import Collection

from sqlalchemy import or_, select

from gateway.accounts.office import Office
from gateway.accounts.roles import Actor
from gateway.errors import NotFound
from gateway.store.tables.accounts import api_keys, teams

_is_hash = re.compile("[0-9a-f]{64}").fullmatch


async def id_of(office: Office, actor: Actor, key_hash: str) -> str:
    """The id of the key with this hash, among those of the actor's organisation.

    Whether it may look at the key is for whoever does something with the id.

    Raises:
        NotFound: none; code key_not_found.
    """
    found = None
    if _is_hash(key_hash):
        digest = bytes.fromhex(key_hash)
        async with office.look(actor) as look:
            query = (
                select(api_keys.c.id)
                .join(teams, teams.c.id == api_keys.c.team_id)
                .where(or_(api_keys.c.key_hash == digest, api_keys.c.old_hash == digest))
            )
            if not look.actor.everywhere:
                query = query.where(teams.c.organisation_id == look.actor.organisation_id)
            found = await look.connection.scalar(query)
    if found is None:
        raise NotFound("no key has this hash", code="key_not_found", param="hash")
    return str(found)


async def hashes_of(office: Office, key_ids: Collection[str]) -> dict[str, str]:
    """The hashes of keys that the caller has been shown already, by their ids."""
    query = select(api_keys.c.id, api_keys.c.key_hash).where(api_keys.c.id.in_(key_ids))
    async with office.database.reading() as connection:
        rows = (await connection.execute(query)).all()
    return {row.id: row.key_hash.hex() for row in rows}
