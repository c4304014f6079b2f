# Invalidating entries: they leave, or (`keep`, for entries without an op) are of no epoch any more.
#
# Expiring entries on request: as an invalidation, but entries that an outage may serve stay, for their stale window
# from now on.
#
# The flag DEMOTED says that the entry's absence on the server is expected. The flag holds for the epoch in which the
# entry was put: the message of a later removal would have arrived, and would have removed the entry.


cdef Py_ssize_t invalidate(Store self, object keys, uint64_t op, bint keep) except -1:
    cdef Table* t = &self.t
    cdef Leaving leaving
    cdef uint64_t hash_
    cdef uint32_t i
    cdef Py_ssize_t count = 0
    buckets_make(t)
    for key in keys:
        count += 1
        hash_ = hash_of(<PyObject*> key)
        bucket_void(t, hash_, op)
        i = find(t, <PyObject*> key, hash_)
        if i == NONE or (op != 0 and op_of(t, i) == op):
            continue
        if keep and t.entries[i].meta & HAS_OP == 0:
            t.entries[i].meta &= FLAGS
            continue
        leaving_init(&leaving)
        entry_remove(t, i, INVALIDATED, &leaving)
        release(self, &leaving)
    return count


cdef Py_ssize_t demote(Store self, object keys, uint64_t op) except -1:
    cdef Table* t = &self.t
    cdef Leaving leaving
    cdef Made made
    cdef int64_t now_ = instant(t)
    cdef uint64_t hash_
    cdef uint32_t i
    cdef Py_ssize_t count = 0
    buckets_make(t)
    for key in keys:
        count += 1
        hash_ = hash_of(<PyObject*> key)
        bucket_void(t, hash_, op)
        i = find(t, <PyObject*> key, hash_)
        if i == NONE or (op != 0 and op_of(t, i) == op):
            continue
        made.expires = t.entries[i].expires if t.entries[i].expires < now_ else now_
        made.stale = 0 if t.stales == NULL else t.stales[i]
        made.deadline = later(made.expires, made.stale)
        if made.deadline <= now_:
            leaving_init(&leaving)
            entry_remove(t, i, INVALIDATED, &leaving)
            release(self, &leaving)
            continue
        reserve(t, &made, now_)
        set_times(t, i, &made)
        t.entries[i].meta |= DEMOTED
    return count


cdef bint demoted(Table* t, PyObject* key) except -1:
    cdef uint32_t i = find(t, key, hash_of(key))
    return i != NONE and t.entries[i].meta & DEMOTED != 0 and (t.entries[i].meta ^ t.epoch) >> EPOCH_SHIFT == 0
