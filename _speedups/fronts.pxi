# The thin callers of a store. A hit is one C call. They reach the table through a pointer that is valid while they hold
# the store, so the garbage collector doesn't clear the store from them (the store itself breaks cycles).

from libc.math cimport llrint

from twotier.options import DEFAULT_TTL, ttl_ns

cdef enum:
    MOST_SECONDS = 3_155_760_000  # as checking.MOST_SECONDS


@cython.no_gc_clear
cdef class Front:
    """Base of a cache's face: a local hit is one C call, and everything else goes to `_missed`."""

    cdef Table* t
    cdef Store store

    def __init__(self, Store store not None):
        if self.store is not None:
            raise RuntimeError("a Front is made with its store once; make another one")
        self.store = store
        self.t = &store.t

    def get(self, key, default=None):
        """Return the value under `key`, or `default` without one; a fresh local value is returned at once."""
        cdef PyObject* found = local_hit(self.t, self.store, <PyObject*> key)
        if likely(found != NULL):
            return given(found)
        return self._missed(key, default)

    def _missed(self, key, default):
        """Answer a local miss; subclasses override it."""
        return default


@cython.no_gc_clear
cdef class AsyncFront:
    """Base of a cache's asynchronous face: a local hit awaits nothing, and everything else goes to `_missed`."""

    cdef Table* t
    cdef Store store

    def __init__(self, Store store not None):
        if self.store is not None:
            raise RuntimeError("an AsyncFront is made with its store once; make another one")
        self.store = store
        self.t = &store.t

    def get(self, key, default=None):
        """Return the value under `key`, or `default` if there is none, to be awaited."""
        cdef PyObject* found = local_hit(self.t, self.store, <PyObject*> key)
        if likely(found != NULL):
            return ready(given(found))
        return self._missed(key, default)

    def _missed(self, key, default):
        """Answer a local miss, to be awaited; subclasses override it."""
        return ready(default)


cdef inline PyObject* local_hit(Table* t, Store store, PyObject* key) except? NULL:
    # A new reference to the caller's value for a hit (`given` makes an object of it); NULL for a miss.
    cdef uint32_t i
    cdef object value
    if unlikely(not is_str(key) or t == NULL):
        return NULL
    i = find_fresh(t, key)
    if unlikely(i == NONE):
        t.misses += 1
        return NULL
    policy_hit(t, i)
    if likely(not t.entries[i].meta & KIND):
        t.hits += 1
        return new_reference(t.entries[i].value)
    value = rebuilt_hit(store, i, MISSING)
    if value is MISSING:
        return NULL
    return new_reference(<PyObject*> value)


cdef inline object ready(object value):
    cdef _Ready result = _Ready.__new__(_Ready)
    result.value = value
    return result


cdef int64_t span_of(object ttl, int64_t default) except -1:
    # A caller's ttl (s) in ns; NEVER for None.
    cdef double seconds
    if ttl is DEFAULT_TTL:
        return default
    if ttl is None:
        return NEVER
    if type(ttl) is float:
        seconds = ttl
        if 0 <= seconds < MOST_SECONDS:
            return llrint(seconds * 1e9)
    elif type(ttl) is int and 0 <= ttl < MOST_SECONDS:
        return <int64_t> ttl * 1_000_000_000
    return ttl_ns(ttl)


cdef inline int check_self(PyObject* self, str method) except -1:
    # Check the type of `self`, as Cython doesn't for a method with `binding`: a function may be called on any object.
    if unlikely(not is_subtype(<PyTypeObject*> Py_TYPE_of(self), <PyTypeObject*> LocalFront)):
        raise TypeError(f"LocalFront.{method} needs a LocalFront, got a {Py_TYPE_name(self).decode()}")
    return 0


@cython.no_gc_clear
cdef class LocalFront:
    """Base of LocalCache: the most frequent operations, each one C call. A ttl is in seconds."""

    cdef Table* t
    cdef Store _store
    cdef int64_t span

    def __init__(self, Store store not None, ttl=None):
        if self._store is not None:
            raise RuntimeError("a LocalFront is made with its store once; make another one")
        self.span = span_of(ttl, NEVER)
        self._store = store
        self.t = &store.t

    @property
    def store(self):
        """The store behind this front."""
        return self._store

    @cython.binding(True)  # a default that no text signature can name
    def expiry(self, ttl=DEFAULT_TTL):
        """Return the instant at which a value set now for `ttl` seconds expires (ns; NEVER)."""
        cdef int64_t span
        check_self(<PyObject*> self, "expiry")
        span = span_of(ttl, self.span)
        return NEVER if span == NEVER else later(instant(self.table()), span)

    def get(self, key, default=None):
        """Return the value under `key`, or `default`."""
        cdef Table* t = self.table()
        cdef uint32_t i = find_fresh(t, <PyObject*> key)
        if i == NONE:
            t.misses += 1
            return default
        policy_hit(t, i)
        if likely(not t.entries[i].meta & KIND):
            t.hits += 1
            return <object> t.entries[i].value
        return rebuilt_hit(self._store, i, default)

    def __getitem__(self, key):
        cdef Table* t = self.table()
        cdef uint32_t i = find_fresh(t, <PyObject*> key)
        cdef object value
        if unlikely(i == NONE):
            t.misses += 1
            raise KeyError(key)
        policy_hit(t, i)
        if likely(not t.entries[i].meta & KIND):
            t.hits += 1
            return <object> t.entries[i].value
        value = rebuilt_hit(self._store, i, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __contains__(self, key):
        return find_fresh(self.table(), <PyObject*> key) != NONE

    def __len__(self):
        return self.table().count

    @cython.binding(True)  # as above
    def set(self, key, value, ttl=DEFAULT_TTL):
        """Put `value` for `ttl` seconds: None for no expiry, 0 stores nothing and deletes."""
        check_self(<PyObject*> self, "set")
        self.put(key, value, span_of(ttl, self.span))

    def __setitem__(self, key, value):
        self.put(key, value, self.span)

    def __delitem__(self, key):
        self.table()
        if not self._store.discard(key):
            raise KeyError(key)

    @cython.binding(True)  # as above
    def pop(self, key, default=MISSING):
        """Remove `key` and return its value; without one, return `default`, or raise KeyError if none was given."""
        cdef object value
        check_self(<PyObject*> self, "pop")
        self.table()
        value = pop_key(self._store, <PyObject*> key)
        if value is not MISSING:
            return value
        if default is MISSING:
            raise KeyError(key)
        return default

    def popitem(self):
        """Remove and return some item; KeyError if there is none."""
        cdef tuple item
        self.table()
        item = pop_some(self._store)
        if item is None:
            raise KeyError(f"popitem from an empty {type(self).__name__}")
        return item

    def setdefault(self, key, default=None):
        """Return the value under `key`; without one, put `default` and return it."""
        self.table()
        return find_or_put(self._store, <PyObject*> key, default, self.span)

    @cython.final
    cdef inline Table* table(self) except NULL:
        if unlikely(self.t == NULL):
            raise RuntimeError("super().__init__() was not called")
        return self.t

    @cython.final
    cdef inline int put(self, object key, object value, int64_t span) except -1:
        cdef Table* t = self.table()
        cdef int64_t now_
        cdef Made made
        if span == NEVER and takes_plain(t) and put_plain(t, <PyObject*> key, value):
            return 0
        now_ = instant(t) if span != NEVER or t.wheel != NULL else 0
        made = made_for(0, later(now_, span), 0)
        self._store.put_now(<PyObject*> key, value, None, &made, now_)
        return 0
