"""Runs revisions on the connection that `gateway.store.schema` hands over, in its transaction."""

from alembic import context

from gateway.store.tables import accounts, operations, usage
from gateway.store.tables.metadata import metadata

# The tables hang themselves on `metadata` when their modules are imported.
TABLES = (accounts, operations, usage)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
