# The encoder's leaves: numbers, text, moments, and the rest whose layout is fixed.

cdef int put_int(Writer* w, object value) except -1:
    cdef int overflow = 0
    cdef long long number = int_value(value, &overflow)
    cdef Py_ssize_t size
    cdef bytes data
    if overflow:
        size = (value if value >= 0 else ~value).bit_length() // 8 + 1
        data = value.to_bytes(size, "little", signed=True)
        put_head(w, P_BIG, size)
        w.weight += big_weight(size)
        return put_data(w, <const char*> data, size)
    if 0 <= number < 64:
        ensure_room(w, 1)
        put_byte(w, P_SMALL_INT + <int> number)
        return 0
    w.weight += W_INT
    if -128 <= number < 128:
        return put_fixed(w, P_INT1, <uint64_t> number, 1)
    if -32768 <= number < 32768:
        return put_fixed(w, P_INT2, <uint64_t> number, 2)
    if -2147483648 <= number < 2147483648:
        return put_fixed(w, P_INT4, <uint64_t> number, 4)
    w.weight += W_LONG_INT - W_INT
    return put_fixed(w, P_INT8, <uint64_t> number, 8)


cdef int put_text(Writer* w, object text, int short, int long) except -1:
    cdef Py_ssize_t size
    if is_ascii_text(text):
        size = text_length(text)
        ensure_room(w, size + 11)
        if size < 32:
            put_byte(w, short + <int> size)
        else:
            put_byte(w, long)
            put_varint(w, size)
        w.weight += text_weight(size, True)
        memcpy(w.start + w.size, text_data(text), size)
        w.size += size
        return 0
    return put_wide_text(w, text, short, long)


cdef int put_wide_text(Writer* w, str text, int short, int long) except -1:
    cdef bytes data
    cdef Py_ssize_t size
    try:
        data = PyUnicode_AsUTF8String(text)
    except UnicodeEncodeError:
        data = text.encode("utf-32-le", "surrogatepass")
        put_head(w, P_WIDE, len(data))
        w.weight += 96 + len(data)
    else:
        size = len(data)
        if size < 32:
            ensure_room(w, 1)
            put_byte(w, short + <int> size)
        else:
            put_head(w, long, size)
        w.weight += text_weight(size, False)
    return put_data(w, <const char*> data, len(data))


cdef int put_day(Writer* w, PyObject* value) except -1:
    # Into room that was reserved.
    put_number(w.start + w.size, PyDateTime_GET_YEAR(<object> value), 2)
    w.start[w.size + 2] = <uint8_t> PyDateTime_GET_MONTH(<object> value)
    w.start[w.size + 3] = <uint8_t> PyDateTime_GET_DAY(<object> value)
    w.size += 4
    return 0


cdef inline void put_clock(Writer* w, int hour, int minute, int second, int micro, int fold) noexcept:
    w.start[w.size] = <uint8_t> (hour + 128 * fold)
    w.start[w.size + 1] = <uint8_t> minute
    w.start[w.size + 2] = <uint8_t> second
    put_number(w.start + w.size + 3, micro, 3)
    w.size += 6


cdef int put_date(Writer* w, PyObject* value) except -1:
    ensure_room(w, 5)
    put_byte(w, P_DATE)
    w.weight += W_DATE
    return put_day(w, value)


cdef int put_datetime(PlainFormat form, Writer* w, PyObject* value) except -1:
    cdef object it = <object> value
    cdef PyObject* zone = datetime_zone(value)
    ensure_room(w, 11)
    put_byte(w, P_DATETIME if zone == <PyObject*> None else P_ZONED_DATETIME)
    put_day(w, value)
    put_clock(
        w, PyDateTime_DATE_GET_HOUR(it), PyDateTime_DATE_GET_MINUTE(it), PyDateTime_DATE_GET_SECOND(it),
        PyDateTime_DATE_GET_MICROSECOND(it), PyDateTime_DATE_GET_FOLD(it),
    )
    w.weight += W_DATETIME
    return 0 if zone == <PyObject*> None else put_zone(form, w, zone)


