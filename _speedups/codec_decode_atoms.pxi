# The decoder's leaves: numbers, text, moments, and the rest whose layout is fixed.

cdef object take_int(Reader* r, int tag):
    cdef int size = 1 << (tag - P_INT1)
    cdef int64_t number, half
    need(r, size)
    weigh(r, W_INT if size < 8 else W_LONG_INT)
    number = <int64_t> (take_number(advanced(r, size), size) << (64 - 8 * size)) >> (64 - 8 * size)
    half = <int64_t> 1 << (4 * size - 1)
    if 0 <= number < 64 if size == 1 else -half <= number < half:
        refused("the payload has an integer in a longer form than it needs")
    return PyLong_FromLongLong(number)


cdef object take_big(Reader* r):
    cdef Py_ssize_t size = take_size(r)
    cdef const uint8_t* data = advanced(r, size)
    weigh(r, big_weight(size))
    if size <= 8 or (data[size - 1] == 0 or data[size - 1] == 0xFF) and data[size - 2] >> 7 == data[size - 1] >> 7:
        refused("the payload has an integer in a longer form than it needs")
    return int.from_bytes(PyBytes_FromStringAndSize(<const char*> data, size), "little", signed=True)


cdef inline object take_text(Reader* r, Py_ssize_t size):
    cdef str text
    need(r, size)
    text = PyUnicode_DecodeUTF8(<const char*> advanced(r, size), size, NULL)
    weigh(r, text_weight(size, is_ascii_text(text)))
    return text


cdef object take_wide(Reader* r):
    cdef Py_ssize_t size = take_size(r)
    cdef bytes data
    cdef str text
    weigh(r, 96 + size)
    data = PyBytes_FromStringAndSize(<const char*> advanced(r, size), size)
    text = wide_text(data)
    if not has_surrogate(text):
        refused("the payload has a text in a longer form than it needs")
    return text


cdef str wide_text(bytes data):
    # By hand, as the codec calls back for each surrogate.
    cdef const uint8_t* start = <const uint8_t*> <const char*> data
    cdef Py_ssize_t count = len(data) >> 2, i
    cdef uint32_t* characters
    cdef uint32_t character
    if len(data) & 3:
        refused("the payload holds text that isn't UTF-32")
    characters = <uint32_t*> malloc(len(data) + 4)
    if characters == NULL:
        raise MemoryError
    try:
        for i in range(count):
            character = <uint32_t> take_number(start + 4 * i, 4)
            if character > 0x10FFFF:
                refused("the payload holds text that isn't UTF-32")
            characters[i] = character
        return PyUnicode_FromKindAndData(4, characters, count)
    finally:
        free(characters)


cdef extern from "Python.h":
    str PyUnicode_FromKindAndData(int, const void*, Py_ssize_t)


cdef object take_decimal(Reader* r):
    cdef Py_ssize_t size = take_size(r), i
    cdef const uint8_t* data = advanced(r, size)
    cdef uint8_t letter
    weigh(r, (W_HASHED_DECIMAL if r.hashed else W_DECIMAL) + size)
    for i in range(size):
        letter = data[i]
        if not (
            0x30 <= letter <= 0x39 or letter == 0x2B or letter == 0x2D or letter == 0x2E
            or 0x61 <= letter | 0x20 <= 0x7A
        ):
            refused("the payload holds an invalid Decimal")
    if size == 0:
        refused("the payload holds an invalid Decimal")
    r.slow += 1
    return Decimal(PyUnicode_DecodeUTF8(<const char*> data, size, NULL))


