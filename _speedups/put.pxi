# The steps of an operation: read the clock, find a fresh entry, reclaim expired entries, and put a value in its place.

cdef enum:
    PER_WRITE = 8        # entries that a write may reclaim
    MOST_ENTRIES = 1 << 27


cdef struct Made:
    # An incoming value, ready to be placed.
    uint64_t op
    int64_t expires, stale, deadline, weight
    uint32_t kind
    bint doubted         # it is of no epoch: a suspect from the start


cdef inline uint64_t hash_of(PyObject* key) except? 0xFFFFFFFFFFFFFFFF:
    cdef Py_ssize_t known
    if likely(is_str(key)):
        known = str_hash(key)
        if likely(known != -1):
            return <uint64_t> known
    return <uint64_t> PyObject_Hash(<object> key)


cdef inline int64_t instant(Table* t) except? -1:
    if likely(t.clock == NULL):
        return steady_now()
    return (<object> t.clock)()


cdef inline bint is_fresh(Table* t, uint32_t i, int64_t now_) noexcept nogil:
    # `now_` is a foreign clock's instant; the machine's clock is read here, and only for an entry that can end.
    cdef int64_t until = until_of(t, i)
    if not is_current(t, i):
        return False
    if until == NEVER:
        return True
    return (steady_now() if likely(t.clock == NULL) else now_) < until


cdef inline bint is_fresh_at(Table* t, uint32_t i, int64_t now_) noexcept nogil:
    # `now_` is the instant on whichever clock the store has: no clock is read.
    cdef int64_t until = until_of(t, i)
    return is_current(t, i) and (until == NEVER or now_ < until)


cdef inline uint32_t epoch_of(uint64_t epochs) noexcept nogil:
    # The bits of an epoch, which are never 0.
    return <uint32_t> (epochs % 0xFFFFFF + 1) << EPOCH_SHIFT


cdef inline bint is_current(Table* t, uint32_t i) noexcept nogil:
    # Whether the entry is of the current epoch.
    return (t.entries[i].meta ^ t.epoch) >> EPOCH_SHIFT == 0


cdef inline int64_t until_of(Table* t, uint32_t i) noexcept nogil:
    # The end of the entry's life, or of the lease.
    cdef int64_t expires = t.entries[i].expires
    return expires if expires < t.lease_until else t.lease_until


cdef inline uint32_t meta_with(Table* t, Entry* e, uint32_t kind) noexcept nogil:
    # The meta of an entry whose value is new.
    cdef uint32_t meta = t.epoch | kind | (e.meta & (FREQ | IN_MAIN))
    return meta if is_gc(e.value) or is_gc(e.key) else meta | PLAIN


cdef bint has_come(int64_t instant_) noexcept nogil:
    # Whether it has, by the machine's clock; not inlined, for the sake of those who don't ask.
    return steady_now() >= instant_


cdef inline uint32_t find_at_once(Table* t, PyObject* key) noexcept nogil:
    # The fresh entry under `key` where it is met most: by the very str that was stored, at the first place that its tag
    # tells, and by the machine's clock. NONE otherwise.
    cdef uint64_t home
    cdef uint32_t found, i
    cdef int64_t until
    if likely(is_str(key) and str_hash(key) != -1):
        home = home_of(t, str_hash(key))
        found = places_of(t.chunks[home >> 32].tags, tag_of(home))
        if likely(found):
            i = t.chunks[home >> 32].places[lowest(found)] ^ mark_of(home)
            if likely(i <= NUMBER and t.entries[i].key == key and is_current(t, i)):
                until = until_of(t, i)
                if until == NEVER:
                    return i
                if likely(t.clock == NULL and not has_come(until)):
                    return i
    return NONE


cdef inline uint32_t find_fresh(Table* t, PyObject* key) except 0xFFFFFFFF:
    # The fresh entry under `key`; NONE without one.
    cdef uint32_t i = find_at_once(t, key)
    return i if likely(i != NONE) else search_fresh(t, key)


cdef uint32_t search_fresh(Table* t, PyObject* key) except 0xFFFFFFFF:
    cdef int64_t now_ = 0
    cdef uint32_t i
    if unlikely(t.clock != NULL):
        now_ = instant(t)
    i = find(t, key, hash_of(key))
    return i if i != NONE and is_fresh(t, i, now_) else NONE


cdef inline bint is_live(Table* t, int64_t now_) noexcept nogil:
    return t.lease_until == NEVER or now_ < t.lease_until


cdef inline int64_t later(int64_t instant_, int64_t span) noexcept nogil:
    # Instants may be below 0, and a sum that is out of reach stays within it.
    if likely(span >= 0):
        return instant_ + span if instant_ <= NEVER - span else NEVER
    return instant_ + span if instant_ >= INT64_MIN - span else INT64_MIN


