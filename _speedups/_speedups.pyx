# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""The compiled local tier. `twotier/_speedups.pyi` is its contract, `twotier/local/twin/store.py` its Python twin.

One module, so that its parts call each other in C; one idea a part, in the order in which they build on each other:

    platform    what is taken from C and CPython, and the debug build's assertions
    clock       the machine's steady clock, read cheaply
    entries     the entries and the table that holds them
    index       hash to entry: open addressing, no tombstones
    rings       doubly linked lists of entries, as the policies use them
    lru, lfu, ghosts, adaptive, policy    which entry leaves
    wheel       which entry's time is over
    buckets     which fill tokens still stand
    leaving     what left the table, released when it is consistent again
    table       making it, and taking everything out at once
    pairs       the containers seen in one walk through a value
    copies      what may be handed out by reference, and what is copied
    audit       the check of the whole structure, for tests
    placing     the steps of an operation
    store       the store: all of the above under one contract
    values      what the store keeps, hands out and lets go of
    plain       puts in stores that ask for nothing but that
    many        reading many keys at once
    demoting    expiring entries on request, their copies kept
    collect     the store as the garbage collector sees it
    atomic      reading and removing, or putting, in one step
    awaiting    a result that is there, as something to await
    faces       the thin callers of a store: Front and AsyncFront (a two-tier cache's), LocalFront (LocalCache's)
    quick       hits of `get` without what Cython's calls cost
    calls       which calls have which key, for memos
    memo        the thin caller under a cached function, from a call's arguments to its value
    replies     the reader of what servers send, which knows nothing of the rest
    codec_tags, codec_types, codec_format, codec_crowding    values as bytes and back: the plain format, and its limits
    codec_writer, codec_encode, codec_encode_atoms, codec_encode_python    its encoder
    codec_reader, codec_decode, codec_decode_atoms, codec_decode_containers    its decoder

The rule that keeps it whole: Python code can run inside any DECREF, comparison, hash, codec, weigher, listener or
foreign clock, and call back. An operation therefore runs in three steps: what may run Python code and raise (hash,
clock, copying, looking up), then what changes the table (C alone, can't fail), then what lets go of objects.
"""

include "platform.pxi"
include "clock.pxi"
include "entries.pxi"
include "index.pxi"
include "rings.pxi"
include "lru.pxi"
include "lfu.pxi"
include "ghosts.pxi"
include "adaptive.pxi"
include "wheel.pxi"
include "buckets.pxi"
include "removal.pxi"
include "policy.pxi"
include "table.pxi"
include "pairs.pxi"
include "copies.pxi"
include "audit.pxi"
include "put.pxi"
include "store.pxi"
include "values.pxi"
include "plain.pxi"
include "many.pxi"
include "soft_expiry.pxi"
include "collect.pxi"
include "awaitables.pxi"
include "atomic.pxi"
include "fronts.pxi"
include "fast_get.pxi"
include "calls.pxi"
include "memo.pxi"
include "replies.pxi"
include "codec_tags.pxi"
include "codec_types.pxi"
include "codec_format.pxi"
include "codec_crowding.pxi"
include "codec_writer.pxi"
include "codec_encode.pxi"
include "codec_encode_atoms.pxi"
include "codec_encode_python.pxi"
include "codec_reader.pxi"
include "codec_decode.pxi"
include "codec_decode_atoms.pxi"
include "codec_decode_containers.pxi"
