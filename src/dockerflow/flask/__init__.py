"""Dockerflow for Flask."""

from dockerflow.flask.app import Dockerflow

__all__ = ["Dockerflow"]
