# Buckets of fill tokens: which fills and writes in flight may still install what they bring (docs/design.md, protocol).
#
# A bucket is the keys that share ten bits of their hash: a generation, which every void of one of them advances, the
# prints (16 more bits) of the keys that were voided last, and the last op that voided, with its generation. A token is
# epoch << 32 | generation, taken before the read. It stands while the epoch is unchanged and no void since was of its
# key, but for one by the very write that made the value. After more than 16 voids nobody knows, and it doesn't stand;
# nor does a write's, if another write of its bucket came in after it. Either costs one install. The 48 KiB are made
# when the first token is taken: before, there is nothing to void.

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
    # Void the tokens of the key, but for that of the write `op` itself (0: for none).
    cdef Bucket* b
    if t.buckets != NULL:
        b = bucket_of(t, hash_)
        b.gen += 1
        b.voided[b.gen % VOIDED] = print_in_bucket(t, hash_)
        if op != 0:
            b.last_op, b.op_gen = op, b.gen


cdef inline bint bucket_stands(Table* t, uint64_t hash_, uint32_t generation, uint64_t op) noexcept nogil:
    cdef Bucket* b
    cdef uint32_t since, back, gen = 0, voids = 0
    cdef uint16_t mine
    if t.buckets == NULL:
        return generation == 0
    b = bucket_of(t, hash_)
    since = b.gen - generation
    if since > VOIDED:
        return False
    mine = print_in_bucket(t, hash_)
    for back in range(since):
        if b.voided[(b.gen - back) % VOIDED] == mine:
            voids += 1
            gen = b.gen - back
    return voids == 0 or (op != 0 and voids == 1 and b.op_gen == gen and b.last_op == op)
