"""Settings of the project that the WSGI tests serve; where its cache and database are comes from the environment."""

import os

SECRET_KEY = "for tests alone"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "project.urls"
INSTALLED_APPS = ["django.contrib.sessions"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["PROJECT_DATABASE"]}}
CACHES = {
    "default": {
        "BACKEND": "twotier.django.TwoTierCache",
        "LOCATION": os.environ["PROJECT_CACHE"],
        "TIMEOUT": 600,
        "OPTIONS": {"namespace": "project"},
    },
    "pages": {
        "BACKEND": "twotier.django.TwoTierCache",
        "LOCATION": os.environ["PROJECT_CACHE"],
        "KEY_PREFIX": "pages",
        "OPTIONS": {"namespace": "project"},
    },
}
