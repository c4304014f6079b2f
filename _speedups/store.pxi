# The store: the contract of twotier/_speedups.pyi over the parts above.

cdef enum:
    PER_WRITE = 8        # entries that a write may reclaim
    PER_EXPIRE = 1024    # entries that a call of expire() may reclaim
    MOST_ENTRIES = 1 << 30

cdef object log = logging.getLogger("twotier")
cdef object process_seed = int.from_bytes(os.urandom(8), "little")


cdef struct Made:
    # What came in, ready to be placed.
    uint64_t op
    int64_t expires, stale, deadline, weight
    uint32_t kind


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
    # `now_` is that of a foreign clock; the machine's is read here, and only for what can end.
    cdef Entry* e = &t.entries[i]
    cdef int64_t until = e.expires if e.expires < t.lease_until else t.lease_until
    if (e.meta ^ t.epoch) >> EPOCH_SHIFT:
        return False
    if until == NEVER:
        return True
    return (steady_now() if likely(t.clock == NULL) else now_) < until


cdef inline uint32_t find_fresh(Table* t, PyObject* key) except 0xFFFFFFFF:
    # The fresh entry under `key`; NONE without one.
    cdef int64_t now_ = 0
    cdef uint32_t i
    if unlikely(t.clock != NULL):
        now_ = instant(t)
    i = find(t, key, hash_of(key))
    return i if i != NONE and is_fresh(t, i, now_) else NONE


cdef inline bint is_live(Table* t, int64_t now_) noexcept nogil:
    return t.lease_until == NEVER or now_ < t.lease_until


cdef inline int64_t later(int64_t instant_, int64_t span) noexcept nogil:
    return instant_ + span if span < NEVER - instant_ else NEVER


cdef uint32_t reclaim(Table* t, int64_t now_, uint32_t budget, Leaving* leaving) noexcept nogil:
    # Let go of entries that are past their stale window; at most `budget` are looked at.
    cdef uint64_t tick = <uint64_t> now_ >> TICK_BITS
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


cdef bint reserve(Table* t, Made* made, int64_t now_) except False:
    # See to it that placing can't fail. Runs no Python code.
    if made.stale and t.stales == NULL:
        t.stales = <int64_t*> calloc(t.capacity, sizeof(int64_t))
        if t.stales == NULL:
            raise MemoryError
    if made.deadline != NEVER and t.wheel == NULL:
        wheel_make(t, now_)
    return entries_reserve(t) and index_reserve(t)


cdef void set_times(Table* t, uint32_t i, Made* made) noexcept nogil:
    cdef int64_t before = deadline_of(t, i)
    t.entries[i].expires = made.expires
    if t.stales != NULL:
        t.stales[i] = made.stale
    if t.wheel != NULL:
        wheel_update(t, i, before, made.deadline)


cdef bint place(
    Table* t, uint32_t i, PyObject* key, uint64_t hash_, PyObject* value, Made* made, int64_t now_, Leaving* leaving
) noexcept:
    # Put the value in entry `i`, or in a new one if that is NONE; tell whether it could be held.
    cdef Entry* e
    if made.weight > t.max_bytes or made.deadline <= now_:
        if i != NONE:
            entry_remove(t, i, SIZE if made.weight > t.max_bytes else EXPIRED, leaving)
        return False
    if i == NONE:
        reclaim(t, now_, PER_WRITE, leaving)
        i = policy_admit(t, hash_, leaving)
        e = &t.entries[i]
        Py_INCREF(<object> key)
        e.key = key
        if t.stales != NULL:
            t.stales[i] = 0
        e.expires = NEVER
        index_put(t, i)
        t.count += 1
        t.changes += 1
    else:
        e = &t.entries[i]
        Py_INCREF(<object> e.key)
        leaving_note(leaving, e.key, e.value, e.meta & KIND, REPLACED)
        if t.weights != NULL:
            t.bytes -= t.weights[i]
        policy_hit(t, i)
    Py_INCREF(<object> value)
    e.value = value
    t.details[i].op = made.op
    e.meta = t.epoch | made.kind | (e.meta & (FREQ | IN_MAIN))
    if not is_gc(value) and not is_gc(e.key):
        e.meta |= PLAIN
    set_times(t, i, made)
    if t.weights != NULL:
        t.weights[i] = made.weight
        t.bytes += made.weight
        while t.bytes > t.max_bytes and leaving_room(leaving):
            entry_evict(t, policy_pop(t), leaving)
        return t.entries[i].value == value
    return True


