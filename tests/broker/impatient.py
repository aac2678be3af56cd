"""The dicer on a broker that takes it for dead after two seconds without a word, not after twenty."""

from services.dicer.__main__ import dicer
from shared.bus.rabbit import connecting
from shared.service.consuming import run_service
from shared.settings import Settings

if __name__ == "__main__":
    connecting.HEARTBEAT_SECONDS = 1
    run_service(Settings(), dicer)
