"""What ``dockerflow init`` finds out about a project, and the files that it writes."""
