# Memo: the callable under a cached function. It remembers the keys of earlier calls, so that a local hit is one C call:
# from the arguments to the key (a dict), from the key to the value (the store).
#
# Calls with only int and str, by position, have their own table (calls). Other calls have a dict with tuples as keys,
# if all arguments have types that compare without running foreign code and whose equality, type by type, means the same
# cache key. The tuple holds the arguments, the names of those given by keyword (a tuple, which no such argument is),
# and, if a bool or float is among the arguments (True == 1 == 1.0), or a class (which would equal a type in the tuple),
# all their types. For all other calls the cache key is made anew each time.
#
# Two generations bound both tables: when the young one is full it becomes the old one, and a call found only in the old
# one moves to the new young one. So frequent calls keep their keys, and a hit takes one lookup.

from datetime import date
from uuid import UUID

cdef enum:
    OTHER        # equality doesn't imply equal text, or comparing runs foreign code
    DISTINCT     # never equal to one of another type
    ALIKE        # may be equal to a value of another type, or to a type in the tuple
    MOST_SKIPPED = 64
    LONGEST = 1024  # str or bytes that a memo holds on to

cdef extern from *:
    """
    #define tt_is_float(o) PyFloat_CheckExact(o)
    #define tt_is_bool(o) PyBool_Check(o)
    #define tt_is_bytes(o) PyBytes_CheckExact(o)
    #define tt_is_none(o) ((o) == Py_None)
    #define tt_is_class(o) (Py_TYPE(o) == &PyType_Type)

    /* From then on calls of the type's instances pass their arguments as an array. Its subclasses are heap types, which
       Python 3.11 doesn't let inherit that: each is told once; one that overrides __call__ stays as it is. `offset`:
       where in an instance the function lies. A method is called without being bound first. */
    static void tt_call_by_vector(PyTypeObject *type, PyTypeObject *base, size_t offset) {
        if (type->tp_call == base->tp_call) {
            type->tp_vectorcall_offset = (Py_ssize_t)offset;
            type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
        }
    }
    """
    bint is_float "tt_is_float"(PyObject*) noexcept nogil
    bint is_bool "tt_is_bool"(PyObject*) noexcept nogil
    bint is_bytes "tt_is_bytes"(PyObject*) noexcept nogil
    bint is_none "tt_is_none"(PyObject*) noexcept nogil
    bint is_class "tt_is_class"(PyObject*) noexcept nogil
    Py_ssize_t PyBytes_GET_SIZE(PyObject*) noexcept nogil
    void call_by_vector "tt_call_by_vector"(PyTypeObject*, PyTypeObject*, size_t) noexcept
    Py_ssize_t PyVectorcall_NARGS(size_t) noexcept nogil
    object PyVectorcall_Call(object, object, object)
    PyObject* PyDict_GetItemWithError(dict, PyObject*) except? NULL
    double PyFloat_AS_DOUBLE(PyObject*) noexcept nogil


@cython.no_gc_clear
cdef class Memo:
    """Base of a cached function: a local hit is one C call; `_key` and `_load` of the subclass do the rest."""

    cdef void* vectorcall
    cdef Table* t
    cdef Store store
    cdef Calls young_calls, old_calls
    cdef dict young, old
    cdef Py_ssize_t limit
    cdef uint64_t skipped
    cdef uint64_t hits
    cdef bint awaited, direct

    def __cinit__(self):
        self.vectorcall = <void*> memo_call

    def __init__(self, Store store not None, *, skipped=(), limit=16_384, awaited=False, direct=True):
        cdef uint64_t mask = 0
        cdef bint awaited_ = awaited, direct_ = direct
        if type(limit) is not int or limit < 1:
            raise ValueError(f"limit must be an int >= 1, got {limit!r}")
        for position in skipped:
            if type(position) is int and 0 <= position < MOST_SKIPPED:
                mask |= <uint64_t> 1 << <int> position
        if self.store is not None:
            raise RuntimeError("a Memo can be initialised only once; create another one")
        self.skipped = mask
        self.limit = limit
        self.awaited = awaited_
        self.direct = direct_
        self.young = {}
        self.old = {}
        self.store = store
        self.t = &self.store.t
        call_by_vector(<PyTypeObject*> Py_TYPE_of(<PyObject*> self), <PyTypeObject*> Memo, memo_offset)

    def __dealloc__(self):
        calls_clear(&self.young_calls)
        calls_clear(&self.old_calls)

    def __call__(self, *args, **kwargs):
        return PyVectorcall_Call(self, args, kwargs)

    @property
    def local_hits(self):
        """Number of calls that this process's local tier has answered."""
        return self.hits

    def _key(self, args, kwargs):
        """Return the cache key of a call; subclasses override it."""
        raise NotImplementedError

    def _load(self, key, args, kwargs):
        """Answer a call that the local tier couldn't; subclasses override it."""
        raise NotImplementedError

    cdef inline bint skips(self, Py_ssize_t position) noexcept:
        return position < MOST_SKIPPED and self.skipped >> position & 1


