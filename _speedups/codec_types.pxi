# CPython's types and accessors that the plain format's encoder and decoder use.

from cpython.datetime cimport (
    PyDateTime_DATE_GET_FOLD, PyDateTime_DATE_GET_HOUR, PyDateTime_DATE_GET_MICROSECOND, PyDateTime_DATE_GET_MINUTE,
    PyDateTime_DATE_GET_SECOND, PyDateTime_DELTA_GET_DAYS, PyDateTime_DELTA_GET_MICROSECONDS,
    PyDateTime_DELTA_GET_SECONDS, PyDateTime_GET_DAY, PyDateTime_GET_MONTH, PyDateTime_GET_YEAR,
    PyDateTime_TIME_GET_FOLD, PyDateTime_TIME_GET_HOUR, PyDateTime_TIME_GET_MICROSECOND, PyDateTime_TIME_GET_MINUTE,
    PyDateTime_TIME_GET_SECOND, import_datetime,
)

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX
    list list_slice "PyList_GetSlice"(object, Py_ssize_t, Py_ssize_t)
    long long int_value "PyLong_AsLongLongAndOverflow"(object, int* overflow) except? -1
    bint is_ascii_text "PyUnicode_IS_ASCII"(object) noexcept
    const void* text_data "PyUnicode_DATA"(object) noexcept
    Py_ssize_t text_length "PyUnicode_GET_LENGTH"(object) noexcept
    bytes PyUnicode_AsUTF8String(object)
    Py_ssize_t refcount "Py_REFCNT"(PyObject*) noexcept
    double float_value "PyFloat_AS_DOUBLE"(object) noexcept
    double PyComplex_RealAsDouble(object) except? -1
    double PyComplex_ImagAsDouble(object) except? -1
    PyTypeObject PyDict_Type, PyList_Type, PyTuple_Type, PyLong_Type, PyFloat_Type, PyBool_Type, PyBytes_Type
    PyTypeObject PySet_Type, PyFrozenSet_Type, PyByteArray_Type, PyComplex_Type, PySlice_Type, PyUnicode_Type

cdef extern from *:
    """
    #include <datetime.h>
    #define tt_type(o) Py_TYPE((PyObject *)(o))
    #define tt_datetime_type() PyDateTimeAPI->DateTimeType
    #define tt_date_type() PyDateTimeAPI->DateType
    #define tt_time_type() PyDateTimeAPI->TimeType
    #define tt_delta_type() PyDateTimeAPI->DeltaType
    #define tt_datetime_zone(o) \\
        (((PyDateTime_DateTime *)(o))->hastzinfo ? ((PyDateTime_DateTime *)(o))->tzinfo : Py_None)
    #define tt_time_zone(o) (((PyDateTime_Time *)(o))->hastzinfo ? ((PyDateTime_Time *)(o))->tzinfo : Py_None)
    #define tt_utc() PyDateTime_TimeZone_UTC
    """
    PyTypeObject* type_of "tt_type"(PyObject*) noexcept
    PyTypeObject* datetime_type "tt_datetime_type"() noexcept
    PyTypeObject* date_type "tt_date_type"() noexcept
    PyTypeObject* time_type "tt_time_type"() noexcept
    PyTypeObject* delta_type "tt_delta_type"() noexcept
    PyObject* datetime_zone "tt_datetime_zone"(PyObject*) noexcept
    PyObject* time_zone "tt_time_zone"(PyObject*) noexcept
    PyObject* utc_zone "tt_utc"() noexcept

import_datetime()

import datetime as _datetime
import enum as _enum
import uuid as _uuid
import zoneinfo as _zoneinfo
from collections import Counter as _Counter, OrderedDict as _OrderedDict, defaultdict as _defaultdict, deque as _deque
from decimal import Decimal as _Decimal

from twotier.errors import SerializationError

cdef object Decimal = _Decimal
cdef object UuidType = _uuid.UUID
cdef object SafeUUID = _uuid.SafeUUID
cdef object UNKNOWN_SAFETY = _uuid.SafeUUID.unknown
cdef object ZoneInfo = _zoneinfo.ZoneInfo
cdef object Timezone = _datetime.timezone
cdef object OrderedDict = _OrderedDict
cdef object Counter = _Counter
cdef object DefaultDict = _defaultdict
cdef object Deque = _deque
cdef object Enum = _enum.Enum
cdef object MICROSECOND = _datetime.timedelta(microseconds=1)

cdef extern from "Python.h":
    bytes PyBytes_FromStringAndSize(const char*, Py_ssize_t)
    object PyByteArray_FromStringAndSize(const char*, Py_ssize_t)
    str PyUnicode_DecodeUTF8(const char*, Py_ssize_t, const char*)
    object new_list "PyList_New"(Py_ssize_t)
    object new_tuple "PyTuple_New"(Py_ssize_t)
    object PyDict_New()
    object PySet_New(PyObject*)
    object PyFrozenSet_New(PyObject*)
    int PySet_Add(object, object) except -1
    object PySlice_New(object, object, object)
    object PyLong_FromLongLong(long long)
    object PyFloat_FromDouble(double)
    object PyComplex_FromDoubles(double, double)
    int PyObject_GenericSetAttr(object, object, object) except -1
    void list_fill "PyList_SET_ITEM"(object, Py_ssize_t, object) noexcept
    void tuple_fill "PyTuple_SET_ITEM"(object, Py_ssize_t, object) noexcept
    int PyList_SetItem(object, Py_ssize_t, object) except -1
    Py_ssize_t PyDict_Size(object) except -1

cdef extern from *:
    """
    #define tt_dict_size(o) PyDict_GET_SIZE(o)
    #define tt_set_size(o) PySet_GET_SIZE(o)
    #define tt_presized(n) __Pyx_PyDict_NewPresized(n)
    #define tt_make_date(y, m, d) PyDateTimeAPI->Date_FromDate(y, m, d, PyDateTimeAPI->DateType)
    #define tt_make_datetime(y, m, d, h, i, s, u, z, f) \\
        PyDateTimeAPI->DateTime_FromDateAndTimeAndFold(y, m, d, h, i, s, u, z, f, PyDateTimeAPI->DateTimeType)
    #define tt_make_time(h, i, s, u, z, f) \\
        PyDateTimeAPI->Time_FromTimeAndFold(h, i, s, u, z, f, PyDateTimeAPI->TimeType)
    #define tt_make_delta(d, s, u) PyDateTimeAPI->Delta_FromDelta(d, s, u, 0, PyDateTimeAPI->DeltaType)
    """
    Py_ssize_t dict_size "tt_dict_size"(object) noexcept
    Py_ssize_t set_size "tt_set_size"(object) noexcept
    object presized_dict "tt_presized"(Py_ssize_t)
    object make_date "tt_make_date"(int, int, int)
    object make_datetime "tt_make_datetime"(int, int, int, int, int, int, int, object, int)
    object make_time "tt_make_time"(int, int, int, int, object, int)
    object make_delta "tt_make_delta"(int, int, int)
