"""Sent after each heartbeat, with ``level=``, the worst level of a message."""

from django.dispatch import Signal

heartbeat_passed = Signal()
heartbeat_failed = Signal()
