"""Signals that a heartbeat sends: the sender is the extension, ``level`` the overall level."""

from blinker import Namespace

_signals = Namespace()

heartbeat_passed = _signals.signal("heartbeat_passed")
heartbeat_failed = _signals.signal("heartbeat_failed")
