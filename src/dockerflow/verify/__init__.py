"""The conformance checker: tells what an app or an image lacks of what Dockerflow asks.

:mod:`~dockerflow.verify.probes` and the modules below it look at a target and keep what they saw
(:mod:`~dockerflow.verify.evidence`), :mod:`~dockerflow.verify.rules` judges it without any I/O, and
:mod:`~dockerflow.verify.formats` says so in the format that was asked for.

Nothing is imported here: what is in this package needs the ``cli`` extra.
"""
