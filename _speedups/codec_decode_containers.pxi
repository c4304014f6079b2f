# The decoder's containers. Arguments say whether a container is shared, and how many items it has.

cdef object take_list_value(PlainFormat form, Reader* r, bint marked, Py_ssize_t count):
    cdef object items
    cdef object item
    cdef Py_ssize_t i
    need(r, count)
    weigh(r, list_weight(count))
    items = new_list(count)
    for i in range(count):
        Py_INCREF(None)
        list_fill(items, i, None)
    register_shared(r, marked, items)
    for i in range(count):
        item = take_value(form, r)
        Py_INCREF(item)
        PyList_SetItem(items, i, item)  # checks the length, which other code may change
    return items


cdef inline int items_init(Items* held, Py_ssize_t count) except -1:
    held.count = 0
    held.items = held.few
    if count > FEW_ITEMS:
        held.items = <PyObject**> malloc(count * sizeof(PyObject*))
        if held.items == NULL:
            held.items = held.few
            raise MemoryError
    return 0


cdef inline void items_free(Items* held) noexcept:
    cdef Py_ssize_t i
    for i in range(held.count):
        Py_DECREF(<object> held.items[i])
    if held.items != held.few:
        free(held.items)


cdef inline void items_add(Items* held, object item) noexcept:
    held.items[held.count] = new_reference(<PyObject*> item)
    held.count += 1


cdef object take_tuple_value(PlainFormat form, Reader* r, Py_ssize_t count):
    cdef Items held
    cdef object made, item
    cdef Py_ssize_t i
    need(r, count)
    weigh(r, tuple_weight(count))
    if count == 0:
        return ()
    items_init(&held, count)
    try:
        for i in range(count):
            item = take_value(form, r)
            items_add(&held, item)
        made = new_tuple(count)
        for i in range(count):
            item = <object> held.items[i]
            Py_INCREF(item)
            tuple_fill(made, i, item)
        return made
    finally:
        items_free(&held)


cdef object take_dict_value(PlainFormat form, Reader* r, bint marked, Py_ssize_t count):
    cdef object pairs, key, value
    cdef Py_ssize_t i
    if count > (r.end - r.at) // 2:
        refused("the payload is cut short")
    weigh(r, dict_weight(count))
    pairs = PyDict_New()
    register_shared(r, marked, pairs)
    for i in range(count):
        key = take_key(form, r)
        if unlikely(not is_str(<PyObject*> key)):
            refused("the payload has a key of another type than it says")
        value = take_value(form, r)
        PyDict_SetItem(pairs, key, value)
        if unlikely(dict_size(pairs) != i + 1):
            refused("the payload holds a key twice")
    return pairs


cdef bint take_hashables(PlainFormat form, Reader* r, Items* held, Py_ssize_t count, bint in_set) except -1:
    # Read keys; return whether one isn't a str.
    cdef int slow = r.slow
    cdef Py_ssize_t i
    cdef bint mixed = False
    cdef object key
    r.hashed += 1
    for i in range(count):
        key = take_key(form, r)
        items_add(held, key)
        mixed = mixed or not is_str(<PyObject*> key)
    r.hashed -= 1
    if mixed:
        check_crowding(held.items, count, in_set, r.slow != slow)
    return mixed


