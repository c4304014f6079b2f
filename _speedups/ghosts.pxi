# Ghosts: keys that left, as (fingerprint, stamp) in buckets of eight; the oldest of a bucket gives way.
#
# A bucket is a cache line. The table (8 bytes a ghost) is made when the first ghost comes, so when the cache is full
# for the first time; without memory for it, the policy goes on without ghosts.

cdef enum:
    WAYS = 8


cdef uint32_t ghost_buckets(uint64_t slots) noexcept nogil:
    return <uint32_t> ((slots + WAYS - 1) // WAYS) if slots > WAYS else 1


cdef inline uint64_t* ghost_bucket(Ghosts* g, uint64_t mixed) noexcept nogil:
    return g.cells + (((mixed >> 32) * g.buckets) >> 32) * WAYS


cdef inline void ghosts_prefetch(Ghosts* g, uint64_t mixed) noexcept nogil:
    if g.cells != NULL:
        prefetch(ghost_bucket(g, mixed))


cdef inline uint64_t ghost_print(uint64_t mixed) noexcept nogil:
    cdef uint64_t fingerprint = mixed & UINT32_MAX
    return fingerprint if fingerprint else 1


cdef void ghosts_init(Ghosts* g, uint64_t slots) noexcept nogil:
    g.cells = NULL
    g.block = NULL
    g.live = 0
    g.buckets = ghost_buckets(slots)


cdef bint ghosts_take(Ghosts* g, uint64_t mixed, uint32_t* stamp) noexcept nogil:
    # Forget the ghost and tell its stamp; False without one.
    cdef uint64_t* bucket
    cdef uint64_t fingerprint = ghost_print(mixed)
    cdef int i
    if g.cells == NULL:
        return False
    bucket = ghost_bucket(g, mixed)
    for i in range(WAYS):
        if bucket[i] >> 32 == fingerprint:
            stamp[0] = <uint32_t> bucket[i]
            bucket[i] = 0
            g.live -= 1
            return True
    return False


cdef void ghosts_put(Ghosts* g, uint64_t mixed, uint32_t stamp, uint32_t now_) noexcept nogil:
    cdef uint64_t* bucket
    cdef int i, best = 0
    cdef int64_t age, oldest = -1
    if g.cells == NULL:
        g.block = calloc(<size_t> g.buckets * WAYS * sizeof(uint64_t) + 63, 1)
        if g.block == NULL:
            return
        g.cells = <uint64_t*> aligned(g.block)
    bucket = ghost_bucket(g, mixed)
    for i in range(WAYS):
        if bucket[i] == 0:
            best = i
            g.live += 1
            break
        age = <uint32_t> (now_ - <uint32_t> bucket[i])
        if age >= oldest:
            oldest = age
            best = i
    bucket[best] = ghost_print(mixed) << 32 | stamp


cdef void ghosts_resize(Ghosts* g, uint64_t slots, uint32_t now_) noexcept nogil:
    # Give the table `slots`; ghosts stay where their buckets have room, the newest of them otherwise.
    cdef Ghosts other
    cdef uint64_t i, high
    ghosts_init(&other, slots)
    if g.cells != NULL:
        for i in range(<uint64_t> g.buckets * WAYS):
            if g.cells[i]:
                # A bucket's place stands for the high hash bits; the middle of its range is the best guess of them.
                high = ((2 * (i // WAYS) + 1) << 31) // g.buckets
                ghosts_put(&other, high << 32 | g.cells[i] >> 32, <uint32_t> g.cells[i], now_)
        free(g.block)
    g[0] = other
