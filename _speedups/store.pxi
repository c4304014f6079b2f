# The store: the contract of twotier/_speedups.pyi over the parts above.

cdef enum:
    PER_EXPIRE = 1024    # entries that a call of expire() may reclaim
    AHEAD = 16           # distance in entries at which keys() prefetches a key

cdef object process_seed = int.from_bytes(os.urandom(8), "little")


@cython.final
cdef class Store:
    """The local tier's engine; see the contract."""

    cdef Table t
    cdef uint64_t epochs
    cdef uint64_t removal_errors
    cdef bint copies
    cdef object clock, encode, decode, watch, weigher, on_removal, log
    cdef object __weakref__

    def __cinit__(
        self, maxsize, *, policy="adaptive", clock=None, copy="never", encode=None, decode=None,
        max_bytes=None, weigher=None, on_removal=None, seed=None,
    ):
        cdef Table* t = &self.t
        cdef uint32_t size = checked_size(maxsize)
        cdef uint64_t mixed
        cdef int chosen
        if copy not in ("auto", "never", "check"):
            raise ConfigurationError(f"copy must be 'auto', 'never' or 'check', got {copy!r}")
        if policy not in ("lru", "lfu", "adaptive"):
            raise ConfigurationError(f"policy must be 'lru', 'lfu' or 'adaptive', got {policy!r}")
        if max_bytes is not None and (type(max_bytes) is not int or not 1 <= max_bytes <= 1 << 62):
            raise ConfigurationError(f"max_bytes must be None or an int from 1 to 2**62, got {max_bytes!r}")
        chosen = ("lru", "lfu", "adaptive").index(policy)
        if clock is not None and type(clock) is not SystemClock:
            self.clock = clock.now
        self.copies = copy != "never"
        if self.copies and not IMMUTABLE_TYPES:
            learn_immutable_types()
        self.encode = _pickled if encode is None else encode
        self.decode = pickle.loads if decode is None else decode
        if copy == "check":
            # Late, since importing twotier.local imports this module.
            from twotier.local.twin.mutation_check import Watch, Watched
            self.watch = Watched
            self.decode = Watch().value
        self.weigher = weigher
        self.on_removal = on_removal
        self.log = RateLimitedLog(SystemClock())
        mixed = mix64((process_seed if seed is None else seed) & 0xFFFFFFFFFFFFFFFF)
        # From here on only C runs. Before, foreign code could find the store, through the collector, as `unmade`.
        t.maxsize = t.fits = size
        t.policy = <uint32_t> chosen
        t.heads = policy_heads(t.policy)
        t.max_bytes = NEVER if max_bytes is None else <int64_t> max_bytes
        if self.clock is not None:
            t.clock = <PyObject*> self.clock
        t.plain = not self.copies and max_bytes is None and on_removal is None
        t.salt = mixed
        t.multiplier = t.salt | 1
        adaptive_init(t)
        table_init(t, max_bytes is not None)
        self.epochs = 1
        t.epoch = epoch_of(1)

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
        return rebuilt_hit(self, i, default)

    def get_many(self, keys):
        """Return the fresh entries among `keys`; counts hits and misses."""
        return get_many(self, keys if type(keys) is tuple else list(keys))

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
        value = rebuilt(self, i)
        return default if value is MISSING else value

    def lapsed(self, key, int64_t window, default=None):
        """Return the value that expired less than `window` ns ago, if only its expiry keeps it from being fresh."""
        cdef Table* t = &self.t
        cdef int64_t now_ = instant(t), expires, over
        cdef uint32_t i = find(t, <PyObject*> key, hash_of(<PyObject*> key))
        cdef object value
        if i == NONE or (t.entries[i].meta ^ t.epoch) >> EPOCH_SHIFT or not is_live(t, now_):
            return default
        expires = t.entries[i].expires
        over = later(expires, window if window > 0 else 0)
        if now_ < expires or now_ >= over or now_ >= deadline_of(t, i) or t.entries[i].meta & DEMOTED:
            return default
        policy_hit(t, i)
        value = rebuilt(self, i)
        return default if value is MISSING else value

    def op(self, key):
        """Return the op tag of the entry under `key`, 0 if it has none; None without an entry."""
        cdef uint32_t i = find(&self.t, <PyObject*> key, hash_of(<PyObject*> key))
        return None if i == NONE else op_of(&self.t, i)

    def keys(self):
        """Return the keys of the fresh entries, in no order."""
        cdef Table* t = &self.t
        cdef int64_t now_ = instant(t)
        cdef uint32_t i
        cdef list keys = []
        for i in range(t.heads, t.used):
            if i + AHEAD < t.used:
                prefetch(t.entries[i + AHEAD].key)
            if i < t.used and t.entries[i].key != NULL and is_fresh_at(t, i, now_):
                keys.append(<object> t.entries[i].key)
        return keys

    def __contains__(self, key):
        """Return True if a fresh entry is there; counts nothing."""
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

    def stands(self, key, uint64_t token):
        """Return True if `token`, taken for `key`, is still valid, whether or not the store is live."""
        return self.token_stands(hash_of(<PyObject*> key), token, 0)

    def begin_write(self, key):
        """Drop the entry, void every outstanding token of the key, and return a token for the write."""
        cdef Leaving leaving
        cdef uint64_t hash_ = hash_of(<PyObject*> key), token
        cdef uint32_t i = find(&self.t, <PyObject*> key, hash_)
        buckets_make(&self.t)
        leaving_init(&leaving)
        bucket_void(&self.t, hash_, 0)
        token = self.token_of(hash_)
        if i != NONE:
            entry_remove(&self.t, i, EXPLICIT, &leaving)
        release(self, &leaving)
        return token

    def install(
        self, key, value, uint64_t token, *, uint64_t op=0, int64_t expires, int64_t stale=0, bytes encoded=None,
        bint keep=False
    ):
        """Put `value` if `token` is still valid and the store is live; return True if it was put."""
        cdef Table* t = &self.t
        cdef Leaving leaving
        cdef Made made = made_for(op, expires, checked_stale(stale))
        cdef uint64_t hash_ = hash_of(<PyObject*> key)
        cdef int64_t now_ = instant(t)
        cdef bint placed, live
        cdef object kept
        cdef uint32_t i
        if not ((keep or is_live(t, now_)) and self.token_stands(hash_, token, op)):
            return False
        kept = make(self, key, value, encoded, &made)
        i = find(t, <PyObject*> key, hash_)
        # Making and finding may have run Python code: check the token again.
        live = is_live(t, now_)
        if not ((keep or live) and self.token_stands(hash_, token, op)):
            return False
        made.doubted = not live
        reserve(t, &made, now_)
        leaving_init(&leaving)
        placed = place(t, i, <PyObject*> key, hash_, <PyObject*> kept, &made, now_, &leaving)
        release(self, &leaving)
        return placed and live

    def put(self, key, value, *, uint64_t op=0, int64_t expires, int64_t stale=0, bytes encoded=None):
        """Put `value` whatever the link, voiding outstanding tokens."""
        cdef Made made = made_for(op, expires, checked_stale(stale))
        self.put_now(<PyObject*> key, value, encoded, &made, instant(&self.t))

    def add(self, key, value, *, int64_t expires, int64_t stale=0, bytes encoded=None):
        """Put `value` unless a fresh entry is there; return True if it was put."""
        cdef Made made = made_for(0, expires, checked_stale(stale))
        return self.add_now(<PyObject*> key, value, encoded, &made, instant(&self.t))

    def touch(self, key, *, int64_t expires, int64_t stale=0):
        """Give the fresh entry under `key` a new expiry, voiding outstanding tokens; return True if there was one."""
        cdef Made made = made_for(0, expires, checked_stale(stale))
        return self.touch_now(<PyObject*> key, &made, instant(&self.t))

    def expires(self, key):
        """Return the instant at which the fresh entry under `key` expires (ns; NEVER), None without one."""
        cdef uint32_t i = find_fresh(&self.t, <PyObject*> key)
        return None if i == NONE else self.t.entries[i].expires

    # Removing

    def discard(self, key):
        """Remove the entry and void outstanding tokens; return True if a fresh one was there."""
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
        release(self, &leaving)
        return fresh

    def clear(self):
        """Remove every entry and void every outstanding token."""
        self.bump_epoch()
        empty(self, EXPLICIT)

    # Coherence

    def apply(self, keys, uint64_t op, *, bint keep=False):
        """Apply an invalidation of `keys` by write `op` (docs/design.md, rule 4); return the number of keys."""
        return invalidate(self, keys, op, keep)

    def demote(self, keys, uint64_t op):
        """Apply an expiry of `keys` by write `op`; return the number of keys."""
        return demote(self, keys, op)

    def demoted(self, key):
        """Return True if the entry under `key` was demoted, and all messages have been heard since."""
        return demoted(&self.t, <PyObject*> key)

    def bump_epoch(self):
        """Make every entry suspect, in O(1), and void every outstanding token; return the new epoch."""
        self.epochs += 1
        self.t.epoch = epoch_of(self.epochs)
        if self.t.epoch == epoch_of(0):
            empty(self, INVALIDATED)  # entries of 2**24 - 1 epochs ago would seem to be of this epoch
        return self.epochs

    def renew(self, int64_t lease_until):
        """Make the store live until `lease_until` (ns); NEVER for a store without a link."""
        self.t.lease_until = lease_until

    def lose(self):
        """End the lease and bump the epoch: the link is gone."""
        self.t.lease_until = INT64_MIN
        self.bump_epoch()

    @property
    def epoch(self):
        """The current epoch, which rises each time all entries become suspect."""
        return self.epochs

    @property
    def live(self):
        """Whether the lease holds now."""
        return is_live(&self.t, instant(&self.t))

    # Looking after

    def resize(self, maxsize):
        """Hold at most `maxsize` entries from now on; the policy evicts the surplus."""
        cdef uint32_t size = checked_size(maxsize)
        policy_fit(&self.t, size)
        self.t.maxsize = size
        shed(self)

    @property
    def maxsize(self):
        """Most entries held."""
        return self.t.maxsize

    def expire(self):
        """Reclaim entries past their stale window; return how many left."""
        cdef Leaving leaving
        cdef uint32_t count
        cdef int64_t now_ = instant(&self.t)
        leaving_init(&leaving)
        count = reclaim(&self.t, now_, PER_EXPIRE, &leaving)
        if self.t.former != NULL:
            index_move(&self.t, PER_EXPIRE)
        if count == 0 and self.t.count == 0:
            table_shrink(&self.t)
        release(self, &leaving)
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
        """Check the whole structure, O(n); raise AssertionError that names the broken part. For tests."""
        audit(&self.t)

    # Inside

    cdef uint64_t token_of(self, uint64_t hash_) noexcept:
        return (self.epochs & UINT32_MAX) << 32 | bucket_of(&self.t, hash_).gen

    cdef bint token_stands(self, uint64_t hash_, uint64_t token, uint64_t op) noexcept:
        return token >> 32 == self.epochs & UINT32_MAX and bucket_stands(&self.t, hash_, <uint32_t> token, op)

    cdef bint put_now(self, PyObject* key, object value, bytes encoded, Made* made, int64_t now_) except -1:
        cdef Leaving leaving
        cdef Table* t = &self.t
        cdef uint64_t hash_ = hash_of(key)
        cdef object kept
        cdef uint32_t i
        cdef bint placed
        prefetch_admission(t, hash_)
        kept = make(self, <object> key, value, encoded, made)
        i = find(t, key, hash_)
        reserve(t, made, now_)
        leaving_init(&leaving)
        bucket_void(t, hash_, 0)
        placed = place(t, i, key, hash_, <PyObject*> kept, made, now_, &leaving)
        release(self, &leaving)
        return placed

    cdef bint add_now(self, PyObject* key, object value, bytes encoded, Made* made, int64_t now_) except -1:
        cdef Leaving leaving
        cdef Table* t = &self.t
        cdef uint64_t hash_ = hash_of(key)
        cdef uint32_t i = find(t, key, hash_)
        cdef object kept
        cdef bint placed
        if i != NONE and is_fresh(t, i, now_):
            return False
        kept = make(self, <object> key, value, encoded, made)
        i = find(t, key, hash_)
        if i != NONE and is_fresh(t, i, now_):
            return False
        reserve(t, made, now_)
        leaving_init(&leaving)
        bucket_void(t, hash_, 0)
        placed = place(t, i, key, hash_, <PyObject*> kept, made, now_, &leaving)
        release(self, &leaving)
        return placed

    cdef bint touch_now(self, PyObject* key, Made* made, int64_t now_) except -1:
        cdef Leaving leaving
        cdef Table* t = &self.t
        cdef uint64_t hash_ = hash_of(key)
        cdef uint32_t i = find(t, key, hash_)
        if i == NONE or not is_fresh(t, i, now_):
            return False
        reserve(t, made, now_)
        leaving_init(&leaving)
        bucket_void(t, hash_, 0)
        if made.deadline <= now_:
            entry_remove(t, i, EXPIRED, &leaving)
        else:
            set_times(t, i, made)
            policy_hit(t, i)
        release(self, &leaving)
        return True
