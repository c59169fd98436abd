"""The messages that checks return, with levels on the scale of the logging module."""

from __future__ import annotations

from typing import Any, ClassVar, Final

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "INFO",
    "STATUSES",
    "WARNING",
    "CheckMessage",
    "Critical",
    "Debug",
    "Error",
    "Info",
    "Warning",
    "level_to_text",
]

DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
CRITICAL: Final = 50

STATUSES: Final = {
    0: "ok",
    DEBUG: "debug",
    INFO: "info",
    WARNING: "warning",
    ERROR: "error",
    CRITICAL: "critical",
}


def level_to_text(level: int) -> str:
    """Return the name of a level, ``unknown`` for one that isn't on the scale."""
    return STATUSES.get(level, "unknown")


class CheckMessage:
    """One finding of a check.

    :param msg: the text. Anyone who can reach the heartbeat can read it.
    :param level: its severity, from ``DEBUG`` to ``CRITICAL``; by default the one of the class.
    :param hint: how to fix it.
    :param obj: the object that it concerns.
    :param id: identifies this kind of message, to find or silence it.
    :raises TypeError: when the level isn't an integer, or neither the argument nor the class has
        one.

    A subclass sets its own default as a class attribute: ``level = dockerflow.checks.WARNING``.
    """

    level: int

    # What only the log gets, of messages that ready-made checks make.
    log_detail: str = ""
    log_error: BaseException | None = None

    def __init__(
        self,
        msg: str,
        level: int | None = None,
        hint: str | None = None,
        obj: Any = None,
        id: str | None = None,  # noqa: A002 - the name that apps pass
    ) -> None:
        if level is not None:
            self.level = level
        if not isinstance(getattr(self, "level", None), int):
            text = f"level must be a number such as dockerflow.checks.ERROR, not {level!r}"
            raise TypeError(text)
        self.msg = msg
        self.hint = hint
        self.obj = obj
        self.id = id

    def __eq__(self, other: object) -> bool:
        """Compare level, text, hint, object and id, of messages of the same class."""
        return isinstance(other, type(self)) and self._values() == other._values()

    def _values(self) -> tuple[object, ...]:
        return (self.level, self.msg, self.hint, self.obj, self.id)

    # Its values can change, so equal messages can't promise equal hashes.
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __str__(self) -> str:
        """Return object, id, text and hint in the form of Django's messages."""
        obj = "?" if self.obj is None else str(self.obj)
        id_ = f"({self.id}) " if self.id else ""
        hint = f"\n\tHINT: {self.hint}" if self.hint else ""
        return f"{obj}: {id_}{self.msg}{hint}"

    def __repr__(self) -> str:
        """Return every value by its name."""
        return (
            f"<{type(self).__name__}: level={self.level!r}, msg={self.msg!r}, "
            f"hint={self.hint!r}, obj={self.obj!r}, id={self.id!r}>"
        )

    def is_silenced(self) -> bool:
        """Return whether Django's settings silence this; for its ``manage.py check``."""
        from django.conf import settings

        return self.id in settings.SILENCED_SYSTEM_CHECKS

    def is_serious(self, level: int = ERROR) -> bool:
        """Return whether this is at ``level`` or above."""
        return self.level >= level


class Debug(CheckMessage):
    """Useful to developers only."""

    level = DEBUG


class Info(CheckMessage):
    """Worth knowing; nothing is wrong."""

    level = INFO


class Warning(CheckMessage):  # noqa: A001 - the name that Django's checks use too
    """Needs attention soon; the heartbeat doesn't fail."""

    level = WARNING


class Error(CheckMessage):
    """Something is broken; the heartbeat fails."""

    level = ERROR


class Critical(CheckMessage):
    """Something essential is broken; the heartbeat fails."""

    level = CRITICAL
