# The policy of a table, and how entries come and leave.
#
# The policies count entries. If max_bytes is the tighter bound, `fits` follows the number of entries that the bytes
# allow, in steps of an eighth: a policy with a maxsize that is never reached would never treat the cache as full.


cdef uint32_t policy_heads(uint32_t policy) noexcept nogil:
    return LFU_HEADS if policy == LFU else ADAPTIVE_HEADS if policy == ADAPTIVE else LRU_HEADS


cdef void policy_init(Table* t) noexcept nogil:
    # Empty the rings. (A policy keeps its learned state, which describes the workload, not the content.)
    cdef uint32_t head
    for head in range(t.heads):
        memset(&t.entries[head], 0, sizeof(Entry))
        memset(&t.details[head], 0, sizeof(Details))
        ring_init(t, head)
    t.lru.pending = 0
    t.lfu.in_use = 0
    t.lfu.uses = 0
    t.lfu.era = 0
    t.adaptive.n_main = 0
    t.adaptive.n_probation = 0


cdef inline void policy_hit(Table* t, uint32_t i) noexcept nogil:
    # A resident entry was used.
    if t.policy == ADAPTIVE:
        adaptive_hit(t, i)
    elif t.policy == LRU:
        lru_hit(t, i)
    else:
        lfu_hit(t, i)


cdef void policy_forget(Table* t, uint32_t i) noexcept nogil:
    # The entry was deleted, or has expired.
    if t.policy == ADAPTIVE:
        adaptive_forget(t, i)
    elif t.policy == LRU:
        lru_unlink(t, i)
    else:
        lfu_unlink(t, i, lfu_count(t, i))


cdef inline uint32_t policy_pop(Table* t) noexcept nogil:
    # Choose the entry that makes room, and unlink it.
    cdef uint32_t i
    if t.policy == ADAPTIVE:
        return adaptive_pop(t)
    if t.policy == LRU:
        return lru_pop(t)
    i = lfu_oldest(t)
    lfu_unlink(t, i, lfu_count(t, i))
    return i


cdef inline void entry_leave(Table* t, uint32_t i, uint32_t cause, Leaving* leaving) noexcept nogil:
    # Remove an entry that the policy has already dropped from all other structures.
    cdef Entry* e = &t.entries[i]
    if deadline_of(t, i) != NEVER:
        wheel_remove(t, i)
    index_remove(t, i, t.details[i].hash)
    t.count -= 1
    t.changes += 1
    if t.weights != NULL:
        t.bytes -= t.weights[i]
    leaving_note(leaving, e.key, e.value, e.meta & KIND, cause)
    entry_free(t, i)


cdef inline void entry_remove(Table* t, uint32_t i, uint32_t cause, Leaving* leaving) noexcept nogil:
    policy_forget(t, i)
    entry_leave(t, i, cause, leaving)


cdef inline void entry_evict(Table* t, uint32_t i, Leaving* leaving) noexcept nogil:
    t.evictions += 1
    entry_leave(t, i, SIZE, leaving)


cdef void evict_few(Table* t, Leaving* leaving) noexcept nogil:
    # Begin `leaving` with entries that are over maxsize, as many as it takes.
    leaving_init(leaving)
    while t.count > t.maxsize and leaving.count < FEW:
        entry_evict(t, policy_pop(t), leaving)


cdef inline void prefetch_victims(Table* t, uint32_t head) noexcept nogil:
    # The oldest of a ring leave next: have their lines at hand by then, the very next one's slot and key as well.
    cdef uint32_t i = t.links[head].prev
    index_prefetch(t, t.details[i].hash)
    prefetch(t.entries[i].key)
    if t.policy == ADAPTIVE:
        ghosts_prefetch(&t.adaptive.ghosts, spread(t, t.details[i].hash))
    i = t.links[i].prev
    prefetch(&t.details[i])
    prefetch(&t.entries[i])


cdef inline void prefetch_admission(Table* t, uint64_t hash_) noexcept nogil:
    # Prefetch the ghosts of a key that may not be in the table.
    if t.policy == ADAPTIVE and t.count >= t.maxsize:
        ghosts_prefetch(&t.adaptive.ghosts, spread(t, hash_))


cdef inline bint is_crowded(Table* t, int64_t weight) noexcept nogil:
    # Whether an entry of that weight doesn't fit in.
    return t.count >= t.maxsize or t.bytes > t.max_bytes - weight


cdef void policy_fit(Table* t, uint32_t fits) noexcept nogil:
    if t.policy == ADAPTIVE:
        adaptive_resize(t, fits)
    t.fits = fits


cdef void policy_reckon(Table* t, int64_t weight) noexcept nogil:
    # Adapt the number of entries that the policy counts on to the bytes; it is never below the count.
    cdef uint64_t more = <uint64_t> t.fits + (t.fits >> 3) + 1
    if t.bytes > t.max_bytes - weight:
        if t.count < t.fits - (t.fits >> 3):
            policy_fit(t, t.count)
    elif t.count >= t.fits and t.fits < t.maxsize:
        policy_fit(t, <uint32_t> (more if more < t.maxsize else t.maxsize))


cdef inline void make_room(Table* t, int64_t weight, Leaving* leaving) noexcept nogil:
    # Let entries go until one of that weight fits in.
    while is_crowded(t, weight) and leaving_room(leaving):
        entry_evict(t, policy_pop(t), leaving)


cdef inline void admit_adaptive(Table* t, uint32_t i, bint promote) noexcept nogil:
    cdef Adaptive* a = &t.adaptive
    if promote or a.n_main < a.main_target:  # a cold cache fills main first
        adaptive_to_main(t, i)
    else:
        t.entries[i].stamp = a.misses
        ring_push(t, PROBATION, i)
        a.n_probation += 1


cdef inline bint learn_and_make_room(Table* t, uint64_t hash_, int64_t weight, Leaving* leaving) noexcept nogil:
    # adaptive: learn from the ghost of the key that comes, make room for it, and return True if it belongs in main.
    cdef Adaptive* a = &t.adaptive
    cdef uint32_t victim
    cdef bint promote
    a.misses += 1
    if not is_crowded(t, weight):
        return adaptive_learn(t, hash_)
    victim = adaptive_age(t)
    promote = adaptive_learn(t, hash_)
    if victim == NONE and promote and a.n_main and a.n_main >= a.main_target:
        victim = adaptive_drop_main(t, adaptive_settle(t))
    if victim != NONE:
        entry_evict(t, victim, leaving)
        prefetch_victims(t, MAIN)  # its turn comes in some misses: until then it is nearer
    make_room(t, weight, leaving)
    prefetch_victims(t, PROBATION)
    return promote


cdef inline uint32_t policy_admit(Table* t, uint64_t hash_, int64_t weight, Leaving* leaving) noexcept nogil:
    # Make room for a new entry, take it, and put it in its ring. (entries_reserve saw to it that there is one.)
    cdef uint32_t i
    cdef bint promote = False
    if t.weights != NULL:
        policy_reckon(t, weight)
    if t.policy == ADAPTIVE:
        promote = learn_and_make_room(t, hash_, weight, leaving)
    elif is_crowded(t, weight):
        make_room(t, weight, leaving)
        if t.policy == LRU:
            prefetch_victims(t, LRU_HEAD)
    i = entry_take(t)
    t.details[i].hash = hash_
    t.entries[i].meta = 0
    if t.policy == ADAPTIVE:
        admit_adaptive(t, i, promote)
    elif t.policy == LRU:
        lru_add(t, i)
    else:
        lfu_link(t, i, 1)
        lfu_used(t)
    return i
