# Declarations from C and CPython.

cimport cython
from cpython.dict cimport PyDict_Next, PyDict_SetItem
from cpython.exc cimport PyErr_Clear, PyErr_ExceptionMatches, PyErr_Occurred
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport Py_EQ, PyObject, PyObject_Hash, PyObject_RichCompareBool, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from cpython.set cimport PySet_Contains
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport INT64_MAX, INT64_MIN, UINT32_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

import logging
import os
import pickle

from twotier.clock import SystemClock
from twotier.errors import ConfigurationError
from twotier.rate_limited_log import RateLimitedLog

cdef extern from *:
    """
    /* TWOTIER_DEBUG=1 at build time: assertions on, in C as well. */
    #ifdef TWOTIER_DEBUG
    #undef NDEBUG
    #endif
    #include <assert.h>
    #include <stddef.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>

    #if defined(__GNUC__) || defined(__clang__)
    #define tt_lowest(x) ((uint32_t)__builtin_ctzll(x))
    #define tt_highest(x) ((uint32_t)(63 - __builtin_clzll(x)))
    #define tt_prefetch(p) __builtin_prefetch(p)
    #define tt_likely(x) __builtin_expect(!!(x), 1)
    #define tt_unlikely(x) __builtin_expect(!!(x), 0)
    #else
    static uint32_t tt_lowest(uint64_t x) { uint32_t n = 0; while (!(x & 1)) { x >>= 1; n++; } return n; }
    static uint32_t tt_highest(uint64_t x) { uint32_t n = 0; while (x >>= 1) n++; return n; }
    #define tt_prefetch(p) ((void)(p))
    #define tt_likely(x) (x)
    #define tt_unlikely(x) (x)
    #endif

    /* The hash of an exact str, -1 if it has none yet: without the call that PyObject_Hash is. */
    #define tt_str_hash(o) (((PyASCIIObject *)(o))->hash)
    #define tt_is_str(o) (Py_TYPE(o) == &PyUnicode_Type)
    #define tt_given(o) ((PyObject *)(o))
    /* Whether its type may be part of cycles; without the call that PyObject_IS_GC is. */
    #define tt_is_gc(o) PyType_HasFeature(Py_TYPE(o), Py_TPFLAGS_HAVE_GC)

    #define tt_type_name(o) (Py_TYPE(o)->tp_name)

    /* Whether two exact, hashed strs are equal. */
    static inline int tt_same_str(PyObject *a, PyObject *b) {
        Py_ssize_t length = PyUnicode_GET_LENGTH(a);
        return length == PyUnicode_GET_LENGTH(b) && PyUnicode_KIND(a) == PyUnicode_KIND(b)
            && memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b), (size_t)length * PyUnicode_KIND(a)) == 0;
    }

    /* splitmix64's finalizer: Python's hash of an int is nearly the int. */
    static inline uint64_t tt_mix64(uint64_t x) {
        x += UINT64_C(0x9E3779B97F4A7C15);
        x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
        return x ^ (x >> 31);
    }
    """
    void check "assert"(bint) noexcept nogil
    uint32_t lowest "tt_lowest"(uint64_t) noexcept nogil
    uint32_t highest "tt_highest"(uint64_t) noexcept nogil
    void prefetch "tt_prefetch"(void*) noexcept nogil
    bint likely "tt_likely"(bint) noexcept nogil
    bint unlikely "tt_unlikely"(bint) noexcept nogil
    Py_ssize_t str_hash "tt_str_hash"(PyObject*) noexcept nogil
    bint is_str "tt_is_str"(PyObject*) noexcept nogil
    bint is_gc "tt_is_gc"(PyObject*) noexcept nogil
    PyObject* new_reference "Py_NewRef"(PyObject*) noexcept nogil
    object given "tt_given"(PyObject*)  # of a new reference, which becomes the object's
    const char* Py_TYPE_name "tt_type_name"(PyObject*) noexcept nogil
    bint same_str "tt_same_str"(PyObject*, PyObject*) noexcept nogil
    uint64_t mix64 "tt_mix64"(uint64_t) noexcept nogil


cdef int64_t NEVER = INT64_MAX  # an instant that never comes