cdef int put_time(PlainFormat form, Writer* w, PyObject* value) except -1:
    cdef object it = <object> value
    cdef PyObject* zone = time_zone(value)
    ensure_room(w, 7)
    put_byte(w, P_TIME if zone == <PyObject*> None else P_ZONED_TIME)
    put_clock(
        w, PyDateTime_TIME_GET_HOUR(it), PyDateTime_TIME_GET_MINUTE(it), PyDateTime_TIME_GET_SECOND(it),
        PyDateTime_TIME_GET_MICROSECOND(it), PyDateTime_TIME_GET_FOLD(it),
    )
    w.weight += W_TIME
    return 0 if zone == <PyObject*> None else put_zone(form, w, zone)


cdef int put_timedelta(Writer* w, PyObject* value) except -1:
    cdef object it = <object> value
    ensure_room(w, 13)
    put_byte(w, P_TIMEDELTA)
    put_number(w.start + w.size, <uint64_t> <int64_t> PyDateTime_DELTA_GET_DAYS(it), 4)
    put_number(w.start + w.size + 4, PyDateTime_DELTA_GET_SECONDS(it), 4)
    put_number(w.start + w.size + 8, PyDateTime_DELTA_GET_MICROSECONDS(it), 4)
    w.size += 12
    w.weight += W_TIMEDELTA
    return 0


cdef int put_zone(PlainFormat form, Writer* w, PyObject* zone) except -1:
    cdef object it, offset, name, data
    cdef PyTypeObject* kind = type_of(zone)
    cdef Known* slot
    if zone == utc_zone():
        ensure_room(w, 1)
        put_byte(w, P_UTC)
        return 0
    it = <object> zone
    if kind == <PyTypeObject*> Timezone:
        need_care(w)
        arguments = it.__getinitargs__()
        put_fixed(w, P_OFFSET, <uint64_t> <int64_t> (arguments[0] // MICROSECOND), 8)
        w.weight += W_OFFSET
        return put_object(form, w, arguments[1] if len(arguments) > 1 else None)
    if kind != <PyTypeObject*> ZoneInfo:
        raise SerializationError(f"a value of type {type_name(it)} can't be stored as a time zone")
    name = it.key
    if name is None:
        raise SerializationError("a ZoneInfo without a key can't be stored: it was read from a file")
    PyObject_Hash(<str?> name)
    slot = known_find(&w.zones, <PyObject*> name, True)
    if slot.value != NULL:
        return put_head(w, P_ZONE_AGAIN, slot.number)
    known_add(&w.zones, slot, <PyObject*> name, w.zones.count, w.few_zones, True)
    data = name.encode()
    put_head(w, P_ZONE, len(<bytes> data))
    w.weight += W_ZONE
    return put_data(w, <const char*> <bytes> data, len(<bytes> data))


cdef int put_decimal(Writer* w, object value) except -1:
    cdef object text = str(value)
    cdef Py_ssize_t size = text_length(text)
    put_head(w, P_DECIMAL, size)
    w.weight += (W_HASHED_DECIMAL if w.hashed else W_DECIMAL) + size
    return put_data(w, text_data(text), size)


cdef int put_uuid(Writer* w, object value) except -1:
    cdef object safety = value.is_safe
    cdef bytes data = value.int.to_bytes(16, "little")
    ensure_room(w, 18)
    put_byte(w, P_UUID if safety is UNKNOWN_SAFETY else P_UUID_SAFETY)
    put_data(w, <const char*> data, 16)
    if safety is not UNKNOWN_SAFETY:
        ensure_room(w, 1)
        put_byte(w, <int> safety.value & 0xFF)
    w.weight += W_UUID
    return 0


cdef str type_name(object value):
    cdef object kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
