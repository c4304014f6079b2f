# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""The compiled local tier. `twotier/_speedups.pyi` is its contract, `twotier/local/twin/store.py` its Python twin.

One module, so that its parts call each other in C. Each part holds one idea, and builds on the parts before it:

    platform    declarations from C and CPython, and the debug build's assertions
    clock       the machine's steady clock, read cheaply
    entries     the entries and the table that holds them
    index       hash to entry: open addressing, no tombstones
    rings       doubly linked lists of entries, as the policies use them
    lru, lfu, ghosts, adaptive, policy    which entry leaves
    wheel       the timer wheel that finds entries past their stale window
    buckets     the validity of fill tokens
    removal     removed entries, released when the table is consistent again
    table       making a table, and emptying it at once
    pairs       the containers seen in one walk through a value
    copies      the copy rule: by reference, copied, or encoded
    audit       the check of the whole structure, for tests
    put         the steps of an operation
    store       the store: all of the above under one contract
    values      keeping, handing out and releasing values
    plain       fast puts in stores without weights, listeners, copies and expiry
    many        reading many keys at once
    soft_expiry expiring entries on request, their copies kept
    collect     the store as the garbage collector sees it
    atomic      reading and removing, or putting, in one step
    awaitables  awaitables of results that are already known
    fronts      the thin callers of a store: Front and AsyncFront (a two-tier cache's), LocalFront (LocalCache's)
    fast_get    hits of `get` without the overhead of Cython's calls
    calls       a table from calls to keys, for memos
    memo        the thin caller under a cached function, from a call's arguments to its value
    replies     the reader of server replies, independent of the other parts
    codec_tags, codec_types, codec_format, codec_crowding    values as bytes and back: the plain format, and its limits
    codec_writer, codec_encode, codec_encode_atoms, codec_encode_python    its encoder
    codec_reader, codec_decode, codec_decode_atoms, codec_decode_containers    its decoder

The rule that keeps the table consistent: Python code can run inside any DECREF, comparison, hash, codec, weigher,
listener or foreign clock, and call back. An operation therefore has three steps: first the calls that may run Python
code and raise (hash, clock, copying, lookup), then the change of the table (C alone, can't fail), then the release of
objects.
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