cdef inline int sort_of(PyObject* argument) noexcept nogil:
    # How an argument tells calls apart.
    cdef double number
    if is_str(argument):
        return DISTINCT if str_length(argument) <= LONGEST else OTHER
    if is_int(argument) or is_none(argument):
        return DISTINCT
    if is_bytes(argument):
        return DISTINCT if PyBytes_GET_SIZE(argument) <= LONGEST else OTHER
    if is_bool(argument) or is_class(argument):
        return ALIKE
    if is_float(argument):
        number = PyFloat_AS_DOUBLE(argument)
        # 0.0 equals -0.0, and NaN nothing.
        return ALIKE if number < 0 or number > 0 else OTHER
    if Py_TYPE_of(argument) == DATE or Py_TYPE_of(argument) == UUID_TYPE:
        return DISTINCT
    return OTHER


cdef tuple call_of(Memo self, PyObject** args, Py_ssize_t count, Py_ssize_t named, PyObject* names):
    # A tuple that equals another call's only if both have one key; None if comparison can't show that.
    cdef Py_ssize_t size = named + (named != 0), n, at = 0
    cdef int sort, all_sorts = DISTINCT
    cdef tuple call
    for n in range(count + named):
        if n < count and self.skips(n):
            continue
        sort = sort_of(args[n])
        if sort == OTHER:
            return None
        all_sorts |= sort
        size += n < count
    if all_sorts & ALIKE:
        size += size - (named != 0)
    call = PyTuple_New(size)
    for n in range(count + named):
        if n == count:
            at = put_at(call, at, names)
        if n >= count or not self.skips(n):
            at = put_at(call, at, args[n])
    if all_sorts & ALIKE:
        for n in range(count + named):
            if n >= count or not self.skips(n):
                at = put_at(call, at, Py_TYPE_of(args[n]))
    return call


cdef inline Py_ssize_t put_at(tuple call, Py_ssize_t at, PyObject* item) noexcept:
    Py_INCREF(<object> item)
    PyTuple_SET_ITEM(call, at, item)
    return at + 1


cdef object memo_call(PyObject* memo, PyObject** args, size_t flagged, PyObject* names):
    # Answer a call: the vectorcall of a Memo.
    cdef Memo self = <Memo> memo
    cdef Py_ssize_t count = PyVectorcall_NARGS(flagged), counted = 0, n
    cdef uint64_t hash_ = 0
    cdef PyObject* found
    cdef object key, value
    if unlikely(self.t == NULL):
        raise RuntimeError("super().__init__() was not called")
    if unlikely(names != NULL or count > MOST_SKIPPED):
        counted = -1
    else:
        for n in range(count):
            if self.skipped >> n & 1:
                continue
            if not (str_length(args[n]) <= LONGEST if is_str(args[n]) else is_int(args[n])):
                counted = -1
                break
            if counted:
                hash_ = mix64(hash_ + self.t.salt)
            hash_ ^= argument_hash(args[n])
            counted += 1
    if unlikely(counted < 0):
        key = memo_key(self, args, count, names)
    else:
        found = calls_find(&self.young_calls, self.t.multiplier, hash_, args, count, self.skipped, counted)
        key = <object> found if likely(found != NULL) else memo_key_of_plain(self, hash_, args, count, counted)
    if likely(self.direct):
        value = memo_hit(self, <PyObject*> key)
        if likely(value is not MISSING):
            return value if likely(not self.awaited) else ready(value)
    positional, named = as_python(args, count, names)
    return self._load(key, positional, named)


