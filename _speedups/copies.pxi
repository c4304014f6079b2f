# The copy rule: which values are handed out by reference, which are copied, and which are rebuilt.
# (twotier/local/twin/copies.py is the same rule in Python, with the list of immutable types.)
#
# A value is classified and copied in one walk when it comes in. Immutable values go by reference. Of trees of exact
# list, dict, set (and tuples that contain these) the store keeps its own copy, and hands out copies of that. Any other
# value is kept as its encoded bytes. The walk also finds whether a container is in the tree twice, or in itself: only
# then does a later copy need to remember the containers it has copied.
#
# The invariant: the walk never visits a caller's container. Hashing and comparing keys, collections and destructors run
# Python code, and another thread may change a list meanwhile. So the walk copies each container whole, by one call of
# CPython that runs no such code half-way, and then visits that copy, which has no other owner, and replaces its items.
# The store thus keeps exactly the classified objects, even if the caller's container changes. The walk holds a
# reference to each item that it visits, and reads the container's length again after each item.

from cpython.dict cimport PyDict_Copy, PyDict_Size, PyDict_Update
from cpython.list cimport PyList_SetItem, PyList_SetSlice

cdef enum:
    MOST_DEPTH = 300  # levels of containers: as many as a thread with a small stack (256 KiB) can walk

cdef frozenset IMMUTABLE_TYPES = frozenset()
cdef object ENUM_META = type

cdef extern from "Python.h":
    PyObject* Py_TYPE_of "(PyObject *) Py_TYPE"(PyObject*) noexcept nogil
    bint is_subtype "PyType_IsSubtype"(PyTypeObject*, PyTypeObject*) noexcept nogil
    int Py_EnterRecursiveCall(const char*)
    void Py_LeaveRecursiveCall()
    list PyList_New(Py_ssize_t)
    void PyList_SET_ITEM(list, Py_ssize_t, PyObject*) noexcept

cdef extern from *:
    """
    /* Whether it is the dict of an object's attributes, which shares its keys with those of others. */
    #define tt_shares_keys(o) (((PyDictObject *)(o))->ma_values != NULL)
    """
    bint shares_keys "tt_shares_keys"(PyObject*) noexcept nogil


cdef void learn_immutable_types() except *:
    # Late, since importing twotier.local imports this module.
    global IMMUTABLE_TYPES, ENUM_META
    from enum import EnumMeta
    from twotier.local.twin.copies import IMMUTABLE_TYPES as types
    IMMUTABLE_TYPES = types
    ENUM_META = EnumMeta


cdef inline int go_deeper(int depth, const char* where) except -1:
    # On failure CPython returns any value but 0; the value differs between versions.
    if depth > MOST_DEPTH:
        raise RecursionError(f"a value is nested more than {MOST_DEPTH} deep")
    return -1 if Py_EnterRecursiveCall(where) else 0


cdef inline bint is_leaf(PyObject* value) noexcept:
    # Whether the value has one of the most frequent leaf types; `is_immutable` finds the other leaves.
    cdef PyObject* kind = Py_TYPE_of(value)
    return (
        kind == <PyObject*> str or kind == <PyObject*> int or kind == <PyObject*> float or kind == <PyObject*> bool
        or value == <PyObject*> None or kind == <PyObject*> bytes
    )


cdef bint is_immutable(object value) except -1:
    # Runs Python code, where the value's class is of a metaclass.
    cdef object kind = type(value)
    if PySet_Contains(IMMUTABLE_TYPES, kind):
        return True
    return is_subtype(<PyTypeObject*> Py_TYPE_of(<PyObject*> kind), <PyTypeObject*> ENUM_META)


cdef inline list own_list(list value):
    # Making an object may start a collection, which may run Python code: the list is there before its items are taken.
    cdef Py_ssize_t at, size = PyList_GET_SIZE(value)
    cdef list result = PyList_New(size)
    if unlikely(PyList_GET_SIZE(value) != size):
        result = []
        PyList_SetSlice(result, 0, 0, value)
        return result
    for at in range(size):
        PyList_SET_ITEM(result, at, new_reference(PyList_GET_ITEM(value, at)))
    return result


cdef inline dict own_dict(dict value):
    # As above: PyDict_Copy is the quicker one, but makes the dict when it has looked at the other already.
    cdef Py_ssize_t size = PyDict_Size(value)
    cdef dict result
    if likely(not shares_keys(<PyObject*> value)):
        result = PyDict_Copy(value)
        if likely(PyDict_Size(value) == size and PyDict_Size(result) == size):
            return result
    result = {}
    PyDict_Update(result, value)
    return result