@cython.final
cdef class Store:
    """The local tier's engine; see the contract."""

    cdef Table t
    cdef uint64_t epochs
    cdef uint64_t removal_errors
    cdef bint copies
    cdef object clock, encode, decode, weigher, on_removal
    cdef object __weakref__

    def __cinit__(
        self, maxsize, *, policy="adaptive", clock=None, copy="never", encode=None, decode=None,
        max_bytes=None, weigher=None, on_removal=None, seed=None,
    ):
        cdef Table* t = &self.t
        if copy not in ("auto", "never"):
            raise ConfigurationError(f"copy must be 'auto' or 'never', got {copy!r}")
        if policy not in ("lru", "lfu", "adaptive"):
            raise ConfigurationError(f"policy must be 'lru', 'lfu' or 'adaptive', got {policy!r}")
        if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 1):
            raise ConfigurationError(f"max_bytes must be None or an int >= 1, got {max_bytes!r}")
        t.maxsize = checked_size(maxsize)
        t.policy = LRU if policy == "lru" else LFU if policy == "lfu" else ADAPTIVE
        t.heads = policy_heads(t.policy)
        t.max_bytes = NEVER if max_bytes is None else max_bytes
        if clock is not None and type(clock) is not SystemClock:
            self.clock = clock.now
            t.clock = <PyObject*> self.clock
        self.copies = copy == "auto"
        if self.copies and not IMMUTABLE_TYPES:
            learn_immutable_types()
        self.encode = _pickled if encode is None else encode
        self.decode = pickle.loads if decode is None else decode
        self.weigher = weigher
        self.on_removal = on_removal
        seed = (process_seed if seed is None else seed) & 0xFFFFFFFFFFFFFFFF
        t.salt = mix64(seed)
        t.multiplier = t.salt | 1
        adaptive_init(t)
        table_init(t, max_bytes is not None)
        self.epochs = 1
        t.epoch = 1 << EPOCH_SHIFT

    def __dealloc__(self):
        table_free(&self.t)

    # Reading

    def get(self, key, default=None):
        """Return the fresh value, or `default`; counts a hit or a miss."""
        cdef uint32_t i = find_fresh(&self.t, <PyObject*> key)
        if i == NONE:
            self.t.misses += 1
            return default
        policy_hit(&self.t, i)
        if likely(not self.t.entries[i].meta & KIND):
            self.t.hits += 1
            return <object> self.t.entries[i].value
        return self.rebuilt_hit(i, default)

    def get_many(self, keys):
        """Return the fresh entries among `keys`; counts hits and misses."""
        cdef dict found = {}
        cdef uint32_t i
        cdef object value
        for key in keys:
            i = find_fresh(&self.t, <PyObject*> key)
            if i == NONE:
                self.t.misses += 1
                continue
            policy_hit(&self.t, i)
            if likely(not self.t.entries[i].meta & KIND):
                self.t.hits += 1
                value = <object> self.t.entries[i].value
            else:
                value = self.rebuilt_hit(i, MISSING)
                if value is MISSING:
                    continue
            PyDict_SetItem(found, key, value)
        return found

    def suspect(self, key, default=None):
        """Return the value if it is inside its stale window, fresh or not; counts nothing."""
        cdef Table* t = &self.t
        cdef int64_t now_ = instant(t), deadline
        cdef uint32_t i = find(t, <PyObject*> key, hash_of(<PyObject*> key))
        cdef object value
        if i == NONE:
            return default
        deadline = deadline_of(t, i)
        if deadline != NEVER and deadline <= now_:
            return default
        policy_hit(t, i)
        value = self.rebuilt(i)
        return default if value is MISSING else value

    def op(self, key):
        """Return the op tag of the entry under `key`, 0 if it has none; None without an entry."""
        cdef uint32_t i = find(&self.t, <PyObject*> key, hash_of(<PyObject*> key))
        return None if i == NONE else self.t.details[i].op

    def keys(self):
        """Return the keys of the fresh entries, in no order."""
        cdef Table* t = &self.t
        cdef int64_t now_ = instant(t)
        cdef uint32_t i
        cdef list keys = []
        for i in range(t.heads, t.used):
            if i < t.used and t.entries[i].key != NULL and is_fresh(t, i, now_):
                keys.append(<object> t.entries[i].key)
        return keys

    def __contains__(self, key):
        """Tell whether a fresh entry is there; counts nothing."""
        return find_fresh(&self.t, <PyObject*> key) != NONE

    def __len__(self):
        """Return the number of entries held, suspects included."""
        return self.t.count

    # Installing

    def token(self, key):
        """Return a fill token: take it *before* the read that may fill `key`."""
        cdef uint64_t hash_ = hash_of(<PyObject*> key)
        buckets_make(&self.t)
        return self.token_of(hash_)

    def begin_write(self, key):
        """Drop the entry, void every outstanding token of the key's bucket, and return a token for the write."""
        cdef Leaving leaving
        cdef uint64_t hash_ = hash_of(<PyObject*> key), token
        cdef uint32_t i = find(&self.t, <PyObject*> key, hash_)
        buckets_make(&self.t)
        leaving_init(&leaving)
        bucket_void(&self.t, hash_, 0)
        token = self.token_of(hash_)
        if i != NONE:
            entry_remove(&self.t, i, EXPLICIT, &leaving)
        self.release(&leaving)
        return token

    def install(
        self, key, value, uint64_t token, *, uint64_t op=0, int64_t expires, int64_t stale=0, bytes encoded=None
    ):
        """Put `value` if `token` still stands and the store is live; tell whether it was put."""
        cdef Table* t = &self.t
        cdef Leaving leaving
        cdef Made made
        cdef uint64_t hash_ = hash_of(<PyObject*> key)
        cdef int64_t now_ = instant(t)
        cdef bint placed
        cdef object kept
        cdef uint32_t i
        if not self.stands(hash_, token, op, now_):
            return False
        kept = self.make(key, value, op, expires, stale, encoded, &made)
        i = find(t, <PyObject*> key, hash_)
        reserve(t, &made, now_)
        # Making and finding may have run Python code: the token must still stand.
        if not self.stands(hash_, token, op, now_):
            return False
        leaving_init(&leaving)
        placed = place(t, i, <PyObject*> key, hash_, <PyObject*> kept, &made, now_, &leaving)
        self.release(&leaving)
        return placed

    def put(self, key, value, *, uint64_t op=0, int64_t expires, int64_t stale=0, bytes encoded=None):
        """Put `value` whatever the link, voiding outstanding tokens."""
        self.put_now(<PyObject*> key, value, op, expires, stale, encoded, instant(&self.t))

    def add(self, key, value, *, int64_t expires, int64_t stale=0, bytes encoded=None):
        """Put `value` unless a fresh entry is there; tell whether it was put."""
        return self.add_now(<PyObject*> key, value, expires, stale, encoded, instant(&self.t))

    def touch(self, key, *, int64_t expires, int64_t stale=0):
        """Give the fresh entry under `key` a new expiry, voiding outstanding tokens; tell whether there was one."""
        return self.touch_now(<PyObject*> key, expires, stale, instant(&self.t))

    def expires(self, key):
        """Return the instant at which the fresh entry under `key` expires (ns; NEVER), None without one."""
        cdef uint32_t i = find_fresh(&self.t, <PyObject*> key)
        return None if i == NONE else self.t.entries[i].expires

    # Removing

    def discard(self, key):
        """Remove the entry and void outstanding tokens; tell whether a fresh one was there."""
        cdef Table* t = &self.t
        cdef Leaving leaving
        cdef uint64_t hash_ = hash_of(<PyObject*> key)
        cdef int64_t now_ = instant(t)
        cdef uint32_t i = find(t, <PyObject*> key, hash_)
        cdef bint fresh = i != NONE and is_fresh(t, i, now_)
        leaving_init(&leaving)
        bucket_void(t, hash_, 0)
        if i != NONE:
            entry_remove(t, i, EXPLICIT, &leaving)
        self.release(&leaving)
        return fresh

    def clear(self):
        """Remove every entry and void every outstanding token."""
        self.bump_epoch()
        self.empty(EXPLICIT)

    # Coherence

    def apply(self, keys, uint64_t op):
        """Apply an invalidation of `keys` by write `op` (DESIGN rule 4); return how many keys it named."""
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
            if i != NONE and (op == 0 or t.details[i].op != op):
                leaving_init(&leaving)
                entry_remove(t, i, INVALIDATED, &leaving)
                self.release(&leaving)
        return count

    def bump_epoch(self):
        """Put every entry in doubt, in O(1), and void every outstanding token; return the new epoch."""
        self.epochs += 1
        self.t.epoch = (self.epochs & 0xFFFFFF) << EPOCH_SHIFT
        if self.t.epoch == 0:
            self.empty(INVALIDATED)  # entries of 2**24 epochs ago would look like this one's
        return self.epochs

    def renew(self, int64_t lease_until):
        """Make the store live until `lease_until` (ns); NEVER for a store without a link."""
        self.t.lease_until = lease_until

    def lose(self):
        """End the lease and bump the epoch: the link is gone."""
        self.t.lease_until = 0
        self.bump_epoch()

    @property
    def epoch(self):
        """How often everything was put in doubt."""
        return self.epochs

    @property
    def live(self):
        """Whether the lease holds now."""
        return is_live(&self.t, instant(&self.t))

    # Looking after

    def resize(self, maxsize):
        """Hold at most `maxsize` entries from now on; what is over leaves by the policy."""
        cdef Table* t = &self.t
        cdef Leaving leaving
        cdef uint32_t size = checked_size(maxsize)
        if t.policy == ADAPTIVE:
            adaptive_resize(t, size)
        t.maxsize = size
        while t.count > t.maxsize:
            leaving_init(&leaving)
            while t.count > t.maxsize and leaving.count < FEW:
                entry_evict(t, policy_pop(t), &leaving)
            self.release(&leaving)

    @property
    def maxsize(self):
        """Most entries held."""
        return self.t.maxsize

    def expire(self):
        """Reclaim what is past its stale window; return how many entries left."""
        cdef Leaving leaving
        cdef uint32_t count
        cdef int64_t now_ = instant(&self.t)
        leaving_init(&leaving)
        count = reclaim(&self.t, now_, PER_EXPIRE, &leaving)
        self.release(&leaving)
        return count

    def after(self, int64_t span):
        """Return the instant `span` ns from now; NEVER stays NEVER."""
        return NEVER if span == NEVER else later(instant(&self.t), span)

    def counters(self):
        """Return hits, misses, evictions, expirations, removal_errors, bytes (weights held) and entries."""
        return {
            "hits": self.t.hits, "misses": self.t.misses, "evictions": self.t.evictions,
            "expirations": self.t.expirations, "removal_errors": self.removal_errors,
            "bytes": self.t.bytes, "entries": self.t.count,
        }

    def validate(self):
        """Check the whole structure, O(n); raise AssertionError naming what is broken. For tests."""
        audit(&self.t)

    # Inside

    cdef uint64_t token_of(self, uint64_t hash_) noexcept:
        return (self.epochs & UINT32_MAX) << 32 | self.t.buckets.gens[bucket_of(&self.t, hash_)]

    cdef bint stands(self, uint64_t hash_, uint64_t token, uint64_t op, int64_t now_) noexcept:
        return (
            is_live(&self.t, now_)
            and token >> 32 == self.epochs & UINT32_MAX
            and bucket_stands(&self.t, hash_, <uint32_t> token, op)
        )

    cdef object make(
        self, object key, object value, uint64_t op, int64_t expires, int64_t stale, bytes encoded, Made* made
    ):
        # _Judge, copy, encode and weigh the value; return what is kept of it. Runs Python code.
        cdef object kept = value
        if stale < 0:
            raise ValueError(f"stale must be >= 0 ns, got {stale}")
        made.op = op
        made.expires = expires
        made.stale = stale
        made.deadline = later(expires, stale)
        made.kind = BY_REFERENCE
        made.weight = 0
        if self.copies:
            made.kind = judged(value)
            if made.kind == ENCODED:
                if encoded is None:
                    encoded = self.encode(value)
                kept = encoded
            elif made.kind != BY_REFERENCE:
                kept = copied(value, {} if made.kind == SHARED_TREE else None)
        if self.t.weights != NULL:
            if self.weigher is None:
                made.weight = len(<bytes?> self.encode(value) if encoded is None else encoded)
            else:
                made.weight = checked_weight(self.weigher(key, value), key)
        return kept

    cdef bint put_now(
        self, PyObject* key, object value, uint64_t op, int64_t expires, int64_t stale, bytes encoded, int64_t now_
    ) except -1:
        cdef Leaving leaving
        cdef Made made
        cdef Table* t = &self.t
        cdef uint64_t hash_ = hash_of(key)
        cdef object kept = self.make(<object> key, value, op, expires, stale, encoded, &made)
        cdef uint32_t i = find(t, key, hash_)
        cdef bint placed
        reserve(t, &made, now_)
        leaving_init(&leaving)
        bucket_void(t, hash_, 0)
        placed = place(t, i, key, hash_, <PyObject*> kept, &made, now_, &leaving)
        self.release(&leaving)
        return placed

    cdef bint add_now(
        self, PyObject* key, object value, int64_t expires, int64_t stale, bytes encoded, int64_t now_
    ) except -1:
        cdef Leaving leaving
        cdef Made made
        cdef Table* t = &self.t
        cdef uint64_t hash_ = hash_of(key)
        cdef uint32_t i = find(t, key, hash_)
        cdef object kept
        cdef bint placed
        if i != NONE and is_fresh(t, i, now_):
            return False
        kept = self.make(<object> key, value, 0, expires, stale, encoded, &made)
        i = find(t, key, hash_)
        if i != NONE and is_fresh(t, i, now_):
            return False
        reserve(t, &made, now_)
        leaving_init(&leaving)
        bucket_void(t, hash_, 0)
        placed = place(t, i, key, hash_, <PyObject*> kept, &made, now_, &leaving)
        self.release(&leaving)
        return placed

    cdef bint touch_now(self, PyObject* key, int64_t expires, int64_t stale, int64_t now_) except -1:
        cdef Leaving leaving
        cdef Made made
        cdef Table* t = &self.t
        cdef uint64_t hash_ = hash_of(key)
        cdef uint32_t i = find(t, key, hash_)
        if i == NONE or not is_fresh(t, i, now_):
            return False
        made.expires = expires
        made.stale = stale
        made.deadline = later(expires, stale)
        reserve(t, &made, now_)
        leaving_init(&leaving)
        bucket_void(t, hash_, 0)
        if made.deadline <= now_:
            entry_remove(t, i, EXPIRED, &leaving)
        else:
            set_times(t, i, &made)
            policy_hit(t, i)
        self.release(&leaving)
        return True

    cdef object rebuilt(self, uint32_t i):
        # What is handed out for the entry; MISSING if its bytes could not be decoded (the entry has left then).
        cdef Table* t = &self.t
        cdef uint32_t kind = t.entries[i].meta & KIND
        cdef object value = <object> t.entries[i].value, key
        cdef Leaving leaving
        if kind == BY_REFERENCE:
            return value
        if kind == TREE:
            return copied(value, None)
        if kind == SHARED_TREE:
            return copied(value, {})
        key = <object> t.entries[i].key
        try:
            return self.decode(value)
        except Exception:
            if i < t.used and t.entries[i].key == <PyObject*> key and t.entries[i].value == <PyObject*> value:
                leaving_init(&leaving)
                entry_remove(t, i, INVALIDATED, &leaving)
                self.release(&leaving)
            return MISSING

    cdef object rebuilt_hit(self, uint32_t i, object default):
        cdef object value = self.rebuilt(i)
        if value is MISSING:
            self.t.misses += 1
            return default
        self.t.hits += 1
        return value

    cdef int empty(self, uint32_t cause) except -1:
        # Remove every entry at once; the arrays start small again.
        cdef Table* t = &self.t
        cdef Detached old
        cdef uint32_t i
        table_detach(t, &old)
        try:
            if self.on_removal is not None:
                for i in range(old.heads, old.used):
                    if old.entries[i].key != NULL:
                        self.tell(old.entries[i].key, old.entries[i].value, old.entries[i].meta & KIND, cause)
        finally:
            free_entries(&old)
        return 0

    cdef int release(self, Leaving* leaving) except -1:
        # Tell the listener, and let go. Runs Python code: the table must be consistent.
        cdef uint32_t i
        try:
            if self.on_removal is not None:
                for i in range(leaving.count):
                    self.tell(leaving.items[i].key, leaving.items[i].value, leaving.items[i].kind, leaving.items[i].cause)
        finally:
            for i in range(leaving.count):
                Py_XDECREF(leaving.items[i].key)
                Py_XDECREF(leaving.items[i].value)
            if leaving.items != leaving.few:
                free(leaving.items)
        return 0

    cdef int tell(self, PyObject* key, PyObject* value, uint32_t kind, uint32_t cause) except -1:
        try:
            self.on_removal(<object> key, self.decode(<object> value) if kind == ENCODED else <object> value, CAUSES[cause])
        except Exception:
            self.removal_errors += 1
            log.exception("on_removal failed for key %r", <object> key)
        return 0


cdef object MISSING = object()


def _pickled(value):
    """Encode by pickle, for stores that were given no codec of their own."""
    return pickle.dumps(value, protocol=5)


cdef uint32_t checked_size(object maxsize) except 0:
    if type(maxsize) is not int or not 1 <= maxsize <= MOST_ENTRIES:
        raise ConfigurationError(f"maxsize must be an int from 1 to 2**30, got {maxsize!r}")
    return maxsize


cdef int64_t checked_weight(object weight, object key) except -1:
    if type(weight) is not int or not 0 <= weight < 1 << 62:
        raise ValueError(f"weigher must return an int >= 0, got {weight!r} for {key!r}")
    return weight
