"""Sent after each heartbeat, with ``level=``, the worst level of a message."""

# Django has no types of its own.
# pyright: basic, reportMissingTypeStubs=false

from django.dispatch import Signal

heartbeat_passed: Signal = Signal()
heartbeat_failed: Signal = Signal()
