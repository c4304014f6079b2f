"""Every request of the remote tier can be split by slot, or is known not to need it."""

import inspect
import pkgutil
from importlib import import_module

from twotier import remote
from twotier.remote.cluster.split import plan

NOT_SPLIT = {
    "Ping": "goes to every primary",
    "AskSlots": "asks one node for the map",
    "NodeBatch": "is made of parts",
    "AskRedirect": "is a part",
    "AskRedirectConditional": "is a part",
    "IfUnchanged": "is a second step, on the connection of the first",
    "OutcomeIfUnchanged": "likewise",
    "PackedWrite": "likewise",
    "Unchanged": "likewise",
    "Removal": "likewise",
    "ReadOnly": "is a part, for a replica",
    "Conditional": "is a base",
    "OnOneKey": "is a base",
    "OnMarkedKey": "is a base",
    "ExecutedWrite": "is a base",
    "WhereLocked": "is a base",
    "Write": "is a base",
    "Command": "is a protocol",
    "Publication": "is no command",
    "CheckRole": "is asked of each node by itself",
    "CheckAccess": "likewise",
    "FindDenied": "likewise",
    "Scan": "likewise",
    "RemoveEach": "removes keys of the node that is asked",
    "RemoveEnded": "is one server's",
    "ReadName": "likewise: there are no copies in a cluster",
    "RestoreName": "likewise",
    "WriteName": "likewise",
    "RemoveContradiction": "is one server's, and RemoveStale a cluster's",
}


def requests():
    """Return every public class of the remote tier that has a wire."""
    modules = [each.name for each in pkgutil.walk_packages(remote.__path__, "twotier.remote.")]
    return {
        name: each
        for module in modules
        for name, each in vars(import_module(module)).items()
        if inspect.isclass(each) and each.__module__ == module and hasattr(each, "wire") and name[0] != "_"
    }


def test_every_request_has_a_plan():
    """A new command must say how it is split, or it would fail on clusters alone."""
    unknown = plan.dispatch(object)
    missing = [name for name, each in requests().items() if name not in NOT_SPLIT and plan.dispatch(each) is unknown]
    assert missing == []
    assert set(NOT_SPLIT) <= set(requests())
