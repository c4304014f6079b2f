# The decoder of the plain format; twotier/codec/_decode.py is the same decoder in Python, with explanations.
#
# Python code that runs meanwhile (a type of the user's, a finalizer) sees nothing half-made: a list has None until
# its items come, and its length is looked at with each; items of tuples, sets and mappings wait until all are there.

cdef object plain_value(PlainFormat form, bytes payload):
    # The value of a payload; raises SerializationError or a constructor's own error. Runs Python code.
    cdef Reader r
    cdef int64_t budget = <int64_t> W_FREE + W_PER_BYTE * <int64_t> len(payload)
    cdef const uint8_t* start = <const uint8_t*> <const char*> payload
    cdef uint32_t i
    cdef object value
    r.at = start
    r.end = start + len(payload)
    r.left = budget
    r.depth = r.hashed = r.slow = 0
    r.marked = False
    r.keys = r.few_keys
    r.key_count = 0
    r.key_room = FEW_READ
    r.shared = r.zones = NULL
    try:
        value = take_value(form, &r)
        if r.at != r.end or budget - r.left > W_FREE:
            check_end(&r, start, budget - r.left)
        return value
    finally:
        for i in range(r.key_count):
            Py_DECREF(<object> r.keys[i])
        if r.keys != r.few_keys:
            free(r.keys)
        Py_XDECREF(r.shared)
        Py_XDECREF(r.zones)


cdef int check_end(Reader* r, const uint8_t* start, int64_t weight) except -1:
    cdef const uint8_t* at = r.at
    if r.end - start != padded_size(r.at - start, weight):
        return refused("the payload has data after its end")
    while at < r.end:
        if at[0]:
            return refused("the payload has data after its end")
        at += 1
    return 0


cdef object take_value(PlainFormat form, Reader* r):
    cdef int tag = take_byte(r)
    cdef object value
    cdef Py_ssize_t count
    cdef bint marked
    if tag >= P_SMALL_TEXT:
        if tag < P_SMALL_INT:
            return take_text(r, tag - P_SMALL_TEXT)
        if tag < P_SMALL_KEY:
            return PyLong_FromLongLong(tag - P_SMALL_INT)
        if tag < P_SMALL_DICT:
            refused("the payload has a key in a value's place")
        marked = r.marked
        r.marked = False
        go_into(r)
        if tag < P_SMALL_LIST:
            value = take_dict_value(form, r, marked, tag - P_SMALL_DICT)
        elif tag < P_SMALL_TUPLE:
            value = take_list_value(form, r, marked, tag - P_SMALL_LIST)
        else:
            unmarked(marked)
            value = take_tuple_value(form, r, tag - P_SMALL_TUPLE)
        r.depth -= 1
        return value
    if tag <= P_TRUE:
        if tag == P_NONE:
            return None
        if tag == P_TRUE:
            return True
        if tag == P_FALSE:
            return False
    elif tag <= P_INT8:
        return take_int(r, tag)
    elif tag == P_FLOAT:
        need(r, 8)
        weigh(r, W_FLOAT)
        return PyFloat_FromDouble(bits_double(take_number(advanced(r, 8), 8)))
    elif tag == P_TEXT:
        count = take_size(r)
        if count < 32:
            refused("the payload has a text in a longer form than it needs")
        return take_text(r, count)
    elif tag == P_DECIMAL:
        return take_decimal(r)
    elif tag == P_DATETIME or tag == P_ZONED_DATETIME:
        return take_datetime(form, r, tag == P_ZONED_DATETIME)
    elif (
        P_LIST <= tag <= P_DEFAULT
        or tag == P_BYTEARRAY or tag == P_SLICE or tag == P_MEMBER or tag == P_INSTANCE
    ):
        marked = r.marked
        r.marked = False
        go_into(r)
        value = take_container(form, r, tag, marked)
        r.depth -= 1
        return value
    return take_other(form, r, tag)


cdef object take_other(PlainFormat form, Reader* r, int tag):
    cdef int64_t size
    cdef object value
    if tag == P_BYTES:
        size = take_size(r)
        weigh(r, bytes_weight(size))
        return PyBytes_FromStringAndSize(<const char*> advanced(r, size), size)
    if tag == P_DATE:
        need(r, 4)
        weigh(r, W_DATE)
        r.at += 4
        return make_date(<int> take_number(r.at - 4, 2), (r.at - 2)[0], (r.at - 1)[0])
    if tag == P_UUID or tag == P_UUID_SAFETY:
        return take_uuid(r, tag == P_UUID_SAFETY)
    if tag == P_TIME or tag == P_ZONED_TIME:
        return take_time(form, r, tag == P_ZONED_TIME)
    if tag == P_TIMEDELTA:
        return take_timedelta(r)
    if tag >= P_UTC and tag <= P_ZONE_AGAIN:
        return take_zone(form, r, tag)
    if tag == P_BIG:
        return take_big(r)
    if tag == P_COMPLEX:
        need(r, 16)
        weigh(r, W_COMPLEX)
        r.at += 16
        return PyComplex_FromDoubles(bits_double(take_number(r.at - 16, 8)), bits_double(take_number(r.at - 8, 8)))
    if tag == P_WIDE:
        return take_wide(r)
    if tag == P_REFERENCE:
        size = take_varint(r)
        if r.hashed or r.shared == NULL or size >= len(<list> r.shared):
            refused("the payload holds a reference to a missing value")
        return (<list> r.shared)[size]
    if tag == P_SHARED:
        if r.hashed or r.marked:
            refused("the payload marks a value as shared where sharing isn't allowed")
        weigh(r, W_SHARED)
        r.marked = True
        value = take_value(form, r)
        if r.marked:
            refused("the payload marks a value as shared where sharing isn't allowed")
        return value
    if tag == P_EXTENSION:
        return take_extension(form, r)
    refused("the payload holds a tag that this codec never writes")