cdef inline object memo_hit(Memo self, PyObject* key):
    # The fresh value under a key, MISSING without one; as Store.get.
    cdef uint32_t i = find_fresh(self.t, key)
    cdef object value
    if unlikely(i == NONE):
        self.t.misses += 1
        return MISSING
    policy_hit(self.t, i)
    if likely(not self.t.entries[i].meta & KIND):
        self.t.hits += 1
        value = <object> self.t.entries[i].value
    else:
        value = rebuilt_hit(self.store, i, MISSING)
    self.hits += value is not MISSING
    return value


cdef object memo_key_of_plain(Memo self, uint64_t hash_, PyObject** args, Py_ssize_t count, Py_ssize_t counted):
    # The key of a call of int and str alone that the young generation doesn't know; it does afterwards.
    cdef PyObject* found = calls_find(
        &self.old_calls, self.t.multiplier, hash_, args, count, self.skipped, counted
    )
    cdef object key = <object> found if found != NULL else memo_new_key(self, args, count, NULL)
    cdef Py_ssize_t n, at = 0
    cdef object call
    if counted == 1:
        for n in range(count):
            if not self.skips(n):
                call = <object> args[n]
    else:
        call = PyTuple_New(counted)
        for n in range(count):
            if not self.skips(n):
                at = put_at(call, at, args[n])
    memo_age(self)
    # Another thread may have entered it meanwhile: a second entry does no harm.
    calls_add(&self.young_calls, self.t.multiplier, hash_, call, key)
    return key


cdef object memo_key(Memo self, PyObject** args, Py_ssize_t count, PyObject* names):
    # The key of any other call.
    cdef tuple call = None
    cdef dict young
    cdef PyObject* found
    cdef object key
    if count <= MOST_SKIPPED:
        call = call_of(self, args, count, 0 if names == NULL else PyTuple_GET_SIZE(<object> names), names)
    if call is None:
        return memo_new_key(self, args, count, names)
    young = self.young  # held: comparing may let others run, who replace it
    found = PyDict_GetItemWithError(young, <PyObject*> call)
    if likely(found != NULL):
        return <object> found
    key = self.old.get(call)
    if key is None:
        key = memo_new_key(self, args, count, names)
    memo_age(self)
    self.young[call] = key
    return key


cdef object memo_new_key(Memo self, PyObject** args, Py_ssize_t count, PyObject* names):
    positional, named = as_python(args, count, names)
    key = self._key(positional, named)
    if type(key) is not str:
        raise TypeError(f"_key must return a str, got {key!r}")
    return key


cdef int memo_age(Memo self) except -1:
    # Make sure that the young generation has room for one more call.
    cdef Calls gone
    if <Py_ssize_t> self.young_calls.count + len(self.young) < self.limit:
        return 0
    gone = self.old_calls
    self.old_calls = self.young_calls
    memset(&self.young_calls, 0, sizeof(Calls))
    calls_clear(&gone)
    self.old = self.young
    self.young = {}
    return 0


cdef object as_python(PyObject** args, Py_ssize_t count, PyObject* names):
    # The arguments as `*args, **kwargs` have them.
    cdef dict named = {}
    cdef tuple positional = PyTuple_New(count)  # filled before anything else is made, which could show it to others
    cdef Py_ssize_t n
    for n in range(count):
        put_at(positional, n, args[n])
    if names != NULL:
        for n in range(PyTuple_GET_SIZE(<object> names)):
            named[<object> PyTuple_GET_ITEM(<object> names, n)] = <object> args[count + n]
    return positional, named


cdef size_t memo_offset
cdef PyObject* DATE = <PyObject*> date
cdef PyObject* UUID_TYPE = <PyObject*> UUID


cdef void learn_offset() except *:
    # Where in a Memo its function lies.
    global memo_offset
    cdef Memo memo = Memo.__new__(Memo)
    memo_offset = <size_t> &memo.vectorcall - <size_t> <PyObject*> memo
    call_by_vector(<PyTypeObject*> Memo, <PyTypeObject*> Memo, memo_offset)


learn_offset()