cdef inline int put_item(list into, Py_ssize_t at, object item) except -1:
    Py_INCREF(item)  # which is stolen
    return PyList_SetItem(into, at, item)


cdef object taken(object value, uint32_t* kind):
    # The object to keep for an incoming value: the value or a copy. `kind` becomes BY_REFERENCE, TREE, SHARED_TREE or
    # ENCODED (for which the returned object is meaningless).
    cdef Pairs pairs
    cdef object kept
    kind[0] = BY_REFERENCE
    if is_leaf(<PyObject*> value):
        return value
    pairs_init(&pairs)
    try:
        kept = take(value, &pairs, kind, 0)
        if kind[0] == TREE and pairs.again:
            kind[0] = SHARED_TREE
        return kept
    finally:
        pairs_free(&pairs)


cdef object take(object value, Pairs* pairs, uint32_t* kind, int depth):
    # As `taken`, for a part of the value. The caller holds `value` in a container that no other code can change.
    cdef object of = type(value), kept
    cdef PyObject* known
    kind[0] = BY_REFERENCE
    if is_leaf(<PyObject*> value):
        return value
    if of is not dict and of is not list and of is not tuple and of is not set and of is not frozenset:
        if not is_immutable(value):
            kind[0] = ENCODED
        return value
    if (of is tuple or of is frozenset) and len(value) == 0:
        return value  # CPython shares the empty ones
    known = pair_of(pairs, <PyObject*> value).copy
    if known != NULL:
        pairs.again = True
        kept = <object> known
        kind[0] = BY_REFERENCE if kept is value else TREE
        return kept
    go_deeper(depth, " while taking in a value")
    try:
        if of is dict:
            return take_dict(<dict> value, pairs, kind, depth + 1)
        if of is list:
            return take_list(<list> value, pairs, kind, depth + 1)
        if of is tuple:
            return take_tuple(<tuple> value, pairs, kind, depth + 1)
        return take_set(value, pairs, kind, depth + 1)
    finally:
        Py_LeaveRecursiveCall()


cdef dict take_dict(dict value, Pairs* pairs, uint32_t* kind, int depth):
    cdef dict result = own_dict(value)
    cdef Py_ssize_t at = 0, turn
    cdef PyObject* k
    cdef PyObject* v
    cdef object key, item, kept
    cdef uint32_t found
    pairs_add(pairs, value, result)
    kind[0] = TREE
    for turn in range(PyDict_Size(result)):  # no more often, whatever hashes and comparisons say
        if not PyDict_Next(result, &at, &k, &v):
            break
        if is_leaf(k) and is_leaf(v):
            continue
        key = <object> k
        item = <object> v
        take(key, pairs, &found, depth)
        if found != BY_REFERENCE:
            kind[0] = ENCODED
            break
        kept = take(item, pairs, &found, depth)
        if found == ENCODED:
            kind[0] = ENCODED
            break
        if kept is not item:
            PyDict_SetItem(result, key, kept)
    return result


cdef list take_list(list value, Pairs* pairs, uint32_t* kind, int depth):
    cdef list result = own_list(value)
    cdef Py_ssize_t at
    cdef object item, kept
    cdef uint32_t found
    pairs_add(pairs, value, result)
    kind[0] = TREE
    for at in range(PyList_GET_SIZE(result)):
        if at >= PyList_GET_SIZE(result):
            break
        if is_leaf(PyList_GET_ITEM(result, at)):
            continue
        item = <object> PyList_GET_ITEM(result, at)
        kept = take(item, pairs, &found, depth)
        if found == ENCODED:
            kind[0] = ENCODED
            break
        if kept is not item:
            put_item(result, at, kept)
    return result


cdef tuple take_tuple(tuple value, Pairs* pairs, uint32_t* kind, int depth):
    cdef list items = None
    cdef tuple result = value
    cdef Py_ssize_t at
    cdef object item, kept
    cdef PyObject* known
    cdef uint32_t found, most = BY_REFERENCE
    for at in range(PyTuple_GET_SIZE(value)):
        if is_leaf(PyTuple_GET_ITEM(value, at)):
            continue
        item = <object> PyTuple_GET_ITEM(value, at)
        kept = take(item, pairs, &found, depth)
        if found == ENCODED:
            kind[0] = ENCODED
            return value
        if found != BY_REFERENCE:
            most = TREE
        if kept is not item:
            if items is None:
                items = list(value)
            put_item(items, at, kept)
    known = pair_of(pairs, <PyObject*> value).copy
    if known != NULL:  # a cycle led back here and has made it
        result = <tuple> known
    elif items is not None:
        result = tuple(items)
    pairs_add(pairs, value, result)
    kind[0] = most
    return result


