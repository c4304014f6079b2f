"""Masking of the secrets in URLs, for logs and errors."""

import re


def masked(url: str) -> str:
    """Return `url` without user, password and query, however malformed it is.

    >>> masked("redis://user:p@ss/word@host:6379/0?password=secret")
    'redis://***@host:6379/0?***'
    """
    shown = re.sub(r"(?s)://.*@", "://***@", url)
    shown = re.sub(r"(?s)[?#].*", "?***", shown)
    return shown if "://" in shown else "***"
