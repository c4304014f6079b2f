# Calls: a table from calls to keys, for a Memo. It takes the most frequent kind of call: positional arguments, all of
# them exact int or str. A lookup reads the arguments in the caller's array: it makes no tuple and runs no foreign code,
# so no other code can change the table meanwhile.
#
# Open addressing with linear probing, at most half full; nothing is ever removed but all at once. A call is kept as its
# lone argument or as a tuple of them, with its hash: of 24 bytes a slot, one is looked at by most lookups.

cdef enum:
    FEWEST_SLOTS = 16

cdef struct Call:
    uint64_t hash
    PyObject* arguments  # an int or str, or a tuple of any other number of them; NULL: free
    PyObject* key

cdef struct Calls:
    Call* slots          # NULL before the first call
    uint32_t mask        # slots - 1
    uint32_t shift       # 64 - log2(slots)
    uint32_t count

cdef extern from *:
    """
    #define tt_is_int(o) PyLong_CheckExact(o)
    #define tt_str_length(o) PyUnicode_GET_LENGTH(o)
    """
    bint is_int "tt_is_int"(PyObject*) noexcept nogil
    Py_ssize_t str_length "tt_str_length"(PyObject*) noexcept nogil
    # Of exact ints and strs, these can't fail.
    long long PyLong_AsLongLongAndOverflow(PyObject*, int*) noexcept
    bint same_int "PyObject_RichCompareBool"(PyObject*, PyObject*, int) noexcept
    Py_ssize_t hash_object "PyObject_Hash"(PyObject*) noexcept
    tuple PyTuple_New(Py_ssize_t)
    void PyTuple_SET_ITEM(tuple, Py_ssize_t, PyObject*) noexcept


cdef inline uint64_t argument_hash(PyObject* argument) noexcept:
    # An int's own value, or a str's hash.
    cdef int overflow = 0
    cdef long long number
    if is_str(argument):
        return <uint64_t> (str_hash(argument) if str_hash(argument) != -1 else hash_object(argument))
    number = PyLong_AsLongLongAndOverflow(argument, &overflow)
    return <uint64_t> (number if not overflow else hash_object(argument))


cdef inline bint same_argument(PyObject* one, PyObject* other) noexcept:
    if one == other:
        return True
    if is_str(one):
        return is_str(other) and str_hash(one) == str_hash(other) and same_str(one, other)
    return is_int(other) and same_int(one, other, Py_EQ)


cdef inline bint same_call(
    PyObject* known, PyObject** args, Py_ssize_t count, uint64_t skipped, Py_ssize_t counted
) noexcept:
    cdef Py_ssize_t n, at = 0
    if is_int(known) or is_str(known):
        for n in range(count):
            if not skipped >> n & 1:
                return counted == 1 and same_argument(known, args[n])
        return False
    if PyTuple_GET_SIZE(<object> known) != counted:
        return False
    for n in range(count):
        if not skipped >> n & 1:
            if not same_argument(PyTuple_GET_ITEM(<object> known, at), args[n]):
                return False
            at += 1
    return True


cdef inline PyObject* calls_find(
    Calls* calls, uint64_t multiplier, uint64_t hash_, PyObject** args, Py_ssize_t count, uint64_t skipped,
    Py_ssize_t counted
) noexcept:
    # The key of a call (borrowed), NULL without one.
    cdef Call* slot
    cdef uint32_t at
    if unlikely(calls.slots == NULL):
        return NULL
    at = <uint32_t> (hash_ * multiplier >> calls.shift)
    while True:
        slot = &calls.slots[at]
        if slot.arguments == NULL:
            return NULL
        if slot.hash == hash_ and same_call(slot.arguments, args, count, skipped, counted):
            return slot.key
        at = (at + 1) & calls.mask


cdef inline void calls_enter(Calls* calls, uint64_t multiplier, Call* call) noexcept nogil:
    cdef uint32_t at = <uint32_t> (call.hash * multiplier >> calls.shift)
    while calls.slots[at].arguments != NULL:
        at = (at + 1) & calls.mask
    calls.slots[at] = call[0]


cdef bint calls_add(Calls* calls, uint64_t multiplier, uint64_t hash_, object arguments, str key) except False:
    # Enter a call that isn't there yet.
    cdef Call call
    cdef Calls grown
    cdef uint32_t at, size = calls.mask + 1 if calls.slots != NULL else 0
    if 2 * calls.count >= size:
        grown.mask = (2 * size if size else FEWEST_SLOTS) - 1
        grown.shift = 64 - highest(grown.mask + 1)
        grown.count = calls.count
        grown.slots = <Call*> calloc(grown.mask + 1, sizeof(Call))
        if grown.slots == NULL:
            raise MemoryError
        for at in range(size):
            if calls.slots[at].arguments != NULL:
                calls_enter(&grown, multiplier, &calls.slots[at])
        free(calls.slots)
        calls[0] = grown
    Py_INCREF(arguments)
    Py_INCREF(key)
    call.hash = hash_
    call.arguments = <PyObject*> arguments
    call.key = <PyObject*> key
    calls_enter(calls, multiplier, &call)
    calls.count += 1
    return True


cdef void calls_clear(Calls* calls) noexcept:
    # Forget every call. No foreign code runs: all arguments are int, str or tuples of these.
    cdef Call* slots = calls.slots
    cdef uint32_t at, size = calls.mask + 1
    calls.slots = NULL
    calls.count = 0
    if slots == NULL:
        return
    for at in range(size):
        Py_XDECREF(slots[at].arguments)
        Py_XDECREF(slots[at].key)
    free(slots)