cdef object take_mapping(PlainFormat form, Reader* r, int tag, bint marked, Py_ssize_t count):
    cdef Items held
    cdef object made, key, value
    cdef Py_ssize_t i
    cdef bint mixed, ordered = tag == P_ORDERED
    cdef object factory
    if tag == P_DEFAULT:
        if count >= len(form.factories):
            refused("the payload holds a defaultdict with an unknown factory")
        factory = form.factories[count]
        count = <Py_ssize_t> take_varint(r)
    if count > (r.end - r.at) // 2:
        refused("the payload is cut short")
    weigh(
        r, mapping_weight(count) if tag == P_MAPPING else ordered_weight(count) if ordered else counter_weight(count)
    )
    items_init(&held, count)
    try:
        mixed = take_hashables(form, r, &held, count, False)
        if tag == P_MAPPING:
            if not mixed:
                refused("the payload has a dict in another form than it needs")
            made = presized_dict(count)
        elif ordered:
            made = OrderedDict()
        elif tag == P_COUNTER:
            made = Counter.__new__(Counter)
        else:
            made = DefaultDict(factory)
        register_shared(r, marked, made)
        for i in range(count):
            key = <object> held.items[i]
            value = take_value(form, r)
            if ordered:
                made[key] = value
            else:
                PyDict_SetItem(made, key, value)
            if dict_size(made) != i + 1:
                refused("the payload holds a key twice")
        return made
    finally:
        items_free(&held)


cdef object take_set_value(PlainFormat form, Reader* r, bint marked, bint frozen, Py_ssize_t count):
    cdef Items held
    cdef object made
    cdef Py_ssize_t i
    need(r, count)
    weigh(r, set_weight(count))
    items_init(&held, count)
    try:
        take_hashables(form, r, &held, count, True)
        made = PyFrozenSet_New(NULL) if frozen else PySet_New(NULL)
        for i in range(count):
            PySet_Add(made, <object> held.items[i])
        if set_size(made) != count:
            refused("the payload holds an item of a set twice")
        register_shared(r, marked, made)
        return made
    finally:
        items_free(&held)


cdef object take_deque(PlainFormat form, Reader* r, bint marked, int64_t room):
    cdef int64_t count = take_varint(r), i
    cdef object made, append
    need(r, count)
    if room and count >= room:
        refused("the payload holds a deque with more items than its maxlen")
    weigh(r, deque_weight(count))
    made = Deque((), room - 1) if room else Deque()
    register_shared(r, marked, made)
    append = made.append
    for i in range(count):
        append(take_value(form, r))
    return made


cdef object take_extension(PlainFormat form, Reader* r):
    cdef int number = take_byte(r), i
    cdef list arguments = []
    cdef object builder
    if number >= len(form.builders):
        refused("the payload holds a type that this release doesn't know")
    builder = form.builders[number]
    for i in range(builder.takes):
        arguments.append(take_leaf(form, r))
    weigh(r, builder.weigh(*arguments))
    r.slow += 1
    return builder.make(*arguments)


cdef object take_instance(PlainFormat form, Reader* r, bint marked):
    cdef int how = take_byte(r), has
    cdef Items held
    cdef Py_ssize_t count, i
    cdef object made, name, arguments, keywords = None, value
    has = how & ~3
    how &= 3
    if how > P_NEW_KEYWORDS or has > P_HAS_ITEMS + P_HAS_PAIRS + P_HAS_STATE:
        refused("the payload builds an instance in an unknown way")
    weigh(r, W_INSTANCE)
    name = take_name(form, r)
    arguments = take_value(form, r)
    if how == P_NEW_KEYWORDS:
        keywords = take_value(form, r)
    if type(arguments) is not tuple or how == P_NEW_KEYWORDS and type(keywords) is not dict:
        refused("the payload builds an instance in an unknown way")
    r.slow += 1
    made = form.allowed.make(name, how, arguments, keywords)
    register_shared(r, marked, made)
    if has & P_HAS_ITEMS:
        form.allowed.extend(made, take_list_value(form, r, False, <Py_ssize_t> take_varint(r)))
    if has & P_HAS_PAIRS:
        count = <Py_ssize_t> take_varint(r)
        if count > (r.end - r.at) // 2:
            refused("the payload is cut short")
        weigh(r, mapping_weight(count))
        items_init(&held, count)
        try:
            take_hashables(form, r, &held, count, False)
            for i in range(count):
                value = take_value(form, r)
                made[<object> held.items[i]] = value
        finally:
            items_free(&held)
    if has & P_HAS_STATE:
        form.allowed.set_state(made, take_value(form, r))
    return made
