# Find keys whose hashes collide, before they are put into a table: twotier/codec/hash_collisions.py explains how.

cdef extern from *:
    """
    /* How many occupied runs of slots are left behind for a free one; over `most` at once if it gets there. */
    static int64_t tt_jumps(
        const Py_hash_t *hashes, Py_ssize_t count, uint8_t *taken, size_t mask, size_t run, int64_t most
    ) {
        int64_t jumps = 0;
        memset(taken, 0, (mask >> 3) + 1);
        for (Py_ssize_t i = 0; i < count; i++) {
            size_t perturb = (size_t)hashes[i], slot = perturb & mask;
            for (;;) {
                size_t end = slot + run <= mask ? slot + run : slot, at = slot;
                while (at <= end && taken[at >> 3] >> (at & 7) & 1)
                    at++;
                if (at <= end) {
                    taken[at >> 3] |= (uint8_t)(1 << (at & 7));
                    break;
                }
                if (++jumps > most)
                    return jumps;
                perturb >>= 5;
                slot = (slot * 5 + 1 + perturb) & mask;
            }
        }
        return jumps;
    }

    static int tt_compare_hashes(const void *one, const void *other) {
        Py_hash_t a = *(const Py_hash_t *)one, b = *(const Py_hash_t *)other;
        return (a > b) - (a < b);
    }

    /* How many pairs of hashes are equal; sorts them. */
    static int64_t tt_equal_pairs(Py_hash_t *hashes, Py_ssize_t count) {
        int64_t pairs = 0, equal = 0;
        qsort(hashes, (size_t)count, sizeof(Py_hash_t), tt_compare_hashes);
        for (Py_ssize_t i = 1; i < count; i++) {
            equal = hashes[i] == hashes[i - 1] ? equal + 1 : 0;
            pairs += equal;
        }
        return pairs;
    }
    """
    int64_t count_jumps "tt_jumps"(
        const Py_hash_t* hashes, Py_ssize_t count, uint8_t* taken, size_t mask, size_t run, int64_t most
    ) noexcept nogil
    int64_t equal_pairs "tt_equal_pairs"(Py_hash_t* hashes, Py_ssize_t count) noexcept nogil


cdef int check_crowding(PyObject** keys, Py_ssize_t count, bint in_set, bint slow) except -1:
    # Refuse keys that meet in too few places of a dict, or a set. Runs Python code: their hashes.
    cdef Py_hash_t* hashes
    cdef Py_ssize_t i, first
    cdef size_t slots, last = 32
    cdef int64_t most
    cdef uint8_t* taken
    if count <= (3 if slow else 16):
        return 0
    while last < <size_t> ((8 if in_set else 3) * count):
        last *= 2
    hashes = <Py_hash_t*> malloc(count * sizeof(Py_hash_t) + (last >> 3))
    if hashes == NULL:
        raise MemoryError
    taken = <uint8_t*> (hashes + count)
    try:
        for i in range(count):
            hashes[i] = PyObject_Hash(<object> keys[i])
        slots = 16
        while slots <= last:
            first = min(count, <Py_ssize_t> (slots * 3 // 5 if in_set else slots * 2 // 3))
            most = 64 * first + 256
            if count_jumps(hashes, first, taken, slots - 1, 9 if in_set else 0, most) > most:
                raise SerializationError("the payload holds too many keys that collide in a table")
            slots *= 2
        most = count + 4 if slow else 4 * count + 64
        if count_jumps(hashes, count, taken, last - 1, 0, most) > most and equal_pairs(hashes, count) > most:
            raise SerializationError("the payload holds too many keys of equal hash")
    finally:
        free(hashes)
    return 0
