"""The settings: all from the environment, and checked before anything starts."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    AnyUrl,
    Field,
    RedisDsn,
    SecretStr,
    ValidationError,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis import Redis
from redis.exceptions import RedisError

STOP_SECONDS = 20
"""How long requests may take to their end once the server stops."""

_DATABASE = "takes sqlite:///file, sqlite:////path/to/file or postgresql://user:password@host/name"
_REDIS = "takes redis://host:port/number, or rediss:// for TLS"


def _database_url(value: SecretStr) -> SecretStr:
    """Let SQLite (with a file, as threads share it) and PostgreSQL pass."""
    try:
        url = AnyUrl(value.get_secret_value())
    except ValidationError:
        raise PydanticCustomError("database_url", _DATABASE) from None
    nameless = {None, "", "/", "/:memory:"}
    is_file = url.scheme == "sqlite" and not url.host and url.path not in nameless
    is_server = url.scheme in {"postgres", "postgresql"} and bool(url.host)
    if not (is_file or is_server):
        raise PydanticCustomError("database_url", _DATABASE)
    if is_file:
        _require_writable(Path(unquote((url.path or "")[1:])))
    return value


def _require_writable(file: Path) -> None:
    """SQLite makes its file, and others next to it, but no folder."""
    folder = file.parent
    if not folder.is_dir() or file.is_dir() or not os.access(folder, os.W_OK):
        message = "names a file that can't be made: its folder must exist and be writable"
        raise PydanticCustomError("database_url", message)


def _redis_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    try:
        # Connects to nothing, but takes no options that there aren't.
        Redis.from_url(url).connection_pool.make_connection()
        is_right = re.fullmatch(r"/\d+", RedisDsn(url).path or "")
    except (RedisError, TypeError, ValueError):
        is_right = None
    if not is_right:
        raise PydanticCustomError("redis_url", _REDIS)
    return value


class Settings(BaseSettings):
    """Each field is the variable of the same name in capitals; an empty one counts as missing.

    The servers read ``FORWARDED_ALLOW_IPS`` by themselves: which proxies' ``X-Forwarded-Proto``
    they believe, so that short links begin with https. Dockerflow reads ``DOCKERFLOW_*``.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True)

    framework: Literal["fastapi", "flask", "django"] = "fastapi"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    web_concurrency: Annotated[int, Field(ge=1, le=64)] = 1
    # No default: a forgotten one would lose links in a file that goes with the container.
    database_url: Annotated[SecretStr, AfterValidator(_database_url)]
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = None

    @property
    def is_embedded(self) -> bool:
        """Whether the database is a file of this process's own, and no server."""
        return self.database_url.get_secret_value().startswith("sqlite:")


class WrongSettingsError(Exception):
    """Says in one line which variables are wrong, and what they take."""


@functools.cache
def get_settings() -> Settings:
    """Read the environment, once.

    :raises WrongSettingsError: when a variable has a value that it doesn't take.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # the environment has it
    except ValidationError as error:
        raise WrongSettingsError("; ".join(map(_explain, error.errors()))) from None


def _explain(error: Mapping[str, Any]) -> str:
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return f"{name.upper()} is missing: it {_DATABASE}"
    # What is in a URL may be a password.
    shown = "" if name.endswith("_url") else f" is {error['input']!r:.80}:"
    return f"{name.upper()}{shown} {error['msg']}"
