# An awaitable of a result that is already known: `await cache.get(key)` on a local hit makes no coroutine and enters
# no event loop. It has all methods of a coroutine, so that a task can be made of it as well.

from cpython.exc cimport PyErr_SetString

cdef extern from *:
    """
    static void tt_set_send(PyObject *type, sendfunc send) { ((PyTypeObject *)type)->tp_as_async->am_send = send; }
    """
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
    ctypedef PySendResult (*sendfunc)(PyObject*, PyObject*, PyObject**) noexcept
    void set_send "tt_set_send"(object type, sendfunc send)


cdef const char* REUSED = "cannot reuse already awaited coroutine"


@cython.final
@cython.auto_pickle(False)
@cython.freelist(64)
cdef class _Ready:
    """An awaitable whose result is already known."""

    cdef object value
    cdef bint taken

    def __await__(self):
        return self

    def __next__(self):
        raise StopIteration(take_ready(self))

    def send(self, value, /):
        """Return the result by StopIteration, as a coroutine does."""
        raise StopIteration(take_ready(self))

    def throw(self, kind, value=None, traceback=None, /):
        """Raise the given exception: no code here could handle it."""
        self.close()
        if isinstance(kind, BaseException):
            raise kind
        if isinstance(value, BaseException):
            raise value.with_traceback(traceback)
        raise (kind() if value is None else kind(value)).with_traceback(traceback)

    def __reduce__(self):
        raise TypeError("an awaitable result can't be copied or pickled")

    def close(self):
        """Release the result."""
        self.taken = True
        self.value = None


cdef object take_ready(_Ready self):
    cdef object value = self.value
    if self.taken:
        raise RuntimeError(REUSED.decode())
    self.taken = True
    self.value = None
    return value


# `await` and tasks ask this slot first, which needs no StopIteration; Cython has no name for it.
cdef PySendResult ready_send(PyObject* self, PyObject* sent, PyObject** result) noexcept:
    cdef _Ready of = <_Ready> self
    if unlikely(of.taken):
        PyErr_SetString(RuntimeError, REUSED)
        result[0] = NULL
        return PYGEN_ERROR
    of.taken = True
    result[0] = new_reference(<PyObject*> of.value)
    of.value = None
    return PYGEN_RETURN


set_send(_Ready, ready_send)
