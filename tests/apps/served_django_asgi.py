"""Django's ASGI application, with the settings of served_django.py."""

from django.core.asgi import get_asgi_application

asgi = get_asgi_application()
