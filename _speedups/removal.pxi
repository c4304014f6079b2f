# Entries that left the table in one operation. Their keys and values are released, and the listener is called, only
# when the table is consistent again, since both run Python code.

cdef enum Cause:
    EXPLICIT
    REPLACED
    SIZE
    EXPIRED
    INVALIDATED

cdef enum:
    FEW = 48  # on the stack; more are rare (large values pushing out many small ones)

cdef tuple CAUSES = ("explicit", "replaced", "size", "expired", "invalidated")

cdef struct Left:
    PyObject* key    # owned
    PyObject* value  # owned
    uint32_t kind
    uint32_t cause

cdef struct Leaving:
    Left few[FEW]
    Left* items
    uint32_t count, room


cdef inline void leaving_init(Leaving* leaving) noexcept nogil:
    leaving.items = leaving.few
    leaving.count = 0
    leaving.room = FEW


cdef bint leaving_room(Leaving* leaving) noexcept nogil:
    # Whether one more can be noted; False without memory.
    cdef Left* items
    cdef uint32_t room = 4 * leaving.room
    if leaving.count < leaving.room:
        return True
    if leaving.items == leaving.few:
        items = <Left*> malloc(room * sizeof(Left))
        if items != NULL:
            memcpy(items, leaving.few, leaving.count * sizeof(Left))
    else:
        items = <Left*> realloc(leaving.items, room * sizeof(Left))
    if items == NULL:
        return False
    leaving.items = items
    leaving.room = room
    return True


cdef inline void leaving_note(
    Leaving* leaving, PyObject* key, PyObject* value, uint32_t kind, uint32_t cause
) noexcept nogil:
    cdef Left* left = &leaving.items[leaving.count]
    check(leaving.count < leaving.room)
    left.key = key
    left.value = value
    left.kind = kind
    left.cause = cause
    leaving.count += 1
