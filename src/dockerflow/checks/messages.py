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

    :param msg: the text for people. Anybody who can reach the heartbeat may read it.
    :param level: its severity, from ``DEBUG`` to ``CRITICAL``; a subclass has a default.
    :param hint: how to fix it.
    :param obj: the object that it concerns.
    :param id: identifies this kind of message, to find or silence it.
    :raises TypeError: when the level isn't an integer.
    """

    default_level: ClassVar[int | None] = None

    def __init__(
        self,
        msg: str,
        level: int | None = None,
        hint: str | None = None,
        obj: Any = None,
        id: str | None = None,  # noqa: A002 - the name that apps pass
    ) -> None:
        if level is None:
            level = self.default_level
        if not isinstance(level, int):
            text = f"level is {level!r}, but takes a number such as dockerflow.checks.ERROR"
            raise TypeError(text)
        self.msg = msg
        self.level: int = level
        self.hint = hint
        self.obj = obj
        self.id = id

    def __eq__(self, other: object) -> bool:
        """Compare the values, of messages of the same class."""
        return isinstance(other, type(self)) and vars(self) == vars(other)

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


class _Leveled(CheckMessage):
    """A message whose class determines its level."""

    def __init__(
        self,
        msg: str,
        hint: str | None = None,
        obj: Any = None,
        id: str | None = None,  # noqa: A002 - the name that apps pass
    ) -> None:
        super().__init__(msg, None, hint, obj, id)


class Debug(_Leveled):
    """Useful to developers only."""

    default_level: ClassVar[int | None] = DEBUG


class Info(_Leveled):
    """Worth knowing; nothing is wrong."""

    default_level: ClassVar[int | None] = INFO


class Warning(_Leveled):  # noqa: A001 - the name that Django's checks use too
    """Needs attention soon; the heartbeat doesn't fail."""

    default_level: ClassVar[int | None] = WARNING


class Error(_Leveled):
    """Something is broken; the heartbeat fails."""

    default_level: ClassVar[int | None] = ERROR


class Critical(_Leveled):
    """Something essential is broken; the heartbeat fails."""

    default_level: ClassVar[int | None] = CRITICAL
