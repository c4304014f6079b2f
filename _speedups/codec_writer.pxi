# State of the encoder: a growing buffer, the keys that have a number, the mutable values seen.
#
# The tables are open-addressing ones of pointers, probed in line, at most half full; small ones lie in the struct
# itself, on the stack. They hold references, so that no other object can take the address of one they know.

cdef enum:
    FEW_BYTES = 1024
    FEW_KEYS = 64
    FEW_PLACES = 32
    FEW_ZONES = 4
    SEEN = -1
    COMES_AGAIN = -2

cdef struct Known:
    PyObject* value
    int32_t number

cdef struct KnownTable:
    Known* slots
    uint32_t mask
    uint32_t count

cdef struct Writer:
    uint8_t* start
    Py_ssize_t size
    Py_ssize_t room
    int64_t weight
    KnownTable keys
    KnownTable places
    KnownTable zones
    PyObject* reduced  # a dict, borrowed
    int32_t numbers  # shared values so far
    int depth
    int hashed
    bint second  # pass
    bint careful  # Python code may run: containers are walked as snapshots
    bint again  # some value comes again
    Known few_keys[FEW_KEYS]
    Known few_places[FEW_PLACES]
    Known few_zones[FEW_ZONES]
    uint8_t few[FEW_BYTES]


cdef inline void writer_init(Writer* w) noexcept:
    w.start = w.few
    w.size = 0
    w.room = FEW_BYTES
    w.weight = 0
    w.keys.slots = w.few_keys
    w.keys.mask = FEW_KEYS - 1
    w.keys.count = 0
    w.places.slots = w.few_places
    w.places.mask = FEW_PLACES - 1
    w.places.count = 0
    w.zones.slots = w.few_zones
    w.zones.mask = FEW_ZONES - 1
    w.zones.count = 0
    w.reduced = NULL
    w.numbers = w.depth = w.hashed = 0
    w.second = w.careful = w.again = False
    memset(w.few_keys, 0, sizeof(w.few_keys))
    memset(w.few_places, 0, sizeof(w.few_places))
    memset(w.few_zones, 0, sizeof(w.few_zones))


cdef void known_clear(KnownTable* table, Known* few, uint32_t size) noexcept:
    # Runs Python code, where the last reference goes.
    cdef Known* slots = table.slots
    cdef uint32_t i, mask = table.mask
    if table.count:
        for i in range(mask + 1):
            Py_XDECREF(slots[i].value)
    if slots != few:
        free(slots)
    memset(few, 0, size * sizeof(Known))
    table.slots = few
    table.mask = size - 1
    table.count = 0


cdef void writer_restart(Writer* w, bint with_places) noexcept:
    w.size = 0
    w.weight = 0
    w.numbers = w.depth = w.hashed = 0
    known_clear(&w.keys, w.few_keys, FEW_KEYS)
    known_clear(&w.zones, w.few_zones, FEW_ZONES)
    if not with_places:
        known_clear(&w.places, w.few_places, FEW_PLACES)
        w.again = False


cdef void writer_free(Writer* w) noexcept:
    if w.keys.count:
        known_clear(&w.keys, w.few_keys, FEW_KEYS)
    if w.places.count:
        known_clear(&w.places, w.few_places, FEW_PLACES)
    if w.zones.count:
        known_clear(&w.zones, w.few_zones, FEW_ZONES)
    if w.start != w.few:
        free(w.start)


cdef int writer_grow(Writer* w, Py_ssize_t more) except -1:
    cdef Py_ssize_t room = w.room
    cdef uint8_t* start
    if more > PY_SSIZE_T_MAX // 2 - w.size:
        raise MemoryError
    while room < w.size + more:
        room *= 2
    start = <uint8_t*> realloc(NULL if w.start == w.few else w.start, room)
    if start == NULL:
        raise MemoryError
    if w.start == w.few:
        memcpy(start, w.few, w.size)
    w.start = start
    w.room = room
    return 0


cdef inline int ensure_room(Writer* w, Py_ssize_t more) except -1:
    return writer_grow(w, more) if unlikely(w.size + more > w.room) else 0


cdef inline void put_byte(Writer* w, int byte) noexcept:
    # Into room that was reserved.
    w.start[w.size] = <uint8_t> byte
    w.size += 1


cdef inline void put_varint(Writer* w, uint64_t number) noexcept:
    while number > 0x7F:
        put_byte(w, <int> (number & 0x7F | 0x80))
        number >>= 7
    put_byte(w, <int> number)


cdef inline int put_head(Writer* w, int tag, uint64_t number) except -1:
    ensure_room(w, 11)
    put_byte(w, tag)
    put_varint(w, number)
    return 0


cdef inline int put_data(Writer* w, const void* data, Py_ssize_t size) except -1:
    ensure_room(w, size)
    memcpy(w.start + w.size, data, size)
    w.size += size
    return 0


cdef inline int put_fixed(Writer* w, int tag, uint64_t number, int size) except -1:
    ensure_room(w, 9)
    put_byte(w, tag)
    put_number(w.start + w.size, number, size)
    w.size += size
    return 0


cdef int known_grow(KnownTable* table, Known* few, bint texts) except -1:
    cdef uint32_t mask = table.mask * 2 + 1, i, at
    cdef Known* slots = <Known*> calloc(<size_t> mask + 1, sizeof(Known))
    if slots == NULL:
        raise MemoryError
    for i in range(table.mask + 1):
        if table.slots[i].value != NULL:
            at = known_at(table.slots[i].value, texts) & mask
            while slots[at].value != NULL:
                at = (at + 1) & mask
            slots[at] = table.slots[i]
    if table.slots != few:
        free(table.slots)
    table.slots = slots
    table.mask = mask
    return 0


cdef inline uint32_t known_at(PyObject* value, bint texts) noexcept:
    return <uint32_t> (mix64(<uint64_t> str_hash(value) if texts else <uint64_t> <size_t> value) >> 20)


cdef inline Known* known_find(KnownTable* table, PyObject* value, bint texts) noexcept:
    # The slot of the value, or the free one that it would take. A str has its hash by now.
    cdef uint32_t at = known_at(value, texts) & table.mask
    cdef PyObject* there
    while True:
        there = table.slots[at].value
        if there == NULL or there == value:
            return &table.slots[at]
        if texts and str_hash(there) == str_hash(value) and same_str(there, value):
            return &table.slots[at]
        at = (at + 1) & table.mask


cdef inline int known_add(
    KnownTable* table, Known* slot, PyObject* value, int32_t number, Known* few, bint texts
) except -1:
    Py_INCREF(<object> value)
    slot.value = value
    slot.number = number
    table.count += 1
    if unlikely(table.count * 2 > table.mask):
        known_grow(table, few, texts)
    return 0
