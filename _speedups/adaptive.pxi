# adaptive: two lists, their ghosts, and a boundary that learns. (twotier/local/twin/adaptive.py says it in Python.)
#
# Probation (LRU, small) takes new keys; main (CLOCK: a hit only bumps a 2-bit counter) keeps proven ones. Keys that
# leave either are remembered as ghosts, and a ghost that comes back moves the boundary q, the target size of
# probation: one of probation grows it, one of main shrinks it. A ghost of probation that was seen since main's oldest
# entry (LIRS's test) goes to main at once. A cold cache fills main first. Main's tail ages, so that stale content
# leaves.
#
# Invariants: n_probation + n_main == count <= maxsize; q_min <= q <= q_max. Every loop is capped, so each call is
# O(1); a main hit writes one byte of a line that the lookup has loaded. Bytes: links and stamp in the entry, and 8
# an entry of capacity for ghosts. Stamps count misses (probation) and moves of main (its ghosts), u32, compared as
# signed differences.

cdef enum:
    MAIN = 0             # head of main's ring
    PROBATION = 1        # head of probation's ring
    ADAPTIVE_HEADS = 2
    STEPS = 32           # most second chances, and most promotions, in one call
    MOST_FREQ = 3
    PROVEN = 2           # uses in probation that make an entry a candidate for main
    AGING_PERIOD = 8192  # misses between two steps of aging, times the entries of main
    LEAST_AGING = 128    # misses between two steps of aging, whatever main holds


