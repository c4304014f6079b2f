# The encoder of the plain format; twotier/codec/_encode.py is the same encoder in Python, with explanations.
#
# The first pass is quick: it runs no Python code, so no code changes the value meanwhile. Where Python code must run
# (the text of a path, a type of the user's), it stops, and the value is encoded anew with a snapshot of each container.
# A container with no reference except its parent's can't come twice, and isn't looked up.

cdef class _NeedsCare(Exception):
    # The quick pass met a value whose encoding runs Python code.
    pass


cdef bytes plain_bytes(PlainFormat form, object value):
    # The payload of a value. Runs Python code.
    cdef Writer w
    cdef dict reduced
    writer_init(&w)
    try:
        try:
            put_value(form, &w, <PyObject*> value)
        except _NeedsCare:
            reduced = {}
            w.reduced = <PyObject*> reduced
            w.careful = True
            writer_restart(&w, False)
            put_value(form, &w, <PyObject*> value)
        if w.again:
            w.second = True
            writer_restart(&w, True)
            put_value(form, &w, <PyObject*> value)
        return finished(form, &w)
    finally:
        writer_free(&w)


cdef bytes finished(PlainFormat form, Writer* w):
    cdef int64_t size = padded_size(w.size, w.weight)
    if size > form.longest:
        raise SerializationError(f"the value takes {size} bytes encoded, and max_value_bytes is {form.longest}")
    if size > w.size:
        ensure_room(w, size - w.size)
        memset(w.start + w.size, 0, size - w.size)
    return w.start[:size]


cdef inline int need_care(Writer* w) except -1:
    if not w.careful:
        raise _NeedsCare
    return 0


cdef int put_value(PlainFormat form, Writer* w, PyObject* value) except -1:
    cdef PyTypeObject* kind = type_of(value)
    if kind == &PyUnicode_Type:
        return put_text(w, <object> value, P_SMALL_TEXT, P_TEXT)
    if kind == &PyLong_Type:
        return put_int(w, <object> value)
    if value == <PyObject*> None:
        ensure_room(w, 1)
        put_byte(w, P_NONE)
        return 0
    if kind == &PyDict_Type:
        if open_value(form, w, value):
            put_dict(form, w, <object> value)
            w.depth -= 1
        return 0
    if kind == &PyFloat_Type:
        w.weight += W_FLOAT
        return put_fixed(w, P_FLOAT, double_bits(float_value(<object> value)), 8)
    if kind == &PyBool_Type:
        ensure_room(w, 1)
        put_byte(w, P_TRUE if <object> value is True else P_FALSE)
        return 0
    if kind == &PyList_Type:
        if open_value(form, w, value):
            put_list(form, w, <object> value)
            w.depth -= 1
        return 0
    if kind == &PyTuple_Type:
        go_in(form, w)
        put_tuple(form, w, <object> value)
        w.depth -= 1
        return 0
    if kind == datetime_type():
        return put_datetime(form, w, value)
    if kind == <PyTypeObject*> Decimal:
        return put_decimal(w, <object> value)
    return put_other(form, w, value, kind)


