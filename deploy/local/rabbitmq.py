"""RabbitMQ of the local stack: Debian's server run as the calling user, with its own data, node, ports and user.

`SLIDEMILL_RABBITMQ_SERVER` names another release's `rabbitmq-server`.
"""

import os
import socket
from functools import cached_property
from pathlib import Path

from deploy.local.children import Program
from deploy.local.ports import LOOPBACK, accepts
from deploy.local.secret import remembered_secret
from deploy.local.server import Server

SERVER = Path(os.environ.get("SLIDEMILL_RABBITMQ_SERVER", "/usr/lib/rabbitmq/bin/rabbitmq-server"))
_NODE = "slidemill@localhost"
_USER = "slidemill"
_VHOST = "slidemill"
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


def speaks_amqp(port: int) -> bool:
    """Tell whether a broker on this loopback port answers an AMQP client's first bytes."""
    try:
        with socket.create_connection((LOOPBACK, port), 2.0) as connection:
            connection.sendall(_PROTOCOL_HEADER)
            return bool(connection.recv(8))
    except OSError:
        return False


class RabbitMQ(Server):
    """One private RabbitMQ node, with ports for AMQP, management, distribution and its port mapper."""

    title = "RabbitMQ"
    patience = 90.0

    def __init__(
        self, folder: Path, *, port: int, management_port: int, distribution_port: int, mapper_port: int
    ) -> None:
        super().__init__(folder)
        self.port = port
        self.management_port = management_port
        self._distribution_port = distribution_port
        self._mapper_port = mapper_port

    @property
    def amqp(self) -> str:
        """Address for AMQP clients, with credentials and virtual host."""
        return f"amqp://{_USER}:{self._password}@{LOOPBACK}:{self.port}/{_VHOST}"

    @property
    def management(self) -> str:
        """Address of the management API and page, with credentials."""
        return f"http://{_USER}:{self._password}@{LOOPBACK}:{self.management_port}"

    @cached_property
    def program(self) -> Program:
        """The server, ready to start; writes its configuration anew, keeps its data and password."""
        for name in ("home", "mnesia", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "rabbitmq.conf").write_text(self._configuration())
        (self.folder / "rabbitmq.conf").chmod(0o600)
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        # Debian's own file of this kind names a node and addresses that are not ours.
        (self.folder / "rabbitmq-env.conf").write_text("")
        # The port mapper runs beside the server in its session, so it ends with it; it would otherwise be started as
        # a daemon that outlives everything. RUNNING_UNDER_SYSTEMD makes the script become the server.
        command = [
            "/bin/sh",
            "-c",
            f'epmd -address {LOOPBACK} -port {self._mapper_port} & exec "$0"',
            str(SERVER),
        ]
        environment = {
            "HOME": str(self.folder / "home"),
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": _NODE,
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_CRASH_DUMP_BYTES": "0",
            "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }
        return Program("rabbitmq", command, environment, folder=self.folder, grace=60.0)

    def advance(self) -> bool:
        """Tell whether the node answers an AMQP client and its management API listens."""
        return speaks_amqp(self.port) and accepts(self.management_port)

    @cached_property
    def _password(self) -> str:
        return remembered_secret(self.folder / "password")

    def _configuration(self) -> str:
        return "\n".join(
            (
                f"listeners.tcp.1 = {LOOPBACK}:{self.port}",
                f"management.tcp.ip = {LOOPBACK}",
                f"management.tcp.port = {self.management_port}",
                f"default_vhost = {_VHOST}",
                f"default_user = {_USER}",
                f"default_pass = {self._password}",
                "default_user_tags.administrator = true",
                "disk_free_limit.absolute = 1GB",
                "log.console = true",
                "log.console.level = info",
                "log.file = false",
                "",
            )
        )
