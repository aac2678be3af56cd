"""How the audit names whoever does something by hand over HTTP."""

from collections.abc import Mapping
from typing import Any

from services.upload.gateway import Gateway
from shared.access import Principal
from shared.audit import Audited


def audited_run(
    gateway: Gateway, principal: Principal, action: str, reason: str, selection: Mapping[str, Any]
) -> Audited:
    """One run of one action by the caller; its `note` is written before each thing is done."""
    by = f"{principal.name} ({'page' if principal.via == 'browser' else 'API'})"
    return Audited(gateway.store, gateway.clock, action=action, by=by, reason=reason, selection=selection)
