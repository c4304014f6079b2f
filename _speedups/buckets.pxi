# Buckets of fill tokens: which fills and writes in flight may still install what they bring (docs/design.md, protocol).
#
# A bucket is the keys that share twelve bits of their hash: a generation, and the op that last advanced it. A token is
# epoch << 32 | generation, taken before the read. It stands while both are unchanged, or when the only advance since is
# the invalidation by the very write that made the value. Sharing a bucket with another key can only void a token, which
# costs one install. The 48 KiB are made when the first token is taken: before, there is nothing to void.

cdef enum:
    BUCKET_BITS = 12


cdef inline uint32_t bucket_of(Table* t, uint64_t hash_) noexcept nogil:
    return <uint32_t> (spread(t, hash_) >> (64 - BUCKET_BITS))


cdef inline bint buckets_make(Table* t) except False:
    if t.buckets == NULL:
        t.buckets = <Buckets*> calloc(1, sizeof(Buckets))
        if t.buckets == NULL:
            raise MemoryError
    return True


cdef inline void bucket_void(Table* t, uint64_t hash_, uint64_t op) noexcept nogil:
    # Void the bucket's tokens, but for that of the write `op` itself (0: for none).
    cdef uint32_t bucket
    if t.buckets != NULL:
        bucket = bucket_of(t, hash_)
        t.buckets.gens[bucket] += 1
        t.buckets.last_ops[bucket] = op


cdef inline bint bucket_stands(Table* t, uint64_t hash_, uint32_t generation, uint64_t op) noexcept nogil:
    cdef uint32_t bucket, gen = 0
    if t.buckets == NULL:
        return generation == 0
    bucket = bucket_of(t, hash_)
    gen = t.buckets.gens[bucket]
    return gen == generation or (op != 0 and gen == <uint32_t> (generation + 1) and t.buckets.last_ops[bucket] == op)
