"""The subcommands of ``dockerflow``. Nothing is imported here, so that each starts fast."""
