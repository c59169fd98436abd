"""Dockerflow for Django: ``dockerflow.django`` in ``INSTALLED_APPS`` and the middleware, first.

.. versionadded:: 0.1.0
"""
