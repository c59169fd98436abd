"""Links in a database, by SQLAlchemy; FastAPI and Flask share it. Django has its own ORM."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import DateTime, Engine, String, create_engine, func, make_url, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from links.codes import LENGTH, new_code
from links.schemas import MAX_LENGTH
from links.settings import Settings

ALEMBIC_INI = Path(__file__).parents[1] / "alembic.ini"


class Base(DeclarativeBase):
    """The tables that Alembic compares the database with."""


class StoredLink(Base):
    """One link."""

    __tablename__ = "links"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(LENGTH), unique=True)
    url: Mapped[str] = mapped_column(String(MAX_LENGTH))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


def connect(settings: Settings) -> Engine:
    """Return the engine, which connects when it is used."""
    url = make_url(settings.database_url.get_secret_value())
    if settings.is_embedded:
        return create_engine(url)
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,  # a restart of the server costs no request
        connect_args={"connect_timeout": 3},
    )


def migrate(engine: Engine) -> None:
    """Bring the database to the newest revision."""
    config = Config(ALEMBIC_INI)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


class Storage:
    """Links by their codes.

    :param engine: where they are.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, url: str) -> StoredLink:
        """Keep a URL under a new code."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            link = StoredLink(code=new_code(), url=url)
            session.add(link)
        return link

    def find(self, code: str) -> str | None:
        """Return the URL that a code stands for."""
        with Session(self._engine) as session:
            return session.scalar(select(StoredLink.url).where(StoredLink.code == code))

    def newest(self, count: int) -> list[StoredLink]:
        """Return the links that came last, the newest first."""
        newest = select(StoredLink).order_by(StoredLink.id.desc()).limit(count)
        with Session(self._engine) as session:
            return list(session.scalars(newest))
