"""What the backend raises of its own."""

import pickle

from twotier.errors import SerializationError


class UncacheableError(SerializationError, pickle.PicklingError):
    """A value that can't be pickled, or is larger than `max_value_bytes`.

    It is a `pickle.PickleError` as well, since that is what code written for Django's own backends catches.
    """