cdef int put_other(PlainFormat form, Writer* w, PyObject* value, PyTypeObject* kind) except -1:
    cdef object it = <object> value
    if kind == &PyBytes_Type:
        put_head(w, P_BYTES, len(<bytes> it))
        w.weight += bytes_weight(len(<bytes> it))
        return put_data(w, <const char*> <bytes> it, len(<bytes> it))
    if kind == date_type():
        return put_date(w, value)
    if kind == <PyTypeObject*> UuidType:
        return put_uuid(w, it)
    if kind == &PySet_Type or kind == &PyByteArray_Type:
        if open_value(form, w, value):
            if kind == &PySet_Type:
                put_set(form, w, P_SET, it)
            else:
                put_bytearray(w, it)
            w.depth -= 1
        return 0
    if kind == &PyFrozenSet_Type or kind == &PySlice_Type:
        go_in(form, w)
        if kind == &PyFrozenSet_Type:
            put_set(form, w, P_FROZENSET, it)
        else:
            ensure_room(w, 1)
            put_byte(w, P_SLICE)
            w.weight += W_SLICE
            put_object(form, w, it.start)
            put_object(form, w, it.stop)
            put_object(form, w, it.step)
        w.depth -= 1
        return 0
    if kind == time_type():
        return put_time(form, w, value)
    if kind == delta_type():
        return put_timedelta(w, value)
    if kind == &PyComplex_Type:
        w.weight += W_COMPLEX
        put_fixed(w, P_COMPLEX, double_bits(PyComplex_RealAsDouble(it)), 8)
        ensure_room(w, 8)
        put_number(w.start + w.size, double_bits(PyComplex_ImagAsDouble(it)), 8)
        w.size += 8
        return 0
    if kind == <PyTypeObject*> Timezone or kind == <PyTypeObject*> ZoneInfo:
        return put_zone(form, w, value)
    return put_python(form, w, value)


cdef int put_object(PlainFormat form, Writer* w, object value) except -1:
    return put_value(form, w, <PyObject*> value)


cdef inline int go_in(PlainFormat form, Writer* w) except -1:
    if unlikely(w.depth == P_MOST_DEPTH):
        raise SerializationError(f"a value that nests more than {P_MOST_DEPTH} levels deep can't be stored")
    if unlikely(w.size > form.longest):
        raise SerializationError(f"the encoded value is larger than max_value_bytes, which is {form.longest}")
    w.depth += 1
    return 0


cdef inline bint open_value(PlainFormat form, Writer* w, PyObject* value) except -1:
    # Go into a mutable value, unless it is known and a reference to it does.
    # One that only its container refers to, and we who hold it, can't come again.
    if (w.second or refcount(value) > 2 or w.depth == 0) and not w.hashed and is_known(w, value):
        return False
    go_in(form, w)
    return True


cdef bint is_known(Writer* w, PyObject* value) except -1:
    cdef Known* slot = known_find(&w.places, value, False)
    if slot.value == NULL:
        if not w.second:
            known_add(&w.places, slot, value, SEEN, w.few_places, False)
        return False
    if not w.second:
        slot.number = COMES_AGAIN
        w.again = True
        return True
    if slot.number == SEEN:
        return False
    if slot.number == COMES_AGAIN:
        slot.number = w.numbers
        w.numbers += 1
        ensure_room(w, 1)
        put_byte(w, P_SHARED)
        w.weight += W_SHARED
        return False
    put_head(w, P_REFERENCE, slot.number)
    return True


cdef inline int put_key(PlainFormat form, Writer* w, PyObject* key) except -1:
    # A dict's key, or a type's name: an exact str has a number from its second time on.
    cdef Known* slot
    if type_of(key) != &PyUnicode_Type:
        return put_value(form, w, key)
    if unlikely(str_hash(key) == -1):
        PyObject_Hash(<object> key)
    slot = known_find(&w.keys, key, True)
    if slot.value == NULL:
        return put_new_key(w, key, slot)
    if slot.number < 32:
        ensure_room(w, 1)
        put_byte(w, P_SMALL_KEY_AGAIN + slot.number)
        return 0
    return put_head(w, P_KEY_AGAIN, slot.number)


cdef int put_new_key(Writer* w, PyObject* key, Known* slot) except -1:
    cdef object text = <object> key
    cdef object data
    cdef Py_ssize_t size = text_length(text)
    if size <= P_LONGEST_KEY and w.keys.count < P_MOST_KEYS:
        if not is_ascii_text(text):
            data = text.encode("utf-8", "surrogatepass")
            size = len(<bytes> data)
            if size > P_LONGEST_KEY or has_surrogate(text):
                return put_text(w, text, P_SMALL_TEXT, P_TEXT)
        known_add(&w.keys, slot, key, w.keys.count, w.few_keys, True)
        w.weight += W_KEY
        return put_text(w, text, P_SMALL_KEY, P_KEY)
    return put_text(w, text, P_SMALL_TEXT, P_TEXT)


