# The store as the garbage collector sees it: keys and values live in C arrays, which Cython knows nothing of.
#
# Cython's own tp_traverse and tp_clear see to the attributes (clock, codec, listener); these add the entries.

ctypedef int (*Visit)(PyObject*, void*) noexcept
ctypedef int (*Traverse)(PyObject*, Visit, void*) noexcept
ctypedef int (*Clear)(PyObject*) noexcept
ctypedef PyObject* (*Alloc)(PyTypeObject*, Py_ssize_t) except NULL

cdef extern from *:
    """
    #define tt_traverse_of(type) (((PyTypeObject *)(type))->tp_traverse)
    #define tt_clear_of(type) (((PyTypeObject *)(type))->tp_clear)
    #define tt_set_alloc(type, alloc) (((PyTypeObject *)(type))->tp_alloc = (allocfunc)(alloc))
    #define tt_set_slots(type, traverse, clear) \\
        (tt_traverse_of(type) = (traverse), tt_clear_of(type) = (clear))
    """
    Traverse traverse_of "tt_traverse_of"(PyObject*)
    Clear clear_of "tt_clear_of"(PyObject*)
    PyObject* PyType_GenericAlloc(PyTypeObject*, Py_ssize_t) except NULL
    void set_alloc "tt_set_alloc"(PyObject*, Alloc)
    void set_slots "tt_set_slots"(PyObject*, Traverse, Clear)

cdef Traverse traverse_attributes
cdef Clear clear_attributes


cdef int store_traverse(PyObject* self, Visit visit, void* arg) noexcept:
    cdef Table* t = &(<Store> self).t
    cdef uint32_t i
    cdef int stop = traverse_attributes(self, visit, arg)
    if stop:
        return stop
    for i in range(t.heads, t.used):
        if t.entries[i].key != NULL and not t.entries[i].meta & PLAIN:
            stop = visit(t.entries[i].key, arg)
            if not stop:
                stop = visit(t.entries[i].value, arg)
            if stop:
                return stop
    return 0


cdef int store_clear(PyObject* self) noexcept:
    # Break cycles. Finalizers may still call the store, so it stays whole; without memory for that, it stays as it is.
    cdef Table* t = &(<Store> self).t
    cdef Detached old
    try:
        table_detach(t, &old)
    except MemoryError:
        return 0
    t.clock = NULL
    free_entries(&old, False)
    return clear_attributes(self)


cdef PyObject* store_alloc(PyTypeObject* kind, Py_ssize_t items) except NULL:
    # From here on the collector tracks the store, and `gc` functions return it.
    cdef PyObject* self = PyType_GenericAlloc(kind, items)
    table_unmade(&(<Store> self).t)
    return self


traverse_attributes = traverse_of(<PyObject*> Store)
clear_attributes = clear_of(<PyObject*> Store)
set_slots(<PyObject*> Store, store_traverse, store_clear)
set_alloc(<PyObject*> Store, store_alloc)
