"""The verifier: checks apps, images and deployment files against the Dockerflow specification.

:mod:`~dockerflow.verify.probes` and the modules it imports examine the targets and keep what they
saw (:mod:`~dockerflow.verify.evidence`), :mod:`~dockerflow.verify.rules` judge it without I/O,
:mod:`~dockerflow.verify.verdicts` keep the results, and :mod:`~dockerflow.verify.formats` print
them. :mod:`~dockerflow.verify.run` puts these together.

Nothing is imported here, because the modules of this package need the ``cli`` extra.
"""
