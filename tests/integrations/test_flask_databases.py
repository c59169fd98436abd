"""Flask-SQLAlchemy and Flask-Migrate, on SQLite and on a real PostgreSQL."""

import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

flask = pytest.importorskip("flask")
flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")

import services  # noqa: E402 - after the skip

from dockerflow import checks, health  # noqa: E402
from dockerflow.flask import Dockerflow  # noqa: E402
from dockerflow.flask.checks import check_migrations_applied  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    # Of the files that Flask-Migrate makes, the second of those of its older releases.
    "ignore:'get_engine' is deprecated:DeprecationWarning",
    "ignore:No path_separator found:DeprecationWarning",
)

MIGRATION = """
revision = {revision!r}
down_revision = {before!r}
branch_labels = depends_on = None

def upgrade(): ...

def downgrade(): ...
"""


def make_app(url: Any, **engine: Any) -> Any:
    app = flask.Flask("databases")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine
    return app, flask_sqlalchemy.SQLAlchemy(app)


@pytest.fixture
def migrated(tmp_path: Path) -> Any:
    """An app with two migrations, whose database is still empty."""
    flask_migrate = pytest.importorskip("flask_migrate")
    app, db = make_app(f"sqlite:///{tmp_path}/db.sqlite")
    folder = tmp_path / "migrations"
    migrate = flask_migrate.Migrate(app, db, directory=str(folder), version_table="applied")
    with app.app_context():
        flask_migrate.init(directory=str(folder))
        for revision, before in (("a1", None), ("b2", "a1")):
            text = MIGRATION.format(revision=revision, before=before)
            (folder / "versions" / f"{revision}.py").write_text(text)
        yield app, migrate, folder
        db.engine.dispose()


def ids(migrate: Any) -> list[str]:
    return [message.id for message in check_migrations_applied(migrate)]


def test_migrations(migrated: Any) -> None:
    import flask_migrate

    app, migrate, folder = migrated
    assert ids(migrate) == [health.WARNING_UNAPPLIED_MIGRATION]
    for revision, expected in (("a1", [health.WARNING_UNAPPLIED_MIGRATION]), ("head", [])):
        with mock.patch("logging.config.fileConfig"):  # would disable the other tests' loggers
            flask_migrate.upgrade(directory=str(folder), revision=revision)
        assert ids(migrate) == expected
    registry = checks.Registry()
    Dockerflow(app, migrate=migrate, registry=registry)
    response = app.test_client().get("/__heartbeat__")
    assert response.json["checks"] == {"check_migrations_applied": "ok"}


def test_migrations_are_read_once(migrated: Any) -> None:
    _, migrate, _ = migrated
    with mock.patch.object(migrate, "get_config", wraps=migrate.get_config) as get_config:
        for _ in range(3):
            assert ids(migrate) == [health.WARNING_UNAPPLIED_MIGRATION]
    assert get_config.call_count == 1


def test_migrations_that_can_not_be_checked(migrated: Any) -> None:
    import flask_migrate

    app, migrate, folder = migrated
    nowhere = flask_migrate.Migrate(app, migrate.db, directory=str(folder / "nowhere"))
    assert ids(nowhere) == [health.INFO_CANT_CHECK_MIGRATIONS]
    (folder / "versions" / "c3.py").write_text("down_revision =")
    assert ids(migrate) == [health.INFO_CANT_CHECK_MIGRATIONS]
    (folder / "versions" / "c3.py").unlink()  # mended, it is read anew
    assert ids(migrate) == [health.WARNING_UNAPPLIED_MIGRATION]


def test_a_database_that_stops(postgres: services.Postgres) -> None:
    app, db = make_app(postgres.url())
    Dockerflow(app, db=db, registry=checks.Registry())
    client = app.test_client()
    name = "check_database_connected"
    try:
        assert client.get("/__heartbeat__").json["checks"] == {name: "ok"}
        postgres.stop()
        response = client.get("/__heartbeat__")
        assert response.status_code == 500
        assert list(response.json["details"][name]["messages"]) == [health.ERROR_DB_API_EXCEPTION]
        assert postgres.password not in response.text
        postgres.start()
        assert client.get("/__heartbeat__").json["checks"] == {name: "ok"}
    finally:
        with app.app_context():
            db.engine.dispose()


def test_checks_leave_no_connections(postgres: services.Postgres) -> None:
    """However many threads they ran in, and whatever they did with ``db.session``."""
    import sqlalchemy

    app, db = make_app(postgres.url(), pool_size=4, max_overflow=0, pool_timeout=5)
    registry = checks.Registry()
    Dockerflow(app, db=db, registry=registry)
    threads = set()
    together = threading.Barrier(2, timeout=20)

    def query() -> None:
        threads.add(threading.get_ident())
        together.wait()
        db.session.execute(sqlalchemy.text("SELECT 1"))

    def fails() -> None:
        query()
        db.session.execute(sqlalchemy.text("SELECT 1 FROM nowhere"))

    registry.register(query)
    registry.register(fails)
    try:
        for _ in range(8):
            response = app.test_client().get("/__heartbeat__")
            assert response.json["checks"] == {
                "check_database_connected": "ok", "query": "ok", "fails": "error",
            }  # fmt: skip
        assert len(threads) >= 2
        with app.app_context():
            assert db.engine.pool.checkedout() == 0
        assert postgres.connections() <= 4
        [(idle,)] = postgres.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'"
        )
        assert idle == 0
    finally:
        with app.app_context():
            db.engine.dispose()
