# State of the decoder: a pointer and an end, the budget, and the keys and values that have a number.

cdef enum:
    FEW_READ = 32
    FEW_ITEMS = 8

cdef struct Reader:
    const uint8_t* at
    const uint8_t* end
    int64_t left  # of the budget
    int depth
    int hashed
    int slow  # values so far whose hash or comparison runs Python code
    bint marked  # the value that comes is shared
    PyObject** keys
    uint32_t key_count
    uint32_t key_room
    PyObject* shared  # a list, or NULL
    PyObject* zones  # the same
    PyObject* few_keys[FEW_READ]

cdef struct Items:
    # Values that wait until their container can be made.
    PyObject** items
    Py_ssize_t count
    PyObject* few[FEW_ITEMS]


cdef int refused(str why) except -1:
    raise SerializationError(why)


cdef inline int weigh(Reader* r, int64_t weight) except -1:
    r.left -= weight
    return refused("the payload holds more than its length allows for") if unlikely(r.left < 0) else 0


cdef inline int need(Reader* r, uint64_t size) except -1:
    return refused("the payload is cut short") if unlikely(size > <uint64_t> (r.end - r.at)) else 0


cdef inline int take_byte(Reader* r) except -1:
    need(r, 1)
    r.at += 1
    return (r.at - 1)[0]


cdef int64_t take_varint(Reader* r) except -1:
    cdef uint64_t number = 0
    cdef int shift = 0, byte
    while True:
        byte = take_byte(r)
        number |= <uint64_t> (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift == 63:
            refused("the payload holds a number of absurd size")
    if byte == 0 and shift:
        refused("the payload has a number in a longer form than it needs")
    return <int64_t> number


cdef Py_ssize_t take_size(Reader* r) except -1:
    # The length of data that follows.
    cdef int64_t size = take_varint(r)
    need(r, size)
    return <Py_ssize_t> size


cdef inline const uint8_t* advanced(Reader* r, Py_ssize_t size) noexcept:
    # Advance past bytes that `need` has checked; return their start.
    r.at += size
    return r.at - size


cdef inline int go_into(Reader* r) except -1:
    if unlikely(r.depth == P_MOST_DEPTH):
        refused(f"the payload nests more than {P_MOST_DEPTH} levels deep")
    r.depth += 1
    return 0


cdef int append_to(PyObject** to, object value) except -1:
    cdef list values
    if to[0] == NULL:
        values = []
        to[0] = new_reference(<PyObject*> values)
    (<list> to[0]).append(value)
    return 0


cdef inline int register_shared(Reader* r, bint marked, object value) except -1:
    if unlikely(marked):
        append_to(&r.shared, value)
    return 0


cdef inline int unmarked(bint marked) except -1:
    return refused("the payload marks an immutable value as shared") if unlikely(marked) else 0
