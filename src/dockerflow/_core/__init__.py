"""The framework-independent core: it does no I/O of its own and knows no framework."""

# Raises if python-dockerflow's files have replaced ours; must run before any of them is imported.
from dockerflow._core import conflict as conflict
