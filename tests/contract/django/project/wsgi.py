"""The project's application; loaded before the workers are forked, with the cache in use by then."""

# ruff: noqa: E402 - what needs Django to be set up is imported after that

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django

django.setup()

from django.core.cache import cache
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections

call_command("migrate", verbosity=0)
connections.close_all()
cache.set("preloaded", os.getpid())

application = get_wsgi_application()
