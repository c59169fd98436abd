"""What clients send and get, the same from every framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, HttpUrl, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

MAX_LENGTH = 2000
MAX_BODY = 16 * 1024
"""Bytes: enough for such a URL, however it is escaped. A larger body isn't read."""
_SHAPE = 'the body must be JSON such as {"url": "https://example.org/"}'
_address = TypeAdapter(HttpUrl)


def _check_url(value: Any) -> str:
    """Return the URL in ASCII, as a Location header takes it."""
    try:
        url = str(_address.validate_python(value))
    except ValidationError:
        url = ""
    if not 0 < len(url) <= MAX_LENGTH:
        raise PydanticCustomError(
            "url",
            "must be complete, begin with http:// or https:// and have at most "
            f"{MAX_LENGTH} characters",
        )
    return url


class NewLink(BaseModel):
    """What a client sends."""

    url: Annotated[str, BeforeValidator(_check_url)]


class Link(BaseModel):
    """What a client gets. There are no hits where nobody counts them, or Redis is down."""

    code: str
    short_url: str
    url: str
    hits: int | None


class Problem(BaseModel):
    """What a client gets in the place of what it asked for."""

    error: str


def explain(errors: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return what a client gets for a body that isn't a :class:`NewLink`.

    :param errors: those of pydantic, or of FastAPI with "body" before each location.
    """
    return {"error": "; ".join(map(_explain, errors))}


def _explain(error: Mapping[str, Any]) -> str:
    name = error["loc"][-1] if error["loc"] else ""
    return f"{name}: {error['msg']}" if name in NewLink.model_fields else _SHAPE
