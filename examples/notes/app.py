"""Notes over HTTP, kept in SQLite: a small FastAPI app with Dockerflow around it.

    make run
    curl -i -X POST localhost:8000/notes -H 'content-type: application/json' -d '{"text": "Hi"}'
    curl -i localhost:8000/__heartbeat__

HOST, PORT and NOTES_DATABASE in the environment say where it listens and keeps its notes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from dockerflow import checks
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.config import Config
from dockerflow.logging import MozlogHandler, RequestIdLogFilter

HERE = Path(__file__).parent
DATABASE = os.environ.get("NOTES_DATABASE") or str(HERE / "notes.sqlite3")

log = logging.getLogger("notes")


class NewNote(BaseModel):
    """What a client sends."""

    text: Annotated[str, Field(min_length=1, max_length=1000)]


class Note(NewNote):
    """What a client gets back."""

    id: int


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the database for one request, and commit if nothing went wrong."""
    with closing(sqlite3.connect(DATABASE, timeout=2)) as connection, connection:
        yield connection


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Make the table before the first request."""
    with database() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)")
    yield


@checks.register(name="database", timeout=3)
def check_database() -> None:
    """Read the table; what SQLite raises is the heartbeat's failure."""
    with database() as connection:
        connection.execute("SELECT count(*) FROM notes").fetchone()


@checks.register(name="event_loop", critical=False)
async def check_event_loop() -> checks.Warning | None:
    """See whether something blocks the loop that serves everybody."""
    started = time.monotonic()
    await asyncio.sleep(0)
    late = time.monotonic() - started
    if late < 0.5:  # noqa: PLR2004 - seconds, by which people notice
        return None
    return checks.Warning(f"The event loop is {late:.1f} s behind.", id="notes.W001")


app = FastAPI(title="Notes", lifespan=lifespan)
app.add_middleware(DockerflowMiddleware, config=Config(version_path=HERE))


@app.get("/notes")
def list_notes() -> list[Note]:
    """Return all notes, the oldest first."""
    with database() as connection:
        rows = connection.execute("SELECT id, text FROM notes ORDER BY id").fetchall()
    return [Note(id=id_, text=text) for id_, text in rows]


@app.get("/notes/{note_id}")
def get_note(note_id: int) -> Note:
    """Return one note."""
    with database() as connection:
        row = connection.execute("SELECT text FROM notes WHERE id = ?", (note_id,)).fetchone()
    if row is None:
        raise HTTPException(404, "There is no such note.")
    return Note(id=note_id, text=row[0])


@app.post("/notes", status_code=201)
def add_note(note: NewNote) -> Note:
    """Keep a note."""
    with database() as connection:
        cursor = connection.execute("INSERT INTO notes (text) VALUES (?)", (note.text,))
    log.info("A note was added", extra={"note_id": cursor.lastrowid})
    return Note(id=cursor.lastrowid or 0, text=note.text)


def main() -> None:
    """Serve the app, with one line of mozlog on stdout for everything that is logged."""
    handler = MozlogHandler(name="notes")
    handler.addFilter(RequestIdLogFilter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    uvicorn.run(
        app,
        host=os.environ.get("HOST") or "127.0.0.1",
        port=int(os.environ.get("PORT") or 8000),
        log_config=None,
        access_log=False,  # request.summary says all of it
    )


if __name__ == "__main__":
    main()
