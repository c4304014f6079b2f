# Plain puts: those of a store that keeps values by reference, without weights, listener and expiry. Such a put only
# replaces a value in an entry, or adds an entry and perhaps evicts another. It is so short that the processor begins
# the next put while this one waits for memory.


cdef inline bint takes_plain(Table* t) noexcept nogil:
    return t.plain and t.wheel == NULL and t.stales == NULL


cdef bint put_plain(Table* t, PyObject* key, object value) except -1:
    # Put `value` for good; False where it takes `put_now`. Runs Python code.
    cdef Leaving leaving
    cdef uint64_t hash_ = hash_of(key)
    cdef uint32_t i
    cdef PyObject* old
    prefetch_admission(t, hash_)
    i = find(t, key, hash_)
    if unlikely(not takes_plain(t)):
        return False  # comparing ran foreign code, and an entry can expire now
    if i != NONE:
        bucket_void(t, hash_, 0)
        old = t.entries[i].value
        t.entries[i].value = new_reference(<PyObject*> value)
        t.entries[i].meta = meta_with(t, &t.entries[i], BY_REFERENCE)
        policy_hit(t, i)
        Py_DECREF(<object> old)
        return True
    if unlikely(t.count < t.maxsize):
        entries_reserve(t)
        index_reserve(t)
    leaving_init(&leaving)
    bucket_void(t, hash_, 0)
    i = policy_admit(t, hash_, 0, &leaving)
    enter(t, i, key, hash_)
    t.entries[i].value = new_reference(<PyObject*> value)
    t.entries[i].meta = meta_with(t, &t.entries[i], BY_REFERENCE)
    let_go(&leaving)
    return True