cdef object take_set(object value, Pairs* pairs, uint32_t* kind, int depth):
    cdef bint mutable = type(value) is set
    cdef object result = set(<set> value) if mutable else value, item
    cdef uint32_t found
    pairs_add(pairs, value, result)
    kind[0] = TREE if mutable else BY_REFERENCE
    for item in result:
        take(item, pairs, &found, depth)
        if found != BY_REFERENCE:
            kind[0] = ENCODED
            break
    return result


cdef inline bint is_copied(PyObject* value) noexcept:
    # Whether copying the value can give another object.
    cdef PyObject* kind = Py_TYPE_of(value)
    return kind == <PyObject*> dict or kind == <PyObject*> list or kind == <PyObject*> tuple or kind == <PyObject*> set


cdef object copied(object tree, uint32_t kind):
    # A copy of a kept tree for a caller: new containers, the same leaves.
    cdef Pairs pairs
    if kind == TREE:
        return copy_of(tree, NULL, 0)
    pairs_init(&pairs)
    try:
        return copy_of(tree, &pairs, 0)
    finally:
        pairs_free(&pairs)


cdef object copy_of(object value, Pairs* pairs, int depth):
    # `pairs` is NULL in a tree without sharing. The caller holds `value` in a container that no other code can change.
    cdef PyObject* of = Py_TYPE_of(<PyObject*> value)
    cdef PyObject* known
    cdef object result
    if pairs != NULL:
        known = pair_of(pairs, <PyObject*> value).copy
        if known != NULL:
            return <object> known
    go_deeper(depth, " while copying a value")
    try:
        if of == <PyObject*> dict:
            return copy_of_dict(<dict> value, pairs, depth + 1)
        if of == <PyObject*> list:
            return copy_of_list(<list> value, pairs, depth + 1)
        if of == <PyObject*> tuple:
            return copy_of_tuple(<tuple> value, pairs, depth + 1)
        result = set(<set> value)
        if pairs != NULL:
            pairs_add(pairs, value, result)
        return result
    finally:
        Py_LeaveRecursiveCall()


cdef inline dict copy_of_dict(dict value, Pairs* pairs, int depth):
    cdef dict result = own_dict(value)
    cdef Py_ssize_t at = 0, turn
    cdef PyObject* k
    cdef PyObject* v
    cdef object key, item
    if pairs != NULL:
        pairs_add(pairs, value, result)
    for turn in range(PyDict_Size(result)):
        if not PyDict_Next(result, &at, &k, &v):
            break
        if is_copied(v):
            key = <object> k
            item = <object> v
            PyDict_SetItem(result, key, copy_of(item, pairs, depth))
    return result


cdef inline list copy_of_list(list value, Pairs* pairs, int depth):
    cdef list result = own_list(value)
    cdef Py_ssize_t at
    cdef object item
    if pairs != NULL:
        pairs_add(pairs, value, result)
    for at in range(PyList_GET_SIZE(result)):
        if at >= PyList_GET_SIZE(result):
            break
        if is_copied(PyList_GET_ITEM(result, at)):
            item = <object> PyList_GET_ITEM(result, at)
            put_item(result, at, copy_of(item, pairs, depth))
    return result


cdef inline tuple copy_of_tuple(tuple value, Pairs* pairs, int depth):
    cdef list items = None
    cdef tuple result = value
    cdef Py_ssize_t at
    cdef object item, copy
    cdef PyObject* known
    for at in range(PyTuple_GET_SIZE(value)):
        if not is_copied(PyTuple_GET_ITEM(value, at)):
            continue
        item = <object> PyTuple_GET_ITEM(value, at)
        copy = copy_of(item, pairs, depth)
        if copy is not item:
            if items is None:
                items = list(value)
            put_item(items, at, copy)
    known = NULL if pairs == NULL else pair_of(pairs, <PyObject*> value).copy
    if known != NULL:  # as in take_tuple
        return <tuple> known
    if items is not None:
        result = tuple(items)
    if pairs != NULL:
        pairs_add(pairs, value, result)
    return result