cdef bint has_surrogate(object text):
    cdef Py_UCS4 character
    for character in <str> text:
        if 0xD800 <= character <= 0xDFFF:
            return True
    return False


cdef int put_sized(Writer* w, int tag, int small, Py_ssize_t below, Py_ssize_t count) except -1:
    if count < below:
        ensure_room(w, 1)
        put_byte(w, small + <int> count)
        return 0
    return put_head(w, tag, count)


cdef int put_dict(PlainFormat form, Writer* w, object pairs) except -1:
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t at = 0, left = len(<dict> pairs)
    cdef object kept, held
    while PyDict_Next(pairs, &at, &key, &value):
        if type_of(key) != &PyUnicode_Type:
            kept = PyDict_Copy(pairs)
            put_head(w, P_MAPPING, len(<dict> kept))
            w.weight += mapping_weight(len(<dict> kept))
            return put_pairs(form, w, kept)
    if w.careful:
        pairs = PyDict_Copy(pairs)
        left = len(<dict> pairs)
    put_sized(w, P_DICT, P_SMALL_DICT, 16, left)
    w.weight += dict_weight(left)
    at = 0
    while PyDict_Next(pairs, &at, &key, &value):
        left -= 1
        if left < 0:
            break
        held = <object> key  # a collection of garbage may run others' code
        kept = <object> value
        put_key(form, w, key)
        put_value(form, w, value)
    return check_unchanged(left)


cdef int check_unchanged(Py_ssize_t left) except -1:
    if left:
        raise SerializationError("the value was changed while it was being encoded")
    return 0


cdef int put_pairs(PlainFormat form, Writer* w, dict pairs) except -1:
    # The keys, then the values, of a dict of our own.
    put_hashables(form, w, pairs)
    for value in pairs.values():
        put_object(form, w, value)
    return 0


cdef int put_hashables(PlainFormat form, Writer* w, object keys) except -1:
    w.hashed += 1
    for key in keys:
        put_key(form, w, <PyObject*> key)
    w.hashed -= 1
    return 0


cdef int put_list(PlainFormat form, Writer* w, object items) except -1:
    cdef Py_ssize_t i, count
    cdef object item
    if w.careful:
        items = list_slice(items, 0, PyList_GET_SIZE(items))
    count = PyList_GET_SIZE(items)
    put_sized(w, P_LIST, P_SMALL_LIST, 8, count)
    w.weight += list_weight(count)
    for i in range(count):
        if i >= PyList_GET_SIZE(items):
            return check_unchanged(count - i)
        item = <object> PyList_GET_ITEM(items, i)
        put_value(form, w, <PyObject*> item)
    return check_unchanged(PyList_GET_SIZE(items) - count)


cdef int put_tuple(PlainFormat form, Writer* w, object items) except -1:
    cdef Py_ssize_t i, count = PyTuple_GET_SIZE(items)
    cdef object item
    put_sized(w, P_TUPLE, P_SMALL_TUPLE, 8, count)
    w.weight += tuple_weight(count)
    for i in range(count):
        item = <object> PyTuple_GET_ITEM(items, i)
        put_value(form, w, <PyObject*> item)
    return 0


cdef int put_set(PlainFormat form, Writer* w, int tag, object items) except -1:
    cdef tuple snapshot = tuple(items)
    put_head(w, tag, len(snapshot))
    w.weight += set_weight(len(snapshot))
    return put_hashables(form, w, snapshot)


cdef int put_bytearray(Writer* w, bytearray data) except -1:
    put_head(w, P_BYTEARRAY, len(data))
    w.weight += bytearray_weight(len(data))
    return put_data(w, <const char*> data, len(data))
