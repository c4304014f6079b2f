# Making a table, and taking everything out of it at once.
#
# Code can find a store, through the collector, before the store is complete. Its table is `unmade` then: it is empty,
# lookups miss without a special check, and puts raise.

cdef enum:
    FREED = 4096  # entries after which other threads may run: under a millisecond
    LESS = 32768  # entries by which an empty table's arrays shrink in a step: 2 MiB, a fraction of a millisecond


cdef struct Detached:
    void* block
    Entry* entries
    uint32_t heads, used


cdef Entry no_entry[1]
cdef Chunk no_chunk[1]


cdef void table_unmade(Table* t) noexcept nogil:
    # Turn a table of zeros into an empty one that accepts no entry.
    t.entries = no_entry
    t.chunks = no_chunk
    t.n_chunks = 1
    t.maxsize = 1
    t.lease_until = INT64_MIN


cdef bint table_init(Table* t, bint weighed) except False:
    # Give a table without arrays its first ones; on MemoryError it has none, as before.
    t.block = NULL
    t.entries = NULL
    t.links = NULL
    t.details = NULL
    t.index = NULL
    t.chunks = NULL
    t.former_index = NULL
    t.former = NULL
    t.stales = NULL
    t.weights = NULL
    t.count = t.used = t.capacity = t.free = 0
    t.bytes = 0
    try:
        if weighed:
            t.weights = <int64_t*> malloc(sizeof(int64_t))
            if t.weights == NULL:
                raise MemoryError
        entries_grow(t, t.heads + LEAST_CAPACITY)
        t.used = t.heads
        policy_init(t)
        index_begin(t, LEAST_CHUNKS)
    except MemoryError:
        table_free_arrays(t)
        raise
    return True


cdef void table_free_arrays(Table* t) noexcept nogil:
    free(t.block)
    free(t.links)
    free(t.details)
    free(t.index)
    free(t.former_index)
    free(t.stales)
    free(t.weights)
    t.block = NULL
    t.entries = NULL
    t.links = NULL
    t.details = NULL
    t.index = NULL
    t.chunks = NULL
    t.former_index = NULL
    t.former = NULL
    t.stales = NULL
    t.weights = NULL
    t.used = t.count = t.capacity = t.free = 0


cdef int table_shrink(Table* t) except -1:
    # Release part of the memory of an empty table.
    cdef uint32_t least = t.heads + LEAST_CAPACITY
    check(t.count == 0)
    if t.capacity > least:
        t.used = t.heads
        t.free = NONE
        t.changes += 1
        entries_grow(t, t.capacity - LESS if t.capacity > least + LESS else least)
    if t.former != NULL:
        former_end(t)
        t.changes += 1
    if t.n_chunks > 2 * LEAST_CHUNKS:
        # Without entries all of it is 0, wherever it is cut or moved to.
        t.n_chunks >>= 1
        t.changes += 1
        grow(&t.index, <size_t> t.n_chunks * sizeof(Chunk) + 63)
        t.chunks = <Chunk*> aligned(t.index)
    return 0


cdef bint table_detach(Table* t, Detached* old) except False:
    # Take all entries out, into `old`, and give the table small arrays.
    cdef Table fresh = t[0]
    if t.capacity == 0:
        memset(old, 0, sizeof(Detached))
        return True  # unmade
    table_init(&fresh, t.weights != NULL)
    fresh.changes += 1
    old.block = t.block
    old.entries = t.entries
    old.heads = t.heads
    old.used = t.used
    t.block = NULL
    table_free_arrays(t)
    t[0] = fresh
    if t.wheel != NULL:
        memset(t.wheel.occupied, 0, sizeof(t.wheel.occupied))
        memset(t.wheel.slots, 0, sizeof(t.wheel.slots))
        t.wheel.draining = t.wheel.scheduled = 0
    return True


cdef void free_entries(Detached* old, bint in_slices) noexcept:
    # Release the removed entries. Runs Python code, in slices, between which other threads run.
    cdef uint32_t i
    for i in range(old.heads, old.used):
        if in_slices and i % FREED == 0:
            with nogil:
                pass
        if old.entries[i].key != NULL:
            Py_DECREF(<object> old.entries[i].key)
            Py_XDECREF(old.entries[i].value)
    free(old.block)


cdef void table_free(Table* t) noexcept:
    # Free a table that no code can reach any more.
    cdef Detached old
    old.block = t.block
    old.entries = t.entries
    old.heads = t.heads
    old.used = t.used
    t.block = NULL
    table_free_arrays(t)
    free_entries(&old, False)
    free(t.wheel)
    free(t.buckets)
    free(t.adaptive.ghosts.block)
