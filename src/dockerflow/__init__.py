"""Dockerflow for any Python web app: health checks, version, request IDs and mozlog.

Nothing is imported here but the version, so that an app pays only for the parts it uses:
:mod:`dockerflow.asgi`, :mod:`dockerflow.wsgi`, :mod:`dockerflow.checks`, :mod:`dockerflow.logging`.
"""

__version__ = "0.1.0"
