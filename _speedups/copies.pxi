# The copy rule: what may be handed out by reference, what is copied, what is rebuilt. (twotier/local/_copies.py says it
# in Python, with the list of immutable types.)
#
# A value is judged once, when it comes in: immutables go by reference; trees of exact list, dict, set (and tuples with
# such inside) are copied in and out; anything else is kept as its encoded bytes. The judgement also tells whether some
# container is in the tree twice, or in itself: only then does a copy need a memo. A stored tree is the store's own, so
# the judgement stays true.

cdef frozenset IMMUTABLE_TYPES = frozenset()
cdef object ENUM_META = type

cdef extern from "Python.h":
    PyObject* Py_TYPE_of "(PyObject *) Py_TYPE"(PyObject*) noexcept nogil
    bint is_subtype "PyType_IsSubtype"(PyTypeObject*, PyTypeObject*) noexcept nogil
    int Py_EnterRecursiveCall(const char*)
    void Py_LeaveRecursiveCall()


cdef void learn_immutable_types() except *:
    # Late, since importing twotier.local imports this module.
    global IMMUTABLE_TYPES, ENUM_META
    from enum import EnumMeta
    from twotier.local._copies import IMMUTABLE_TYPES as types
    IMMUTABLE_TYPES = types
    ENUM_META = EnumMeta


cdef inline int go_deeper(const char* where) except -1:
    # What CPython returns on failure differs between its versions: anything but 0.
    return -1 if Py_EnterRecursiveCall(where) else 0


cdef inline bint is_container(object value) noexcept:
    cdef object kind = type(value)
    return kind is list or kind is dict or kind is tuple or kind is set or kind is frozenset


cdef class _Judge:
    # One judgement of one value: the containers seen, and whether one was seen twice.
    cdef PyObject* few[16]
    cdef int count
    cdef bint twice
    cdef set more

    cdef bint is_new(self, object container) except -1:
        cdef int i
        cdef PyObject* address = <PyObject*> container
        for i in range(self.count):
            if self.few[i] == address:
                self.twice = True
                return False
        if self.count < 16:
            self.few[self.count] = address
            self.count += 1
            return True
        if self.more is None:
            self.more = set()
        number = <size_t> address
        if number in self.more:
            self.twice = True
            return False
        self.more.add(number)
        return True

    cdef uint32_t judge(self, object value) except 0xFF:
        cdef object kind = type(value), item, key
        cdef uint32_t most, found
        if kind is str or kind is int or kind is float or kind is bool or value is None or kind is bytes:
            return BY_REFERENCE
        if not is_container(value):
            if PySet_Contains(IMMUTABLE_TYPES, kind):
                return BY_REFERENCE
            if is_subtype(<PyTypeObject*> Py_TYPE_of(<PyObject*> kind), <PyTypeObject*> ENUM_META):
                return BY_REFERENCE
            return ENCODED
        if (kind is tuple or kind is frozenset) and len(value) == 0:
            return BY_REFERENCE  # CPython shares the empty ones
        if not self.is_new(value):
            return BY_REFERENCE  # where it was seen first, it is judged
        go_deeper(" while judging whether a value may be shared")
        try:
            if kind is dict:
                most = TREE
                for key, item in (<dict> value).items():
                    found = self.judge(key)
                    if found != BY_REFERENCE:
                        return ENCODED
                    found = self.judge(item)
                    if found == ENCODED:
                        return ENCODED
            elif kind is list:
                most = TREE
                for item in <list> value:
                    if self.judge(item) == ENCODED:
                        return ENCODED
            elif kind is tuple:
                most = BY_REFERENCE
                for item in <tuple> value:
                    found = self.judge(item)
                    if found == ENCODED:
                        return ENCODED
                    if found > most:
                        most = found
            else:
                most = TREE if kind is set else BY_REFERENCE
                for item in value:
                    if self.judge(item) != BY_REFERENCE:
                        return ENCODED
            return most
        finally:
            Py_LeaveRecursiveCall()


cdef uint32_t judged(object value) except 0xFF:
    # How the value may be kept: BY_REFERENCE, TREE, SHARED_TREE or ENCODED.
    cdef object kind = type(value)
    cdef uint32_t found
    cdef _Judge judge
    if kind is str or kind is int or kind is float or kind is bool or value is None or kind is bytes:
        return BY_REFERENCE
    judge = _Judge.__new__(_Judge)
    found = judge.judge(value)
    return SHARED_TREE if found == TREE and judge.twice else found


cdef inline bint is_copied(PyObject* value) noexcept:
    # Whether copying the value can give another object.
    cdef PyObject* kind = Py_TYPE_of(value)
    return kind == <PyObject*> dict or kind == <PyObject*> list or kind == <PyObject*> tuple or kind == <PyObject*> set


cdef object copied(object value, dict memo):
    # A copy of a tree: new containers, the same leaves. `memo` is None for a tree without sharing.
    cdef object kind = type(value), result, number, item
    cdef PyObject* k
    cdef PyObject* v
    cdef Py_ssize_t at = 0, i
    cdef bint same
    if memo is not None:
        number = <size_t> <PyObject*> value
        result = memo.get(number)
        if result is not None:
            return result
    go_deeper(" while copying a value")
    try:
        if kind is dict:
            result = PyDict_Copy(value)
            if memo is not None:
                memo[number] = result
            while PyDict_Next(value, &at, &k, &v):
                if is_copied(v):
                    PyDict_SetItem(result, <object> k, copied(<object> v, memo))
        elif kind is list:
            result = PyList_GetSlice(value, 0, PyList_GET_SIZE(value))
            if memo is not None:
                memo[number] = result
            for i in range(PyList_GET_SIZE(value)):
                v = PyList_GET_ITEM(value, i)
                if is_copied(v):
                    (<list> result)[i] = copied(<object> v, memo)
        elif kind is tuple:
            same = True
            item = []
            for i in range(PyTuple_GET_SIZE(value)):
                v = PyTuple_GET_ITEM(value, i)
                result = copied(<object> v, memo) if is_copied(v) else <object> v
                same = same and <PyObject*> result == v
                (<list> item).append(result)
            if memo is not None and number in memo:
                return memo[number]  # a cycle led back here and has made it
            result = value if same else tuple(<list> item)
            if memo is not None:
                memo[number] = result
        else:
            result = set(<set> value)
            if memo is not None:
                memo[number] = result
        return result
    finally:
        Py_LeaveRecursiveCall()
