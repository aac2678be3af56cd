"""nginx of the local stack: one address in front of the gateway and the viewer, run as the calling user."""

import os
import pwd
import shutil
import string
from collections.abc import Sequence
from pathlib import Path

from deploy.local.children import Program
from deploy.local.ports import LOOPBACK, accepts

_TEMPLATE = Path(__file__).with_name("nginx.conf.template")


class Nginx:
    """One private nginx in `folder` on `port`, forwarding to the given loopback ports of gateways and viewers."""

    def __init__(self, folder: Path, port: int, *, gateways: Sequence[int], viewers: Sequence[int]) -> None:
        self.folder = folder.absolute()
        self.port = port
        self._gateways = gateways
        self._viewers = viewers

    @property
    def url(self) -> str:
        """Address that browsers and scripts use."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def program(self) -> Program:
        """The server, ready to start; writes its configuration anew."""
        (self.folder / "temp").mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "nginx.conf"
        configuration.write_text(self._configuration())
        command = [_executable(), "-p", str(self.folder), "-e", "stderr", "-c", str(configuration)]
        return Program("nginx", command, folder=self.folder, grace=10.0)

    def ready(self) -> bool:
        """Tell whether it answers connections."""
        return accepts(self.port)

    def _configuration(self) -> str:
        # nginx lets its workers run as another user only when it is root, and would then choose one without access.
        user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        return string.Template(_TEMPLATE.read_text()).safe_substitute(
            user=user,
            folder=self.folder,
            address=f"{LOOPBACK}:{self.port}",
            gateways=_servers(self._gateways),
            viewers=_servers(self._viewers),
        )


def _servers(ports: Sequence[int]) -> str:
    """Lines of an upstream block; a server that restarts is tried again after a second."""
    return "\n".join(f"        server {LOOPBACK}:{port} max_fails=1 fail_timeout=1s;" for port in ports)


def _executable() -> str:
    # Debian keeps it in a folder that is not on the PATH of ordinary users.
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        raise FileNotFoundError("nginx is not installed: run make setup.")
    return found