cdef object take_container(PlainFormat form, Reader* r, int tag, bint marked):
    cdef Py_ssize_t count, size
    cdef object value
    if tag == P_BYTEARRAY:
        size = take_size(r)
        weigh(r, bytearray_weight(size))
        value = PyByteArray_FromStringAndSize(<const char*> advanced(r, size), size)
        register_shared(r, marked, value)
        return value
    if tag == P_SLICE:
        unmarked(marked)
        weigh(r, W_SLICE)
        start = take_value(form, r)
        stop = take_value(form, r)
        return PySlice_New(start, stop, take_value(form, r))
    if tag == P_MEMBER:
        unmarked(marked)
        weigh(r, W_MEMBER)
        name = take_name(form, r)
        r.slow += 1
        return form.allowed.member(name, take_value(form, r))
    if tag == P_INSTANCE:
        return take_instance(form, r, marked)
    size = take_varint(r)
    count = <Py_ssize_t> size
    if tag == P_LIST or tag == P_TUPLE or tag == P_DICT:
        if count < (16 if tag == P_DICT else 8):
            refused("the payload has a count in a longer form than it needs")
        if tag == P_LIST:
            return take_list_value(form, r, marked, count)
        if tag == P_DICT:
            return take_dict_value(form, r, marked, count)
        unmarked(marked)
        return take_tuple_value(form, r, count)
    if tag == P_SET or tag == P_FROZENSET:
        if tag == P_FROZENSET:
            unmarked(marked)
        return take_set_value(form, r, marked, tag == P_FROZENSET, count)
    if tag == P_DEQUE:
        return take_deque(form, r, marked, size)
    return take_mapping(form, r, tag, marked, count)


cdef object take_leaf(PlainFormat form, Reader* r):
    # Read None, an int or a str. Nothing else is valid here: a container must count as a level, as C recurses for it.
    cdef int tag
    need(r, 1)
    tag = r.at[0]
    if not (
        P_SMALL_TEXT <= tag < P_SMALL_KEY or P_INT1 <= tag <= P_BIG
        or tag == P_NONE or tag == P_TEXT or tag == P_WIDE
    ):
        refused("the payload builds a value from unsuitable arguments")
    return take_value(form, r)


cdef inline object take_key(PlainFormat form, Reader* r):
    cdef int tag = take_byte(r)
    if tag >= P_SMALL_KEY_AGAIN and tag < P_SMALL_TEXT:
        if unlikely(<uint32_t> (tag - P_SMALL_KEY_AGAIN) >= r.key_count):
            refused("the payload refers to a key that it doesn't have")
        return <object> r.keys[tag - P_SMALL_KEY_AGAIN]
    if tag >= P_SMALL_KEY and tag < P_SMALL_DICT:
        return take_new_key(r, tag - P_SMALL_KEY)
    return take_other_key(form, r, tag)


cdef object take_other_key(PlainFormat form, Reader* r, int tag):
    cdef int64_t number
    if tag == P_KEY:
        number = take_varint(r)
        if not 32 <= number <= P_LONGEST_KEY:
            refused("the payload has a key in another form than it needs")
        return take_new_key(r, <Py_ssize_t> number)
    if tag == P_KEY_AGAIN:
        number = take_varint(r)
        if number < 32:
            refused("the payload has a key in a longer form than it needs")
        if number >= r.key_count:
            refused("the payload refers to a key that it doesn't have")
        return <object> r.keys[number]
    r.at -= 1
    return take_value(form, r)


cdef object take_new_key(Reader* r, Py_ssize_t size):
    cdef object key = take_text(r, size)
    weigh(r, W_KEY)
    if r.key_count == r.key_room:
        more_keys(r)
    r.keys[r.key_count] = new_reference(<PyObject*> key)
    r.key_count += 1
    return key


cdef int more_keys(Reader* r) except -1:
    cdef PyObject** keys
    if r.key_count == P_MOST_KEYS:
        refused("the payload numbers more keys than it may")
    keys = <PyObject**> realloc(NULL if r.keys == r.few_keys else r.keys, 2 * r.key_room * sizeof(PyObject*))
    if keys == NULL:
        raise MemoryError
    if r.keys == r.few_keys:
        memcpy(keys, r.few_keys, sizeof(r.few_keys))
    r.keys = keys
    r.key_room *= 2
    return 0


cdef str take_name(PlainFormat form, Reader* r):
    cdef object name = take_key(form, r)
    if type(name) is not str:
        refused("the payload names a type with a value that isn't text")
    return name