cdef void adaptive_set_capacity(Table* t, uint64_t capacity) noexcept nogil:
    cdef Adaptive* a = &t.adaptive
    cdef uint64_t least = capacity // 100 if capacity >= 100 else 1, most = capacity * 99 // 100
    if most > capacity - 1:
        most = capacity - 1
    a.capacity = <uint32_t> capacity
    a.q_min = <double> least
    a.q_max = <double> (most if most > least else least)
    a.horizon = <uint32_t> (capacity // 2) if capacity >= 2 else 1


cdef inline void adaptive_set_q(Adaptive* a, double q) noexcept nogil:
    a.q = a.q_min if q < a.q_min else a.q_max if q > a.q_max else q
    a.main_target = <int64_t> a.capacity - <int64_t> a.q


cdef void adaptive_init(Table* t) noexcept nogil:
    cdef Adaptive* a = &t.adaptive
    memset(a, 0, sizeof(Adaptive))
    adaptive_set_capacity(t, t.fits)
    adaptive_set_q(a, <double> <uint64_t> (t.fits * 0.1 + 0.5))
    ghosts_init(&a.ghosts, t.fits)


cdef void adaptive_resize(Table* t, uint32_t fits) noexcept nogil:
    # Keep the learned boundary, in proportion. (The caller evicts the surplus.)
    cdef Adaptive* a = &t.adaptive
    cdef double share = a.q / a.capacity
    adaptive_set_capacity(t, fits)
    adaptive_set_q(a, share * fits)
    ghosts_resize(&a.ghosts, fits, a.misses, a.main_ops)


cdef inline int32_t since(uint32_t later, uint32_t earlier) noexcept nogil:
    return <int32_t> (later - earlier)


cdef inline void adaptive_hit(Table* t, uint32_t i) noexcept nogil:
    cdef Entry* e = &t.entries[i]
    if e.meta & FREQ < MOST_FREQ:
        e.meta += 1
    if not e.meta & IN_MAIN:  # a main hit is a counter and nothing else
        if t.links[PROBATION].next != i:
            ring_unlink(t, i)
            ring_push(t, PROBATION, i)
        e.stamp = t.adaptive.misses


cdef inline void adaptive_rotate(Table* t, uint32_t i) noexcept nogil:
    t.entries[i].meta -= 1
    ring_unlink(t, i)
    ring_push(t, MAIN, i)
    t.entries[i].stamp = t.adaptive.misses
    t.adaptive.main_ops += 1


cdef uint32_t adaptive_settle(Table* t) noexcept nogil:
    # Give second chances at main's tail; return the tail (MAIN itself when main is empty).
    cdef uint32_t tail
    cdef int step
    for step in range(STEPS):
        tail = t.links[MAIN].prev
        if tail == MAIN or not t.entries[tail].meta & FREQ:
            return tail
        adaptive_rotate(t, tail)
    return t.links[MAIN].prev


cdef bint adaptive_is_newer(Table* t, uint32_t stamp) noexcept nogil:
    # LIRS's test: was it seen since main's oldest was?
    cdef uint32_t tail = adaptive_settle(t)
    return tail == MAIN or since(stamp, t.entries[tail].stamp) > 0


cdef uint32_t adaptive_drop_main(Table* t, uint32_t i) noexcept nogil:
    cdef Adaptive* a = &t.adaptive
    ring_unlink(t, i)
    a.n_main -= 1
    a.main_ops += 1
    ghosts_put(&a.ghosts, OF_MAIN, spread(t, t.details[i].hash), a.main_ops, a.main_ops)
    return i


cdef void adaptive_to_main(Table* t, uint32_t i) noexcept nogil:
    t.entries[i].meta = (t.entries[i].meta | IN_MAIN) & ~<uint32_t> FREQ
    t.entries[i].stamp = t.adaptive.misses
    ring_push(t, MAIN, i)
    t.adaptive.n_main += 1
    t.adaptive.main_ops += 1


cdef void adaptive_forget(Table* t, uint32_t i) noexcept nogil:
    # Drop an entry without a ghost.
    ring_unlink(t, i)
    if t.entries[i].meta & IN_MAIN:
        t.adaptive.n_main -= 1
    else:
        t.adaptive.n_probation -= 1


cdef uint32_t adaptive_age(Table* t) noexcept nogil:
    # Let main forget: every so many misses its tail loses a chance, or its place (then it is returned).
    cdef Adaptive* a = &t.adaptive
    cdef uint32_t tail
    a.age_count += 1
    if likely(a.age_count < LEAST_AGING) or a.age_count < AGING_PERIOD // (a.n_main if a.n_main else 1):
        return NONE
    a.age_count = 0
    tail = t.links[MAIN].prev
    if tail == MAIN:
        return NONE
    if t.entries[tail].meta & FREQ:
        adaptive_rotate(t, tail)
        return NONE
    return adaptive_drop_main(t, tail)


cdef inline uint32_t adaptive_pop(Table* t) noexcept nogil:
    # Choose the entry that makes room, and unlink it.
    cdef Adaptive* a = &t.adaptive
    cdef uint32_t oldest, promotions = 0
    while True:
        if a.n_main > a.main_target or a.n_probation == 0:
            return adaptive_drop_main(t, adaptive_settle(t))
        oldest = t.links[PROBATION].prev
        ring_unlink(t, oldest)
        a.n_probation -= 1
        if t.entries[oldest].meta & FREQ >= PROVEN:
            promotions += 1
            if promotions <= STEPS and adaptive_is_newer(t, t.entries[oldest].stamp):
                adaptive_to_main(t, oldest)
                continue
        ghosts_put(&a.ghosts, OF_PROBATION, spread(t, t.details[oldest].hash), t.entries[oldest].stamp, a.misses)
        if a.q > a.q_min:
            adaptive_set_q(a, a.q - 1.0 / 256)
        return oldest


cdef inline double adaptive_step(uint32_t others, uint32_t own) noexcept nogil:
    # How far a ghost moves the boundary: by the ratio of live ghosts, one to four.
    cdef double step = <double> others / <double> (own if own else 1)
    return 1.0 if step < 1.0 else 4.0 if step > 4.0 else step


cdef inline bint adaptive_learn(Table* t, uint64_t hash_) noexcept nogil:
    # Move the boundary if the key left lately; return True if it belongs in main at once.
    cdef uint16_t stamp = 0
    cdef uint32_t kind = ghosts_take(&t.adaptive.ghosts, spread(t, hash_), &stamp)
    return kind != 0 and adaptive_learn_from(t, kind, stamp)


cdef bint adaptive_learn_from(Table* t, uint32_t kind, uint16_t noted) noexcept nogil:
    cdef Adaptive* a = &t.adaptive
    cdef uint32_t tail, stamp = ghost_stamp(&a.ghosts, noted, a.main_ops if kind == OF_MAIN else a.misses)
    cdef int64_t oldest
    cdef bint promote
    if kind == OF_MAIN:
        if since(a.main_ops, stamp) <= <int64_t> a.horizon:  # main was too small
            adaptive_set_q(a, a.q - adaptive_step(a.ghosts.of_probation, a.ghosts.of_main))
        return False
    promote = adaptive_is_newer(t, stamp)
    tail = t.links[PROBATION].prev
    oldest = 0 if tail == PROBATION else since(a.misses, t.entries[tail].stamp)
    if since(a.misses, stamp) <= oldest + a.horizon:  # probation was too small
        adaptive_set_q(a, a.q + adaptive_step(a.ghosts.of_main, a.ghosts.of_probation))
    return promote
