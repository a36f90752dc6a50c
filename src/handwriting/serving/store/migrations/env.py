"""Alembic's way in: runs the migrations on the connection (and in the transaction) that the store opened."""

from alembic import context

from handwriting.serving.store.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
