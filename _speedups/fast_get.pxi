# Fast gets: less overhead of a hit beside its lookup. Before the body of a method runs, Cython takes its arguments into
# a frame of owned references, with the defaults; that is a third of the instructions of a hit. So each `get` is entered
# through a function that answers the most frequent call, `get(key)` of a value that is handed out by reference, and
# passes any other call to Cython's own function. The method keeps the name, signature and docstring of Cython's
# function.

cdef extern from *:
    """
    /* As Cython writes it, without const. */
    typedef PyObject *(*tt_method)(PyObject *, PyObject **, Py_ssize_t, PyObject *);

    /* Have the method call `quick`; return what it called before, NULL where methods are called in another way. */
    static tt_method tt_quicken(PyTypeObject *type, const char *name, tt_method quick) {
        PyObject *method = PyDict_GetItemString(type->tp_dict, name);
        if (method == NULL || Py_TYPE(method) != &PyMethodDescr_Type) return NULL;
        PyMethodDef *definition = ((PyMethodDescrObject *)method)->d_method;
        if (definition->ml_flags != (METH_FASTCALL | METH_KEYWORDS)) return NULL;
        tt_method before = (tt_method)(void (*)(void))definition->ml_meth;
        definition->ml_meth = (PyCFunction)(void (*)(void))quick;
        return before;
    }
    """
    ctypedef PyObject* (*Method "tt_method")(PyObject*, PyObject**, Py_ssize_t, PyObject*) except NULL
    Method quicken "tt_quicken"(PyTypeObject*, const char*, Method) noexcept


cdef Method store_get = NULL, front_get = NULL, local_front_get = NULL


cdef inline bint is_plain_get(Table* t, Py_ssize_t count, PyObject* names) noexcept:
    return likely(count == 1 and names == NULL and t != NULL)


cdef inline PyObject* quick_value(Table* t, uint32_t i) noexcept:
    # A new reference to the value of a hit, which is counted; NULL for one that is handed out by copy.
    if unlikely(t.entries[i].meta & KIND):
        return NULL
    policy_hit(t, i)
    t.hits += 1
    return new_reference(t.entries[i].value)


cdef inline PyObject* quick_get(Table* t, PyObject* key) except? NULL:
    # The result of `get(key)`, a new reference; NULL for a hit that is handed out by copy.
    cdef uint32_t i = find_fresh(t, key)
    if likely(i != NONE):
        return quick_value(t, i)
    t.misses += 1
    return new_reference(<PyObject*> None)


cdef PyObject* quick_store_get(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) except NULL:
    cdef Table* t = &(<Store> self).t
    cdef PyObject* found = quick_get(t, args[0]) if is_plain_get(t, count, names) else NULL
    return found if likely(found != NULL) else store_get(self, args, count, names)


cdef PyObject* quick_local_front_get(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) except NULL:
    cdef Table* t = (<LocalFront> self).t
    cdef PyObject* found = quick_get(t, args[0]) if is_plain_get(t, count, names) else NULL
    return found if likely(found != NULL) else local_front_get(self, args, count, names)


cdef PyObject* quick_front_get(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) except NULL:
    cdef Table* t = (<Front> self).t
    cdef PyObject* found = NULL
    cdef uint32_t i
    if is_plain_get(t, count, names) and likely(is_str(args[0])):
        i = find_fresh(t, args[0])
        if likely(i != NONE):
            found = quick_value(t, i)
    return found if likely(found != NULL) else front_get(self, args, count, names)


store_get = quicken(<PyTypeObject*> Store, "get", &quick_store_get)
front_get = quicken(<PyTypeObject*> Front, "get", &quick_front_get)
local_front_get = quicken(<PyTypeObject*> LocalFront, "get", &quick_local_front_get)
