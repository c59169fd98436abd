"""What gunicorn serves."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from servestatic import ServeStatic

from links import assets

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "links_django.settings")
# Around Django and not within it: ServeStatic's middleware for Django is async. So only here assets
# have no request ids and summaries.
application = ServeStatic(get_wsgi_application(), **assets.options())
