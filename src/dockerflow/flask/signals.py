"""Signals that a heartbeat sends: the sender is the extension, ``level`` the overall level."""

from blinker import NamedSignal, Namespace

_signals = Namespace()

heartbeat_passed: NamedSignal = _signals.signal("heartbeat_passed")
heartbeat_failed: NamedSignal = _signals.signal("heartbeat_failed")
