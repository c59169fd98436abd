"""Dockerflow for Sanic."""

from dockerflow.sanic.app import Dockerflow

__all__ = ["Dockerflow"]