cdef inline Made made_for(uint64_t op, int64_t expires, int64_t stale) noexcept nogil:
    cdef Made made
    made.op = op
    made.expires = expires
    made.stale = stale
    made.deadline = later(expires, stale)
    made.weight = 0
    made.kind = BY_REFERENCE
    made.doubted = False
    return made


cdef int64_t checked_stale(int64_t stale) except -1:
    if stale < 0:
        raise ValueError(f"stale must be >= 0 ns, got {stale}")
    return stale


cdef uint32_t reclaim(Table* t, int64_t now_, uint32_t budget, Leaving* leaving) noexcept nogil:
    # Remove entries that are past their stale window; check at most `budget` entries.
    cdef uint64_t tick = tick_of(now_)
    cdef uint32_t i, count = 0
    if t.wheel == NULL or (t.wheel.tick >= tick and not t.wheel.draining):
        return 0
    while leaving_room(leaving):
        i = wheel_next_due(t, tick, &budget)
        if i == NONE:
            break
        t.expirations += 1
        entry_remove(t, i, EXPIRED, leaving)
        count += 1
    return count


cdef inline bint reserve(Table* t, Made* made, int64_t now_) except False:
    # Make sure that placing can't fail. Runs no Python code.
    if likely(made.deadline == NEVER and t.count >= t.maxsize and (made.stale == 0 or t.stales != NULL)):
        return True  # one will leave
    return reserve_more(t, made, now_)


cdef bint reserve_more(Table* t, Made* made, int64_t now_) except False:
    if unlikely(t.capacity == 0):
        raise RuntimeError("the store isn't initialised yet")
    if made.stale and t.stales == NULL:
        t.stales = <int64_t*> calloc(t.capacity, sizeof(int64_t))
        if t.stales == NULL:
            raise MemoryError
    if made.deadline != NEVER and t.wheel == NULL:
        wheel_make(t, now_)
    return t.count >= t.maxsize or (entries_reserve(t) and index_reserve(t))


cdef inline void set_times(Table* t, uint32_t i, Made* made) noexcept nogil:
    if unlikely(t.wheel != NULL):
        wheel_update(t, i, deadline_of(t, i), made.deadline)
    t.entries[i].expires = made.expires
    if unlikely(t.stales != NULL):
        t.stales[i] = made.stale


cdef inline void enter(Table* t, uint32_t i, PyObject* key, uint64_t hash_) noexcept nogil:
    # Enter an entry that the policy has admitted, without its value.
    t.entries[i].key = new_reference(key)
    t.entries[i].expires = NEVER
    index_put(t, i, hash_)
    if unlikely(t.former != NULL):
        index_move(t, MOVES)
    t.count += 1
    t.changes += 1


cdef inline bint place(
    Table* t, uint32_t i, PyObject* key, uint64_t hash_, PyObject* value, Made* made, int64_t now_, Leaving* leaving
) noexcept:
    # Put the value in entry `i`, or in a new one if that is NONE; return True if it could be held.
    cdef Entry* e
    cdef uint32_t meta
    if made.weight > t.max_bytes or made.deadline <= now_:
        if i != NONE:
            entry_remove(t, i, SIZE if made.weight > t.max_bytes else EXPIRED, leaving)
        return False
    if i == NONE:
        if t.wheel != NULL:
            reclaim(t, now_, PER_WRITE, leaving)
        i = policy_admit(t, hash_, made.weight, leaving)
        e = &t.entries[i]
        enter(t, i, key, hash_)
        if t.stales != NULL:
            t.stales[i] = 0
    else:
        e = &t.entries[i]
        Py_INCREF(<object> e.key)
        leaving_note(leaving, e.key, e.value, e.meta & KIND, REPLACED)
        if t.weights != NULL:
            t.bytes -= t.weights[i]
        policy_hit(t, i)
    Py_INCREF(<object> value)
    e.value = value
    meta = meta_with(t, e, made.kind)
    if unlikely(made.doubted):
        meta &= FLAGS
    if made.op:
        meta |= HAS_OP
        t.details[i].op = made.op
    e.meta = meta
    set_times(t, i, made)
    if t.weights != NULL:
        t.weights[i] = made.weight
        t.bytes += made.weight
        while t.bytes > t.max_bytes and leaving_room(leaving):
            entry_evict(t, policy_pop(t), leaving)
        return t.entries[i].value == value
    return True


cdef uint32_t checked_size(object maxsize) except 0:
    if type(maxsize) is not int or not 1 <= maxsize <= MOST_ENTRIES:
        raise ConfigurationError(f"maxsize must be an int from 1 to 2**27, got {maxsize!r}")
    return maxsize
