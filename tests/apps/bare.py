"""No framework, for both protocols."""

from collections.abc import Iterable
from typing import Any

from apps import BROKEN, CHUNKS, CORS

ANSWERS = {"/": (200, (b"hello",)), "/status/500": (500, (b"oh",)), "/stream": (200, CHUNKS)}


def answer(path: str) -> tuple[int, tuple[bytes, ...]]:
    if path == "/fail":
        raise ValueError(BROKEN)
    return ANSWERS.get(path, (404, (b"nothing here",)))


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    status, chunks = answer(path)
    headers = [(b"content-type", b"text/plain")]
    if status == 500:
        headers += [(name.lower().encode(), value.encode()) for name, value in CORS.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for chunk in chunks if scope["method"] != "HEAD" else ():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    status, chunks = answer(environ["PATH_INFO"])
    cors = CORS if status == 500 else {}
    start_response(f"{status} Phrase", [("Content-Type", "text/plain"), *cors.items()])
    return iter(chunks if environ["REQUEST_METHOD"] != "HEAD" else ())
