# Quick gets: what a hit pays beside its lookup. Before the body of a method runs, Cython takes its arguments into a
# frame of owned references, with the defaults; that is a third of the instructions of a hit. So each `get` is entered
# through a function that answers the call that is made most, `get(key)` by the very str that was stored, and hands any
# other to what Cython made. The method stays what it was: its name, signature and docstring are of the latter.

cdef extern from *:
    """
    typedef PyObject *(*tt_method)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);

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


cdef inline PyObject* quick_hit(Table* t, PyObject** args, Py_ssize_t count, PyObject* names) noexcept:
    # A new reference to the value; NULL if the call is another than `get(key)`, or no hit that is met at once.
    cdef uint32_t i
    if unlikely(count != 1 or names != NULL or t == NULL):
        return NULL
    i = find_at_once(t, args[0])
    if unlikely(i == NONE or t.entries[i].meta & KIND):
        return NULL
    policy_hit(t, i)
    t.hits += 1
    return new_reference(t.entries[i].value)


cdef inline bint quick_miss(Table* t, PyObject** args, Py_ssize_t count, PyObject* names) except -1:
    # Whether the call is `get(key)` and a miss, which is counted.
    if unlikely(count != 1 or names != NULL or t == NULL) or search_fresh(t, args[0]) != NONE:
        return False
    t.misses += 1
    return True


cdef PyObject* quick_store_get(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) except NULL:
    cdef PyObject* found = quick_hit(&(<Store> self).t, args, count, names)
    if likely(found != NULL):
        return found
    if quick_miss(&(<Store> self).t, args, count, names):
        return new_reference(<PyObject*> None)
    return store_get(self, args, count, names)


cdef PyObject* quick_local_front_get(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) except NULL:
    cdef PyObject* found = quick_hit((<LocalFront> self).t, args, count, names)
    if likely(found != NULL):
        return found
    if quick_miss((<LocalFront> self).t, args, count, names):
        return new_reference(<PyObject*> None)
    return local_front_get(self, args, count, names)


cdef PyObject* quick_front_get(PyObject* self, PyObject** args, Py_ssize_t count, PyObject* names) except NULL:
    cdef PyObject* found = quick_hit((<Front> self).t, args, count, names)
    return found if likely(found != NULL) else front_get(self, args, count, names)


store_get = quicken(<PyTypeObject*> Store, "get", &quick_store_get)
front_get = quicken(<PyTypeObject*> Front, "get", &quick_front_get)
local_front_get = quicken(<PyTypeObject*> LocalFront, "get", &quick_local_front_get)
