"""Signals that a heartbeat sends: the sender is the extension, ``level`` the overall level."""

from blinker import NamedSignal, Namespace

dockerflow_signals: Namespace = Namespace()

heartbeat_passed: NamedSignal = dockerflow_signals.signal("heartbeat-passed")
heartbeat_failed: NamedSignal = dockerflow_signals.signal("heartbeat-failed")
