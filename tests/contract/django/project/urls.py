"""Views that read and write through the cache, and say which process and thread answered."""

import importlib
import os
import threading
import uuid

from django.core.cache import cache, caches
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.cache import cache_page


def answer(**fields):
    """Answer with `fields`, and who answers."""
    return JsonResponse({"pid": os.getpid(), "thread": threading.get_ident(), **fields})


def read(request):
    """Give the cached value of ?key=."""
    return answer(value=cache.get(request.GET["key"]))


def write(request):
    """Cache ?value= under ?key=."""
    cache.set(request.GET["key"], request.GET["value"])
    return answer()


def state(_request):
    """Tell of the cache behind this thread's backends."""
    shared = caches["default"].cache
    cache.get("wake the link")
    health = shared.health()
    return answer(
        backend=id(caches["default"]),
        cache=id(shared),
        one_for_both=caches["pages"].cache is shared,
        settled=(health.link, health.breaker, health.journal) == ("live", "closed", 0),
    )


@cache_page(600, cache="pages")
def page(_request):
    """Show a text that is another at each rendering."""
    return JsonResponse({"made": str(uuid.uuid4())})


def session(request, engine):
    """Keep ?value= in a session of `engine`, or give what the session ?key= keeps."""
    store = importlib.import_module(f"django.contrib.sessions.backends.{engine}").SessionStore
    if "key" in request.GET:
        return answer(value=store(request.GET["key"]).get("value"))
    opened = store()
    opened["value"] = request.GET["value"]
    opened.save()
    return answer(key=opened.session_key)


def close_all(_request):
    """Close every backend, as Django does at the end of a request, and go on using one."""
    for backend in caches.all():
        backend.close()
    cache.set("after close", 1)
    return answer(value=cache.get("after close"))


urlpatterns = [
    path("read", read),
    path("write", write),
    path("state", state),
    path("page", page),
    path("session/<str:engine>", session),
    path("close", close_all),
]
