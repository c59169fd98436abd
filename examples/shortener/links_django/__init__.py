"""The shortener by Django. ``FRAMEWORK=django python -m links serve`` runs it."""
