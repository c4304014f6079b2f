# Ghosts: keys that left, as (fingerprint, stamp) in buckets of eight; six for those that left probation, two for those
# of main. The oldest of its kind in the bucket gives way.
#
# A bucket is half a cache line, so a key that comes is looked for by one comparison, whichever list it left. Stamps are
# the 16 bits of a counter above the lowest `shift`, so that they reach back at least 16 times the capacity, in steps of
# a 4,096th of it. The table (8 bytes an entry of capacity) is made when the first ghost comes, so when the cache is
# full for the first time; without memory for it, the policy goes on without ghosts.

cdef enum:
    WAYS = 8
    FEWEST_BUCKETS = 4
    STEPS_BACK = 4096    # steps of stamps that a capacity is cut into, at least half of them
    OF_PROBATION = 0x3F  # the places, as bits, of each kind
    OF_MAIN = 0xC0

cdef extern from *:
    """
    #if defined(__SSE2__) || defined(_M_X64)
    static inline uint32_t tt_lanes(__m128i words) {
        return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(words, _mm_setzero_si128()));
    }

    /* The ghosts of a bucket that have the fingerprint, as bits. */
    static inline uint32_t tt_ghosts(const uint16_t *prints, uint16_t print) {
        return tt_lanes(_mm_cmpeq_epi16(_mm_load_si128((const __m128i *)prints), _mm_set1_epi16((short)print)));
    }

    /* The place of the oldest among `places` (a mask of lanes); of those that are as old, the last. */
    static inline uint32_t tt_oldest_in(const uint16_t *stamps, uint16_t now, __m128i places) {
        const __m128i least = _mm_set1_epi16(-32768);
        __m128i ages = _mm_sub_epi16(_mm_set1_epi16((short)now), _mm_load_si128((const __m128i *)stamps));
        ages = _mm_xor_si128(ages, least);  /* in the order of signed numbers */
        ages = _mm_or_si128(_mm_and_si128(places, ages), _mm_andnot_si128(places, least));
        __m128i most = _mm_max_epi16(ages, _mm_shuffle_epi32(ages, 0x4E));
        most = _mm_max_epi16(most, _mm_shuffle_epi32(most, 0xB1));
        most = _mm_max_epi16(most, _mm_shufflehi_epi16(_mm_shufflelo_epi16(most, 0xB1), 0xB1));
        return tt_highest(tt_lanes(_mm_and_si128(places, _mm_cmpeq_epi16(ages, most))));
    }
    static inline uint32_t tt_oldest(const uint16_t *stamps, uint16_t now, int main) {
        return tt_oldest_in(stamps, now, main ? _mm_set_epi16(-1, -1, 0, 0, 0, 0, 0, 0)
                                              : _mm_set_epi16(0, 0, -1, -1, -1, -1, -1, -1));
    }
    #else
    static inline uint32_t tt_ghosts(const uint16_t *prints, uint16_t print) {
        uint32_t found = 0;
        for (int i = 0; i < 8; i++) found |= (uint32_t)(prints[i] == print) << i;
        return found;
    }
    static inline uint32_t tt_oldest(const uint16_t *stamps, uint16_t now, int main) {
        uint32_t place = main ? 6 : 0, end = main ? 8 : 6;
        for (uint32_t i = place; i < end; i++) {
            if ((uint16_t)(now - stamps[i]) >= (uint16_t)(now - stamps[place])) place = i;
        }
        return place;
    }
    #endif
    """
    uint32_t ghosts_with "tt_ghosts"(const uint16_t*, uint16_t) noexcept nogil
    uint32_t ghost_oldest "tt_oldest"(const uint16_t*, uint16_t, bint) noexcept nogil


cdef uint32_t ghost_buckets(uint64_t capacity) noexcept nogil:
    # Two ghosts an entry.
    return <uint32_t> ((capacity + 3) // 4) if capacity > 4 * FEWEST_BUCKETS else FEWEST_BUCKETS


cdef inline GhostBucket* ghost_bucket(Ghosts* g, uint64_t mixed) noexcept nogil:
    return &g.table[((mixed >> 32) * g.buckets) >> 32]


cdef inline void ghosts_prefetch(Ghosts* g, uint64_t mixed) noexcept nogil:
    if g.table != NULL:
        prefetch(ghost_bucket(g, mixed))


cdef inline uint16_t ghost_print(uint64_t mixed) noexcept nogil:
    cdef uint16_t fingerprint = <uint16_t> (mixed >> 16)
    return fingerprint if fingerprint else 1


cdef void ghosts_init(Ghosts* g, uint64_t capacity) noexcept nogil:
    g.table = NULL
    g.block = NULL
    g.of_probation = g.of_main = g.shift = 0
    g.buckets = ghost_buckets(capacity)
    while capacity >> g.shift > STEPS_BACK:
        g.shift += 1


cdef inline uint32_t ghost_stamp(Ghosts* g, uint16_t stamp, uint32_t now_) noexcept nogil:
    # The counter's value at the time of the stamp, without its lowest bits.
    cdef uint32_t steps = now_ >> g.shift
    return steps - <uint16_t> (steps - stamp) << g.shift


cdef inline uint32_t ghosts_take(Ghosts* g, uint64_t mixed, uint16_t* stamp) noexcept nogil:
    # Remove the ghost and return its stamp and kind; 0 without one.
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
    else:
        i = ghost_oldest(bucket.stamps, <uint16_t> (now_ >> g.shift), kind == OF_MAIN)
    bucket.prints[i] = ghost_print(mixed)
    bucket.stamps[i] = <uint16_t> (stamp >> g.shift)


cdef void ghosts_resize(Ghosts* g, uint64_t capacity, uint32_t misses, uint32_t main_ops) noexcept nogil:
    # Make a table for `capacity`; ghosts stay where their buckets have room, the newest of them otherwise.
    cdef Ghosts other
    cdef GhostBucket* bucket
    cdef uint64_t n, mixed
    cdef uint32_t kind, now_
    cdef int i
    ghosts_init(&other, capacity)
    if g.table != NULL:
        for n in range(g.buckets):
            bucket = &g.table[n]
            for i in range(WAYS):
                if bucket.prints[i]:
                    # A bucket's place encodes the high hash bits; the middle of its range is the best guess of them.
                    mixed = ((2 * n + 1) << 31) // g.buckets << 32 | <uint64_t> bucket.prints[i] << 16
                    kind = OF_PROBATION if OF_PROBATION >> i & 1 else OF_MAIN
                    now_ = misses if kind == OF_PROBATION else main_ops
                    ghosts_put(&other, kind, mixed, ghost_stamp(g, bucket.stamps[i], now_), now_)
        free(g.block)
    g[0] = other
