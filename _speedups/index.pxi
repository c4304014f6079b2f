# From a hash to an entry: open addressing with linear probing over u32 slots, at most five eighths full.
#
# hash * multiplier (odd, random, secret: Dietzfelbinger's multiply-shift, so nobody can craft keys that collide) gives
# a slot, its *home*, by its top bits. A slot holds, from the top: the bits that follow as a tag; in four bits how far
# it is from home (15: that or more); and the entry's index, in as many bits as number the slots. Tag and distance have
# to match, so a wrong entry is hardly ever looked at. 0 is an empty slot. Removing shifts back what follows, by the
# distances alone and without a look at the entries: there are no tombstones, and lookups stay short whatever the
# history. Five eighths is where the cache lines saved and the probes added meet (DECISIONS.md).

cdef enum:
    LEAST_BITS = 4
    MOST_BITS = 28
    FAR = 15              # a distance from home that a slot can't tell
    DISTANCE_BITS = 4
    FOREIGN = 0x7FFFFFFF  # a comparison that only Python code can make


cdef inline uint32_t slot_of(Table* t, uint64_t product) noexcept nogil:
    return <uint32_t> (product >> (64 - t.bits))


cdef inline uint32_t tag_of(Table* t, uint64_t product) noexcept nogil:
    return <uint32_t> ((product << t.bits) >> 32) & ~(t.mask << DISTANCE_BITS | FAR)


cdef inline uint32_t farther(Table* t, uint32_t tag) noexcept nogil:
    # The tag, one slot on.
    return tag + (t.mask + 1) if (tag >> t.bits) & FAR != FAR else tag


cdef inline uint32_t find_str(Table* t, PyObject* key, uint64_t hash_) noexcept nogil:
    # The entry under an exact str, NONE without one; FOREIGN if a key of another type has that hash.
    cdef uint64_t product = hash_ * t.multiplier
    cdef uint32_t at = slot_of(t, product), tag = tag_of(t, product), slot, i
    cdef PyObject* held
    while True:
        slot = t.slots[at]
        i = slot ^ tag
        if i <= t.mask:
            if slot == 0:
                return NONE
            held = t.entries[i].key
            if likely(held == key):
                return i
            if likely(is_str(held)):
                if str_hash(held) == <Py_ssize_t> hash_ and same_str(held, key):
                    return i
            elif t.details[i].hash == hash_:
                return FOREIGN
        elif slot == 0:
            return NONE
        at = (at + 1) & t.mask
        tag = farther(t, tag)


cdef uint32_t find_any(Table* t, PyObject* key, uint64_t hash_) except 0xFFFFFFFF:
    # The entry under any key, NONE without one. Comparing may run Python code: if it changed the table, start over.
    cdef uint64_t product, changes
    cdef uint32_t at, tag, slot, i
    cdef PyObject* held
    cdef int equal
    while True:
        changes = t.changes
        product = hash_ * t.multiplier
        at = slot_of(t, product)
        tag = tag_of(t, product)
        while True:
            slot = t.slots[at]
            i = slot ^ tag
            if slot == 0:
                return NONE
            if i <= t.mask and t.details[i].hash == hash_:
                held = t.entries[i].key
                if held == key:
                    return i
                if is_str(held) and is_str(key):
                    if same_str(held, key):
                        return i
                else:
                    Py_INCREF(<object> held)
                    try:
                        equal = PyObject_RichCompareBool(<object> held, <object> key, Py_EQ)
                    finally:
                        Py_DECREF(<object> held)
                    if t.changes != changes:
                        break
                    if equal:
                        return i
            at = (at + 1) & t.mask
            tag = farther(t, tag)


cdef inline uint32_t find(Table* t, PyObject* key, uint64_t hash_) except 0xFFFFFFFF:
    cdef uint32_t i
    if likely(is_str(key)):
        i = find_str(t, key, hash_)
        if likely(i != FOREIGN):
            return i
    return find_any(t, key, hash_)


cdef inline void index_put(Table* t, uint32_t i) noexcept nogil:
    # Enter entry i, which isn't there yet.
    cdef uint64_t product = t.details[i].hash * t.multiplier
    cdef uint32_t at = slot_of(t, product), tag = tag_of(t, product)
    check(i <= t.mask)
    while t.slots[at] != 0:
        at = (at + 1) & t.mask
        tag = farther(t, tag)
    t.slots[at] = tag | i


cdef void index_remove(Table* t, uint32_t i) noexcept nogil:
    # Take entry i out, and shift back what its slot was in the way of.
    cdef uint32_t mask = t.mask, hole, at, slot, distance, shift
    hole = slot_of(t, t.details[i].hash * t.multiplier)
    while (t.slots[hole] & mask) != i:
        check(t.slots[hole] != 0)
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        slot = t.slots[at]
        if slot == 0:
            break
        distance = (slot >> t.bits) & FAR
        slot -= distance << t.bits
        if distance == FAR:
            distance = (at - slot_of(t, t.details[slot & mask].hash * t.multiplier)) & mask
        shift = (at - hole) & mask
        if distance >= shift:
            distance -= shift
            t.slots[hole] = slot + ((distance if distance < FAR else <uint32_t> FAR) << t.bits)
            hole = at
    t.slots[hole] = 0


cdef bint index_grow(Table* t, uint32_t bits) except False:
    # Make an index of 2**bits slots over the same entries.
    cdef uint32_t i
    cdef uint32_t* slots = <uint32_t*> calloc(<size_t> 1 << bits, sizeof(uint32_t))
    if slots == NULL:
        raise MemoryError
    free(t.slots)
    t.slots = slots
    t.bits = bits
    t.mask = <uint32_t> ((<uint64_t> 1 << bits) - 1)
    for i in range(t.heads, t.used):
        if t.entries[i].key != NULL:
            index_put(t, i)
    t.changes += 1
    return True


cdef inline bint index_reserve(Table* t) except False:
    # See to it that the entry about to come finds the index at most five eighths full, and its number fits a slot.
    cdef uint64_t wanted = <uint64_t> t.count + 1
    if wanted > t.maxsize:
        wanted = t.maxsize
    if likely(wanted + t.heads <= ((<uint64_t> t.mask + 1) * 5) >> 3) or t.bits == MOST_BITS:
        return True
    return index_grow(t, t.bits + 1)
