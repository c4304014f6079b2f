# Ghosts: keys that left, as (fingerprint, stamp) in buckets of eight; six for those that left probation, two for those
# of main. The oldest of its kind in the bucket gives way.
#
# A bucket is a cache line, so a key that comes is looked for by one comparison, whichever list it left. The table (16
# bytes an entry of capacity) is made when the first ghost comes, so when the cache is full for the first time; without
# memory for it, the policy goes on without ghosts.

cdef enum:
    WAYS = 8
    FEWEST_BUCKETS = 4
    OF_PROBATION = 0x3F  # the places, as bits, of each kind
    OF_MAIN = 0xC0

cdef extern from *:
    """
    /* The ghosts of a bucket that have the fingerprint, as bits. */
    #if defined(__SSE2__) || defined(_M_X64)
    static inline uint32_t tt_ghosts(const uint32_t *prints, uint32_t print) {
        __m128i same = _mm_set1_epi32((int)print);
        __m128i low = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)prints), same);
        __m128i high = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)(prints + 4)), same);
        return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(low, high), _mm_setzero_si128()));
    }
    #else
    static inline uint32_t tt_ghosts(const uint32_t *prints, uint32_t print) {
        uint32_t found = 0;
        for (int i = 0; i < 8; i++) found |= (uint32_t)(prints[i] == print) << i;
        return found;
    }
    #endif
    """
    uint32_t ghosts_with "tt_ghosts"(const uint32_t*, uint32_t) noexcept nogil


cdef uint32_t ghost_buckets(uint64_t capacity) noexcept nogil:
    # Two ghosts an entry.
    return <uint32_t> ((capacity + 3) // 4) if capacity > 4 * FEWEST_BUCKETS else FEWEST_BUCKETS


cdef inline GhostBucket* ghost_bucket(Ghosts* g, uint64_t mixed) noexcept nogil:
    return &g.table[((mixed >> 32) * g.buckets) >> 32]


cdef inline void ghosts_prefetch(Ghosts* g, uint64_t mixed) noexcept nogil:
    if g.table != NULL:
        prefetch(ghost_bucket(g, mixed))


cdef inline uint32_t ghost_print(uint64_t mixed) noexcept nogil:
    cdef uint32_t fingerprint = <uint32_t> mixed
    return fingerprint if fingerprint else 1


cdef void ghosts_init(Ghosts* g, uint64_t capacity) noexcept nogil:
    g.table = NULL
    g.block = NULL
    g.of_probation = g.of_main = 0
    g.buckets = ghost_buckets(capacity)


cdef inline uint32_t ghosts_take(Ghosts* g, uint64_t mixed, uint32_t* stamp) noexcept nogil:
    # Forget the ghost and tell its stamp and kind; 0 without one.
    cdef GhostBucket* bucket
    cdef uint32_t found
    if g.table == NULL:
        return 0
    bucket = ghost_bucket(g, mixed)
    found = ghosts_with(bucket.prints, ghost_print(mixed))
    if likely(found == 0):
        return 0
    stamp[0] = bucket.stamps[lowest(found)]
    bucket.prints[lowest(found)] = 0
    if found & OF_PROBATION:
        g.of_probation -= 1
        return OF_PROBATION
    g.of_main -= 1
    return OF_MAIN


cdef inline int ghost_oldest(GhostBucket* bucket, uint32_t now_, uint64_t first, uint64_t last) noexcept nogil:
    # The place of the oldest; of two that are as old, the later.
    cdef uint64_t i, aged, oldest = 0  # age << 3 | place
    for i in range(first, last + 1):
        aged = <uint64_t> <uint32_t> (now_ - bucket.stamps[i]) << 3 | i
        oldest = aged if aged > oldest else oldest
    return oldest & 7


cdef inline void ghosts_put(Ghosts* g, uint32_t kind, uint64_t mixed, uint32_t stamp, uint32_t now_) noexcept nogil:
    cdef GhostBucket* bucket
    cdef uint32_t vacant
    cdef int i
    if unlikely(g.table == NULL):
        g.block = calloc(<size_t> g.buckets * sizeof(GhostBucket) + 63, 1)
        if g.block == NULL:
            return
        g.table = <GhostBucket*> aligned(g.block)
    bucket = ghost_bucket(g, mixed)
    vacant = ghosts_with(bucket.prints, 0) & kind
    if vacant:
        i = lowest(vacant)
        if kind == OF_PROBATION:
            g.of_probation += 1
        else:
            g.of_main += 1
    elif kind == OF_PROBATION:
        i = ghost_oldest(bucket, now_, 0, 5)
    else:
        i = ghost_oldest(bucket, now_, 6, 7)
    bucket.prints[i] = ghost_print(mixed)
    bucket.stamps[i] = stamp


cdef void ghosts_resize(Ghosts* g, uint64_t capacity, uint32_t misses, uint32_t main_ops) noexcept nogil:
    # Make a table for `capacity`; ghosts stay where their buckets have room, the newest of them otherwise.
    cdef Ghosts other
    cdef GhostBucket* bucket
    cdef uint64_t n, high
    cdef int i
    ghosts_init(&other, capacity)
    if g.table != NULL:
        for n in range(g.buckets):
            bucket = &g.table[n]
            # A bucket's place stands for the high hash bits; the middle of its range is the best guess of them.
            high = ((2 * n + 1) << 31) // g.buckets << 32
            for i in range(WAYS):
                if bucket.prints[i]:
                    if OF_PROBATION >> i & 1:
                        ghosts_put(&other, OF_PROBATION, high | bucket.prints[i], bucket.stamps[i], misses)
                    else:
                        ghosts_put(&other, OF_MAIN, high | bucket.prints[i], bucket.stamps[i], main_ops)
        free(g.block)
    g[0] = other
