"""Names and places that the stack and the commands agree on."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "slidemill"
PREFIX = "slidemill"

# Every service by name, with the module that runs it.
SERVICES = {
    "upload": "services.upload",
    "dicer": "services.dicer",
    "pyramid": "services.pyramid",
    "sync": "services.sync",
    "timer": "services.sync.timer",
    "viewer": "services.viewer",
}