cdef object take_uuid(Reader* r, bint has_safety):
    cdef object made, number
    cdef int safety
    need(r, 16 + has_safety)
    weigh(r, W_UUID)
    number = int.from_bytes(PyBytes_FromStringAndSize(<const char*> advanced(r, 16), 16), "little")
    r.slow += 1
    made = UuidType.__new__(UuidType)
    PyObject_GenericSetAttr(made, "int", number)  # past __setattr__, as UUID itself does
    if not has_safety:
        PyObject_GenericSetAttr(made, "is_safe", UNKNOWN_SAFETY)
        return made
    safety = take_byte(r)
    if safety != 0 and safety != 0xFF:
        refused("the payload holds a UUID with an unknown is_safe")
    PyObject_GenericSetAttr(made, "is_safe", SafeUUID(-1 if safety else 0))
    return made


cdef object take_datetime(PlainFormat form, Reader* r, bint zoned):
    cdef const uint8_t* d
    cdef object zone = None
    need(r, 10)
    weigh(r, W_DATETIME)
    d = advanced(r, 10)
    if zoned:
        zone = take_zone(form, r, take_byte(r))
        r.slow += 1
    return make_datetime(
        <int> take_number(d, 2), d[2], d[3], d[4] & 0x7F, d[5], d[6], <int> take_number(d + 7, 3), zone, d[4] >> 7
    )


cdef object take_time(PlainFormat form, Reader* r, bint zoned):
    cdef const uint8_t* d
    cdef object zone = None
    need(r, 6)
    weigh(r, W_TIME)
    d = advanced(r, 6)
    if zoned:
        zone = take_zone(form, r, take_byte(r))
        r.slow += 1
    return make_time(d[0] & 0x7F, d[1], d[2], <int> take_number(d + 3, 3), zone, d[0] >> 7)


cdef object take_timedelta(Reader* r):
    cdef int32_t days
    cdef uint32_t seconds, micros
    need(r, 12)
    weigh(r, W_TIMEDELTA)
    days = <int32_t> <uint32_t> take_number(r.at, 4)
    seconds = <uint32_t> take_number(r.at + 4, 4)
    micros = <uint32_t> take_number(r.at + 8, 4)
    r.at += 12
    if seconds >= 86400 or micros >= 1000000 or not -999999999 <= days <= 999999999:
        refused("the payload holds a timedelta that isn't in its usual form")
    return make_delta(days, <int> seconds, <int> micros)


cdef object take_zone(PlainFormat form, Reader* r, int tag):
    cdef int64_t number
    if tag == P_UTC:
        return <object> utc_zone()
    if tag == P_ZONE_AGAIN:
        number = take_varint(r)
        if r.zones == NULL or number >= len(<list> r.zones):
            refused("the payload refers to a time zone that it doesn't have")
        return (<list> r.zones)[number]
    if tag == P_ZONE:
        return take_new_zone(r)
    if tag != P_OFFSET:
        refused("the payload has no time zone where one belongs")
    need(r, 8)
    weigh(r, W_OFFSET)
    number = <int64_t> take_number(advanced(r, 8), 8)
    if not -86400000000 < number < 86400000000:
        refused("the payload holds an offset of more than a day")
    offset = _datetime.timedelta(0, 0, number)
    name = take_leaf(form, r)
    if name is None and number:
        return Timezone(offset)
    if type(name) is not str:
        refused("the payload names a time zone with a value that isn't text")
    return Timezone(offset, name)


cdef object take_new_zone(Reader* r):
    cdef Py_ssize_t size = take_size(r), i
    cdef const uint8_t* data = advanced(r, size)
    cdef uint8_t letter, before = 0x2F
    cdef object zone
    weigh(r, W_ZONE)
    for i in range(min(size, 65)):
        letter = data[i]
        if letter == 0x2F:
            if before == 0x2F:
                break
        elif not (
            0x30 <= letter <= 0x39 or 0x61 <= letter | 0x20 <= 0x7A
            or letter == 0x5F or letter == 0x2B or letter == 0x2D
        ):
            before = 0x2F
            break
        before = letter
    if size > 64 or before == 0x2F:
        refused("the payload names an invalid time zone")
    zone = ZoneInfo(PyUnicode_DecodeUTF8(<const char*> data, size, NULL))
    append_to(&r.zones, zone)
    return zone
