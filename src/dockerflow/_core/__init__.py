"""The framework-independent core: it does no I/O of its own and knows no framework."""
