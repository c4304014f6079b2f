# The plain format as Python sees it: `PlainFormat`, whose twin is twotier/codec/_fallback.py.

@cython.final
@cython.auto_pickle(False)
cdef class PlainFormat:
    """Plain data as bytes and back. Threads may share it."""

    cdef object allowed
    cdef int64_t longest
    cdef dict builders_by_type
    cdef tuple builders
    cdef tuple factories

    def __cinit__(self, allowed, longest):
        # Late, since twotier.codec imports this module.
        from twotier.codec.builders import BUILDERS, BY_TYPE, FACTORIES
        self.allowed = allowed
        self.longest = longest
        self.builders = BUILDERS
        self.builders_by_type = BY_TYPE
        self.factories = FACTORIES

    def encode(self, value):
        """Return the bytes of `value`."""
        try:
            return plain_bytes(self, value)
        except SerializationError:
            raise
        except Exception as error:
            raise SerializationError(f"a value of type {type_name(value)} can't be stored: {error}") from error

    def decode(self, payload):
        """Return the value of `payload`."""
        try:
            return plain_value(self, <bytes?> payload)
        except SerializationError:
            raise
        except Exception as error:
            raise SerializationError(f"the payload can't be decoded ({type(error).__name__})") from None
