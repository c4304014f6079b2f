# Reading many keys at once: the cost is waiting for memory, so memory is prefetched, a batch at a time.
#
# A lookup waits four times, each time for an address from the step before: the key's hash, its slot, the entry, the
# value. In a batch, each step prefetches for all keys before the next step reads, so the waits overlap. Between slices
# waiting threads may run, so that no call blocks them for long.

cdef enum:
    BATCH = 16
    SLICE = 512      # keys after which other threads may run: under a millisecond, with values that are copied
    PRESIZED = 4096  # most room made in the answer before it is known how many keys are there

cdef extern from *:
    dict dict_for "__Pyx_PyDict_NewPresized"(Py_ssize_t)
    PyObject** items_of "PySequence_Fast_ITEMS"(object) noexcept
    Py_ssize_t size_of "PySequence_Fast_GET_SIZE"(object) noexcept


cdef void guess_batch(Table* t, PyObject** keys, Py_ssize_t count, uint32_t* guesses) noexcept nogil:
    # For each key the entry that its tag names, NONE without one; their lines are on the way then. A key that is no
    # str, or has no hash yet, has another field there: it is guessed wrong, which costs nothing but the guess.
    cdef uint64_t homes[BATCH]
    cdef Chunk* chunk
    cdef uint32_t found
    cdef Py_ssize_t n
    for n in range(count, BATCH):
        guesses[n] = NONE
    for n in range(count):
        homes[n] = home_of(t, <uint64_t> str_hash(keys[n]) if is_str(keys[n]) else 0)
        prefetch(&t.chunks[homes[n] >> 32])
    for n in range(count):
        chunk = &t.chunks[homes[n] >> 32]
        found = places_of(chunk.tags, tag_of(homes[n]))
        guesses[n] = chunk.places[lowest(found)] & NUMBER if found else <uint32_t> NONE
        prefetch(&t.entries[guesses[n]])
        prefetch(&t.links[guesses[n]])
    for n in range(count):
        prefetch(t.entries[guesses[n]].value)


cdef dict get_many(Store self, object keys):
    # `keys` is a tuple, or a list of our own: code that runs meanwhile could change a caller's.
    cdef Table* t = &self.t
    cdef Py_ssize_t count = size_of(keys), at = 0, n
    cdef dict found = dict_for(count if count < PRESIZED else PRESIZED)
    cdef uint32_t guesses[BATCH]
    cdef uint32_t i
    cdef uint64_t changes = 0
    cdef object key, value
    while at < size_of(keys):
        n = at % BATCH
        if n == 0:
            if at % SLICE == 0 and at:
                with nogil:
                    pass
            count = size_of(keys) - at
            for i in range(BATCH, 2 * BATCH if count > 2 * BATCH else count):
                prefetch(items_of(keys)[at + i])
            guess_batch(t, items_of(keys) + at, BATCH if count > BATCH else count, guesses)
            changes = t.changes
        key = <object> items_of(keys)[at]
        at += 1
        i = guesses[n]
        if likely(changes == t.changes and t.entries[i].key == <PyObject*> key and t.clock == NULL):
            if not is_fresh(t, i, 0):
                i = NONE
        else:
            i = find_fresh(t, <PyObject*> key)
        if i == NONE:
            t.misses += 1
            continue
        policy_hit(t, i)
        if likely(not t.entries[i].meta & KIND):
            t.hits += 1
            value = <object> t.entries[i].value
        else:
            value = rebuilt_hit(self, i, MISSING)
            if value is MISSING:
                continue
        PyDict_SetItem(found, key, value)
    return found
