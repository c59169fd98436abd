"""The same small application once per framework, for the contract and the server tests.

Each has ``/``, ``/fail`` (raises ``ValueError("100% broken")``), ``/status/500`` and ``/stream``
(three chunks); everything else is its framework's own 404.
"""

BROKEN = "100% broken"
CHUNKS = (b"one ", b"two ", b"three")
