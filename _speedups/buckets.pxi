# Buckets of fill tokens decide which fills and writes in flight may still install their values (docs/design.md).
#
# A bucket holds the keys that share ten bits of their hash. It has a generation, which every void of one of its keys
# advances; the prints (16 more bits) of the keys voided last; and the last op that voided keys, with a flag for each of
# its voids. A token is epoch << 32 | generation, taken before the read. A token is valid while the epoch is unchanged
# and its key has not been voided since, except once by the write that made the value. After more than 16 voids the
# bucket can't tell, and the token is invalid; so is a write's token if another write of the bucket comes in after the
# write's own void. Either case costs one install. The table's 48 KiB are allocated for the first token: before that,
# there is nothing to void.

cdef enum:
    BUCKET_BITS = 10
    VOIDED = 16


cdef inline Bucket* bucket_of(Table* t, uint64_t hash_) noexcept nogil:
    return &t.buckets[spread(t, hash_) >> (64 - BUCKET_BITS)]


cdef inline uint16_t print_in_bucket(Table* t, uint64_t hash_) noexcept nogil:
    return <uint16_t> (spread(t, hash_) >> (64 - BUCKET_BITS - 16))


cdef inline bint buckets_make(Table* t) except False:
    if t.buckets == NULL:
        t.buckets = <Bucket*> calloc(1 << BUCKET_BITS, sizeof(Bucket))
        if t.buckets == NULL:
            raise MemoryError
    return True


cdef inline void bucket_void(Table* t, uint64_t hash_, uint64_t op) noexcept nogil:
    # Void the tokens of the key, except the token of write `op` (0: no exception).
    cdef Bucket* b
    cdef uint16_t bit
    if t.buckets != NULL:
        b = bucket_of(t, hash_)
        b.gen += 1
        b.voided[b.gen % VOIDED] = print_in_bucket(t, hash_)
        bit = <uint16_t> 1 << (b.gen % VOIDED)
        if op == 0:
            b.by_last_op &= ~bit
        else:
            b.by_last_op = bit | (b.by_last_op if op == b.last_op else 0)
            b.last_op = op


cdef inline bint bucket_stands(Table* t, uint64_t hash_, uint32_t generation, uint64_t op) noexcept nogil:
    cdef Bucket* b
    cdef uint32_t since, back, spot, voids = 0
    cdef uint16_t mine
    cdef bint by_last_op = False
    if t.buckets == NULL:
        return generation == 0
    b = bucket_of(t, hash_)
    since = b.gen - generation
    if since > VOIDED:
        return False
    mine = print_in_bucket(t, hash_)
    for back in range(since):
        spot = (b.gen - back) % VOIDED
        if b.voided[spot] == mine:
            voids += 1
            by_last_op = b.by_last_op >> spot & 1
    return voids == 0 or (op != 0 and voids == 1 and by_last_op and b.last_op == op)
