# lfu: evicts the oldest of the least used, and forgets.
#
# One ring for each number of uses from 0 to 63; a bitmap tells which have entries, so a hit and an eviction are O(1).
# After every ten uses an entry of capacity all counts are halved: rings 2n and 2n+1 become ring n (64 splices), and the
# era goes up by one. Entries aren't visited: each notes its count with the era it had then, and shifts when next used.
# A key used every day and then no more sinks to 0 in six halvings.

cdef enum:
    LFU_HEADS = 64
    LFU_MOST_USES = 63
    LFU_USES_PER_HALVING = 10


cdef inline uint32_t lfu_count(Table* t, uint32_t i) noexcept nogil:
    # Entry.stamp: era << 8 | count then.
    cdef uint32_t stamp = t.entries[i].stamp
    cdef uint32_t halvings = (t.lfu.era - (stamp >> 8)) & 0xFFFFFF
    return (stamp & 0xFF) >> halvings if halvings < 8 else 0


cdef inline void lfu_unlink(Table* t, uint32_t i, uint32_t count) noexcept nogil:
    ring_unlink(t, i)
    if ring_empty(t, count):
        t.lfu.in_use &= ~(<uint64_t> 1 << count)


cdef inline void lfu_link(Table* t, uint32_t i, uint32_t count) noexcept nogil:
    ring_push(t, count, i)
    t.lfu.in_use |= <uint64_t> 1 << count
    t.entries[i].stamp = (t.lfu.era & 0xFFFFFF) << 8 | count


cdef void lfu_halve(Table* t) noexcept nogil:
    cdef uint32_t count
    cdef uint64_t in_use = 0
    t.lfu.uses = 0
    t.lfu.era += 1
    for count in range(LFU_HEADS // 2):
        if count:
            ring_splice(t, count, 2 * count)
        ring_splice(t, count, 2 * count + 1)
        if not ring_empty(t, count):
            in_use |= <uint64_t> 1 << count
    t.lfu.in_use = in_use


cdef inline void lfu_used(Table* t) noexcept nogil:
    t.lfu.uses += 1
    if t.lfu.uses >= LFU_USES_PER_HALVING * <uint64_t> t.fits:
        lfu_halve(t)


cdef inline void lfu_hit(Table* t, uint32_t i) noexcept nogil:
    cdef uint32_t count = lfu_count(t, i)
    lfu_unlink(t, i, count)
    lfu_link(t, i, count + 1 if count < LFU_MOST_USES else count)
    lfu_used(t)


cdef inline uint32_t lfu_oldest(Table* t) noexcept nogil:
    return t.links[lowest(t.lfu.in_use)].prev
