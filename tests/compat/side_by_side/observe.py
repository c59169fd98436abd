"""What scenarios use to observe: responses, log records and values, as JSON."""

import contextlib
import io
import json
import logging
import os
import traceback
import warnings

from dockerflow.logging import MozlogFormatter

SCENARIOS = {}

STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
OTHERS = ("asyncio", "httpx", "sanic", "multipart", "django.db", "alembic")
SUMMARY = "request.summary"
SUMMARIES = {SUMMARY, "app.summary", "app.replaced"}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


class Records(logging.Handler):
    """Keeps what is observed of each record."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def emit(self, record):
        if not record.name.startswith(OTHERS):
            self.kept.append(record)

    def take(self):
        """Return what was logged since the last call: summaries in their order, others by message."""
        kept, self.kept = self.kept, []
        taken = {}
        for record in kept:
            known = taken.setdefault(record.name, {})
            message = record.getMessage()
            key = str(len(known)) if record.name in SUMMARIES else message
            while key in known:
                key += "+"
            known[key] = {
                "level": record.levelname,
                "message": message,
                "fields": {
                    name: encode(value)
                    for name, value in vars(record).items()
                    if name not in STANDARD
                },
                "exception": getattr((record.exc_info or [None])[0], "__name__", None),
            }
        return taken

    def lines(self):
        """Return the summary that was logged since the last call as mozlog."""
        kept, self.kept = self.kept, []
        formatter = MozlogFormatter(logger_name="app")
        return {
            record.name: json.loads(formatter.format(record))
            for record in kept
            if record.name == SUMMARY
        }


RECORDS = Records()


def encode(value):  # noqa: PLR0911 - one for each kind
    """Return the value as JSON has it; where it has no such type, as a text with the type's name."""
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if type(value) is list and any(isinstance(item, dict) for item in value):
        return {str(number): encode(item) for number, item in enumerate(value)}
    if type(value) is list:
        return [encode(item) for item in value]
    if isinstance(value, BaseException):
        return f"<{type(value).__name__}: {value}>"
    if type(value) in {tuple, set, frozenset}:
        return {type(value).__name__: sorted(map(repr, value))}
    if type(value).__name__ in {"UUID", "bytes", "datetime", "Decimal"}:
        return f"<{type(value).__name__} {value}>"
    return f"<{type(value).__name__}>"


def messages(found):
    """Return the messages of a check by their ids, and what isn't in their texts."""
    return [
        {"level": m.level, "id": m.id, "msg": str(m.msg), "hint": m.hint, "obj": encode(m.obj)}
        for m in sorted(found, key=lambda message: (str(message.id), str(message.msg)))
    ]


def attempt(function, *args, **kwargs):
    """Return the encoded result, or which exception was raised."""
    try:
        return encode(function(*args, **kwargs))
    except Exception as error:
        if os.environ.get("SIDE_BY_SIDE_DEBUG"):
            traceback.print_exc()
        return {"raised": type(error).__name__}


def response(status, headers, body):
    """Return one response; JSON bodies are parsed."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    with contextlib.suppress(ValueError):
        text = json.loads(text)
    kept = {name.lower(): value for name, value in headers}
    for name in ("date", "content-length", "server"):
        if name in kept:
            kept[name] = "<present>"
    if "allow" in kept:
        kept["allow"] = sorted(kept["allow"].split(", "))
    return {"status": status, "headers": kept, "body": text}


@contextlib.contextmanager
def warned():
    """Give a list that has the categories of the warnings afterwards."""
    categories = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield categories
    categories.extend(sorted({warning.category.__name__ for warning in caught}))


def mozlog_lines(record, formatter):
    """Return the formatted record as JSON, or as the text that isn't JSON."""
    text = formatter.format(record)
    try:
        return json.loads(text)
    except ValueError:
        return text


def run(function):
    """Return what one scenario observed, with the records that it left."""
    logging.lastResort = None
    root = logging.getLogger()
    root.handlers[:] = [RECORDS]
    root.setLevel(logging.INFO)
    with contextlib.redirect_stdout(io.StringIO()):
        observed = attempt(function)
    left = RECORDS.take()
    return {"observed": observed, **({"records": left} if left else {})}
