# Values that the encoder can't take apart without Python code: collections, extension types, and user types.

cdef int put_python(PlainFormat form, Writer* w, PyObject* value) except -1:
    cdef object it = <object> value, kind = type(it), builder
    need_care(w)
    if kind is OrderedDict or kind is Counter or kind is DefaultDict or kind is Deque:
        if open_value(form, w, value):
            put_collection(form, w, it, kind)
            w.depth -= 1
        return 0
    builder = form.builders_by_type.get(kind)
    if builder is not None:
        ensure_room(w, 2)
        put_byte(w, P_EXTENSION)
        put_byte(w, <int> builder.number)
        arguments = builder.take_apart(it)
        for argument in <tuple> arguments:
            put_object(form, w, argument)
        w.weight += builder.weigh(*arguments)
        return 0
    if kind not in form.allowed:
        raise SerializationError(
            f"a value of type {type_name(it)} can't be stored: add it to allow=, or set secret="
        )
    if isinstance(it, Enum):
        go_in(form, w)
        put_member(form, w, it)
    elif open_value(form, w, value):
        put_instance(form, w, it)
    else:
        return 0
    w.depth -= 1
    return 0


cdef int put_collection(PlainFormat form, Writer* w, object value, object kind) except -1:
    cdef object items
    cdef Py_ssize_t count
    if kind is Deque:
        items = tuple(value)
        count = len(<tuple> items)
        put_head(w, P_DEQUE, 0 if value.maxlen is None else <uint64_t> value.maxlen + 1)
        w.weight += deque_weight(count)
        ensure_room(w, 10)
        put_varint(w, count)
        for item in <tuple> items:
            put_object(form, w, item)
        return 0
    items = dict(value.items()) if kind is OrderedDict else PyDict_Copy(value)
    count = len(<dict> items)
    if kind is OrderedDict:
        put_head(w, P_ORDERED, count)
        w.weight += ordered_weight(count)
    else:
        w.weight += counter_weight(count)
        if kind is Counter:
            put_head(w, P_COUNTER, count)
        else:
            put_head(w, P_DEFAULT, factory_number(form, value.default_factory))
            ensure_room(w, 10)
            put_varint(w, count)
    return put_pairs(form, w, <dict> items)


cdef int factory_number(PlainFormat form, object factory) except -1:
    cdef int number = 0
    for known in form.factories:
        if known is factory:
            return number
        number += 1
    names = ", ".join("None" if known is None else known.__name__ for known in form.factories)
    raise SerializationError(f"a defaultdict can be stored with one of the factories {names}, this one has {factory!r}")


cdef object reduced_value(PlainFormat form, Writer* w, object value):
    # The parts of a value of an allowed type: the same in both passes, and alive until the end.
    cdef dict known = <dict> w.reduced
    cdef object number = <size_t> <PyObject*> value, reduced = known.get(number)
    if reduced is None:
        reduced = form.allowed.reduce(value)
        reduced = reduced._replace(
            items=None if reduced.items is None else list(reduced.items),
            pairs=None if reduced.pairs is None else dict(reduced.pairs),
        )
        known[number] = value, reduced
        return reduced
    return (<tuple> reduced)[1]


cdef int put_member(PlainFormat form, Writer* w, object value) except -1:
    cdef object reduced = reduced_value(form, w, value)
    ensure_room(w, 1)
    put_byte(w, P_MEMBER)
    w.weight += W_MEMBER
    put_name(form, w, reduced.name)
    return put_object(form, w, reduced.arguments)


cdef int put_name(PlainFormat form, Writer* w, object name) except -1:
    return put_key(form, w, <PyObject*> name)


cdef int put_instance(PlainFormat form, Writer* w, object value) except -1:
    cdef object reduced = reduced_value(form, w, value)
    cdef object items = reduced.items, pairs = reduced.pairs, state = reduced.state
    cdef int how = reduced.form
    ensure_room(w, 2)
    put_byte(w, P_INSTANCE)
    put_byte(
        w,
        how + (0 if items is None else P_HAS_ITEMS) + (0 if pairs is None else P_HAS_PAIRS)
        + (0 if state is None else P_HAS_STATE),
    )
    w.weight += W_INSTANCE
    put_name(form, w, reduced.name)
    put_object(form, w, reduced.arguments)
    if how == P_NEW_KEYWORDS:
        put_object(form, w, reduced.keywords)
    if items is not None:
        ensure_room(w, 10)
        put_varint(w, len(<list> items))
        w.weight += list_weight(len(<list> items))
        for item in <list> items:
            put_object(form, w, item)
    if pairs is not None:
        ensure_room(w, 10)
        put_varint(w, len(<dict> pairs))
        w.weight += mapping_weight(len(<dict> pairs))
        put_pairs(form, w, pairs)
    if state is not None:
        put_object(form, w, state)
    return 0
