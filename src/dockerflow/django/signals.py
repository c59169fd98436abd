"""Sent after each heartbeat, with ``level=``, the worst level of a message."""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from django.dispatch import Signal

heartbeat_passed: Signal = Signal()
heartbeat_failed: Signal = Signal()
