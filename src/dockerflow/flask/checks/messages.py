"""The messages of checks; the same as in :mod:`dockerflow.checks`."""

import dockerflow.checks.messages as _messages
from dockerflow.checks.messages import *  # noqa: F403

__all__: list[str] = []
__all__ += _messages.__all__
