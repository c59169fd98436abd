"""How Alembic gets at the database: over the caller's connection, or by ``DATABASE_URL``."""

from alembic import context
from sqlalchemy import Connection

from links.settings import get_settings
from links.storage import Base, connect


def run(connection: Connection) -> None:
    """Apply the migrations over a connection."""
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with connect(get_settings()).connect() as own:
        run(own)
