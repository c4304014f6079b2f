# How a store keeps a value, hands it out, and releases it. Foreign Python code runs here.

cdef object MISSING = object()


def _pickled(value):
    """Encode by pickle, for stores that were given no codec of their own."""
    return pickle.dumps(value, protocol=5)


cdef inline object make(Store self, object key, object value, bytes encoded, Made* made):
    # Classify, copy, encode and weigh the value; return the object to keep. Runs Python code.
    if not self.copies and self.t.weights == NULL:
        return value
    return make_kept(self, key, value, encoded, made)


cdef object make_kept(Store self, object key, object value, bytes encoded, Made* made):
    cdef object kept = value
    if self.copies:
        kept = taken(value, &made.kind)
        if made.kind != BY_REFERENCE and self.watch is not None:
            made.kind = ENCODED
            kept = self.watch(value)
        elif made.kind == ENCODED:
            if encoded is None:
                encoded = self.encode(value)
            kept = encoded
    if self.t.weights != NULL:
        if self.weigher is None:
            made.weight = len(<bytes?> self.encode(value) if encoded is None else encoded)
        else:
            made.weight = checked_weight(self.weigher(key, value), key)
    return kept


cdef int64_t checked_weight(object weight, object key) except -1:
    if type(weight) is not int or not 0 <= weight < 1 << 62:
        raise ValueError(f"weigher must return an int >= 0, got {weight!r} for {key!r}")
    return weight


cdef object rebuilt(Store self, uint32_t i):
    # The entry's value for a caller; MISSING if its bytes could not be decoded (the entry has left then).
    cdef Table* t = &self.t
    cdef uint32_t kind = t.entries[i].meta & KIND
    cdef object value = <object> t.entries[i].value, key
    cdef Leaving leaving
    if kind == BY_REFERENCE:
        return value
    if kind != ENCODED:
        return copied(value, kind)
    key = <object> t.entries[i].key
    try:
        return self.decode(value)
    except Exception:
        if i < t.used and t.entries[i].key == <PyObject*> key and t.entries[i].value == <PyObject*> value:
            leaving_init(&leaving)
            entry_remove(t, i, INVALIDATED, &leaving)
            release(self, &leaving)
        return MISSING


cdef object rebuilt_hit(Store self, uint32_t i, object default):
    cdef object value = rebuilt(self, i)
    if value is MISSING:
        self.t.misses += 1
        return default
    self.t.hits += 1
    return value


cdef int empty(Store self, uint32_t cause) except -1:
    # Remove every entry at once; the arrays start small again.
    cdef Table* t = &self.t
    cdef Detached old
    cdef uint32_t i
    table_detach(t, &old)
    try:
        if self.on_removal is not None:
            for i in range(old.heads, old.used):
                if old.entries[i].key != NULL:
                    tell(self, old.entries[i].key, old.entries[i].value, old.entries[i].meta & KIND, cause)
    finally:
        free_entries(&old, True)
    return 0


cdef int shed(Store self) except -1:
    # Evict the entries over maxsize. If a listener is interrupted, the remaining entries leave without a call to it.
    cdef Table* t = &self.t
    cdef Leaving leaving
    t.resizing += 1
    try:
        while t.count > t.maxsize:
            evict_few(t, &leaving)
            release(self, &leaving)
            with nogil:
                pass
    finally:
        while t.count > t.maxsize:
            evict_few(t, &leaving)
            let_go(&leaving)
        t.resizing -= 1
    return 0


cdef inline int release(Store self, Leaving* leaving) except -1:
    # Call the listener, and release the entries. Runs Python code: the table must be consistent.
    if unlikely(self.on_removal is not None):
        return release_told(self, leaving)
    let_go(leaving)
    return 0


cdef int release_told(Store self, Leaving* leaving) except -1:
    cdef Left* left
    cdef uint32_t i
    try:
        for i in range(leaving.count):
            left = &leaving.items[i]
            tell(self, left.key, left.value, left.kind, left.cause)
    finally:
        let_go(leaving)
    return 0


cdef inline void let_go(Leaving* leaving) noexcept:
    cdef uint32_t i
    for i in range(leaving.count):
        Py_DECREF(<object> leaving.items[i].key)
        Py_DECREF(<object> leaving.items[i].value)
    if unlikely(leaving.items != leaving.few):
        free(leaving.items)


cdef int tell(Store self, PyObject* key, PyObject* value, uint32_t kind, uint32_t cause) except -1:
    cdef object left
    try:
        left = self.decode(<object> value) if kind == ENCODED else <object> value
        self.on_removal(<object> key, left, CAUSES[cause])
    except Exception:
        self.removal_errors += 1
        if self.log is not None:  # the collector has been here
            self.log.log(logging.ERROR, "removal", "on_removal failed for key %.200r", <object> key, trace=True)
    return 0
