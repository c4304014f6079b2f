"""The backend's own exception."""

import pickle

from twotier.errors import SerializationError


class UncacheableError(SerializationError, pickle.PicklingError):
    """A value that can't be pickled, or is larger than `max_value_bytes`.

    It is a `pickle.PickleError` as well, which code written for Django's own backends catches.
    """
