# Calls that read an entry and change the table atomically, as a dict's do: of two threads one wins. The entry is found,
# or taken out, before any Python code runs; copying and decoding come after.


cdef object pop_entry(Store self, uint32_t i):
    # Remove entry `i`, and return its value for the caller; MISSING if its bytes can't be decoded.
    cdef Table* t = &self.t
    cdef Leaving leaving
    cdef uint32_t kind = t.entries[i].meta & KIND
    cdef object value = <object> t.entries[i].value
    leaving_init(&leaving)
    bucket_void(t, t.details[i].hash, 0)
    entry_remove(t, i, EXPLICIT, &leaving)
    release(self, &leaving)
    if kind != BY_REFERENCE:
        try:
            value = self.decode(value) if kind == ENCODED else copied(value, kind)
        except Exception:
            t.misses += 1
            return MISSING
    t.hits += 1
    return value


cdef object pop_key(Store self, PyObject* key):
    # Remove the value under `key` and return it; MISSING without one.
    cdef uint32_t i = find_fresh(&self.t, key)
    if i != NONE:
        return pop_entry(self, i)
    self.t.misses += 1
    return MISSING


cdef tuple pop_some(Store self):
    # Remove some fresh item and return it; None if there is none. The newest of a ring is most likely fresh.
    cdef Table* t = &self.t
    cdef int64_t now_ = instant(t)
    cdef uint32_t head = 0, i
    cdef object key, value
    while head < t.heads:
        i = t.links[head].next
        while i != head and not is_fresh(t, i, now_):
            i = t.links[i].next
        if i == head:
            head += 1
            continue
        key = <object> t.entries[i].key
        value = pop_entry(self, i)
        if value is not MISSING:
            return key, value
    return None


cdef object find_or_put(Store self, PyObject* key, object value, int64_t span):
    # The fresh value under `key`; without one `value`, which is put for `span` (ns).
    cdef Table* t = &self.t
    cdef Leaving leaving
    cdef Made made
    cdef uint64_t hash_ = hash_of(key)
    cdef int64_t now_ = instant(t)
    cdef uint32_t i
    cdef object kept = MISSING, found
    while True:
        i = find(t, key, hash_)
        if i != NONE and is_fresh(t, i, now_):
            policy_hit(t, i)
            found = rebuilt(self, i)
            if found is not MISSING:
                t.hits += 1
                return found
        elif kept is not MISSING:
            break  # no other code has run since the lookup
        else:
            made = made_for(0, later(now_, span), 0)
            kept = make(self, <object> key, value, None, &made)
    reserve(t, &made, now_)
    leaving_init(&leaving)
    bucket_void(t, hash_, 0)
    t.misses += 1
    place(t, i, key, hash_, <PyObject*> kept, &made, now_, &leaving)
    release(self, &leaving)
    return value
