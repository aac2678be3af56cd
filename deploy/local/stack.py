"""The local stack from first start to last stop: three servers, then every service, kept alive by this process."""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import aiohttp

from deploy.local.children import Program, Supervisor
from deploy.local.ending import SERVICE_GRACE, end_survivors
from deploy.local.layout import DATABASE, PREFIX, ROOT, SERVICES
from deploy.local.mongod import Mongod
from deploy.local.nginx import Nginx
from deploy.local.ports import assign, is_free
from deploy.local.probes import answers_ready
from deploy.local.processes import identify
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.secret import remembered_secret
from deploy.local.state import Part, State
from shared.bootstrap import bootstrap
from shared.errors import Unavailable
from shared.settings import Settings

START_LIMIT = 115.0  # seconds until every service has to be ready; `up` promises 120 with the stop that follows


class StackError(Exception):
    """The stack can't be started; the message is one sentence with the remedy."""


class Stack:
    """The stack of one data folder; `async with` starts it, waits until every service is ready, and stops it.

    `port` is nginx's (None: the remembered one, else any free one); `workers` gives the copies of a service, by name.
    """

    def __init__(self, data: Path, *, port: int | None = None, workers: Mapping[str, int] | None = None) -> None:
        self.data = data.absolute()
        self._names = [
            (f"{service}-{copy}" if copy > 1 else service, module)
            for service, module in SERVICES.items()
            for copy in range(1, (workers or {}).get(service, 1) + 1)
        ]
        self._requested_port = port
        self._supervisor = Supervisor(self.data / "log", self._save)
        self._state: State | None = None
        self._lock: int | None = None
        self._awaited: list[str] = []
        self._refusal: str | None = None

    @property
    def state(self) -> State:
        """What is known of the stack; raises RuntimeError before its start."""
        if self._state is None:
            raise RuntimeError("The stack was not started.")
        return self._state

    async def __aenter__(self) -> Self:
        self._take_lock()
        try:
            end_survivors(self.data)
            async with asyncio.timeout(START_LIMIT):
                await self._start()
        except BaseException as error:
            reason = self._why(error)
            await self._stop("failed", reason)
            if isinstance(error, Exception):
                raise StackError(reason) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop("stopped", None)

    def _take_lock(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.data / "stack.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StackError(f"The stack of {self.data} runs already: stop it with ./slidemill down first.") from None

    async def _start(self) -> None:
        ports = self._ports()
        mongod = Mongod(self.data / "mongod", ports["mongod"])
        rabbitmq = RabbitMQ(
            self.data / "rabbitmq",
            port=ports["rabbitmq"],
            management_port=ports["rabbitmq-management"],
            distribution_port=ports["rabbitmq-distribution"],
            mapper_port=ports["rabbitmq-mapper"],
        )
        nginx = Nginx(
            self.data / "nginx",
            ports["nginx"],
            gateways=[ports[name] for name, module in self._names if module == SERVICES["upload"]],
            viewers=[ports[name] for name, module in self._names if module == SERVICES["viewer"]],
        )
        supervisor = identify(os.getpid())
        if supervisor is None:
            raise RuntimeError("This process is not in /proc.")
        self._state = State(
            phase="starting",
            supervisor=supervisor,
            url=nginx.url,
            mongodb=mongod.url,
            amqp=rabbitmq.amqp,
            management=rabbitmq.management,
            databases=sorted(Settings(database=DATABASE).served),
            servers=[
                Part(name="mongod", url=mongod.url),
                Part(name="rabbitmq", url=rabbitmq.amqp),
                Part(name="nginx", url=nginx.url),
            ],
            services=[Part(name=name, url=f"http://127.0.0.1:{ports[name]}") for name, _ in self._names],
        )
        for server in (mongod, rabbitmq, nginx):
            self._supervisor.start(server.program)
        self._awaited = ["mongod", "rabbitmq", "nginx"]
        await asyncio.gather(_until(mongod.advance), _until(rabbitmq.advance), _until(nginx.ready))
        self._awaited = []
        await self._bootstrap()
        for name, module in self._names:
            self._supervisor.start(self._service(name, module, ports[name]))
        await self._services_ready()
        self._save(phase="ready")

    async def _bootstrap(self) -> None:
        """Make what the services need; a broker that answers may still be a moment away from having its queues."""
        while True:
            try:
                await bootstrap(
                    mongodb=self.state.mongodb,
                    database=DATABASE,
                    amqp=self.state.amqp,
                    prefix=PREFIX,
                    scratch=self.data / "scratch",
                    token=remembered_secret(self.data / "token"),
                )
            except Unavailable as error:
                self._refusal = str(error)
                await asyncio.sleep(0.5)
            else:
                self._refusal = None
                return

    def _ports(self) -> dict[str, int]:
        file = self.data / "ports.json"
        names = ["mongod", "rabbitmq", "rabbitmq-management", "rabbitmq-distribution", "rabbitmq-mapper"]
        fixed = {} if self._requested_port is None else {"nginx": self._requested_port}
        if self._requested_port is not None and not is_free(self._requested_port):
            raise StackError(f"Port {self._requested_port} is in use: give another with --port.")
        return assign(file, ["nginx", *names, *(name for name, _ in self._names)], fixed)

    def _service(self, name: str, module: str, port: int) -> Program:
        environment = {
            "PYTHONPATH": str(ROOT),
            "SLIDEMILL_SERVICE": name,
            "SLIDEMILL_MONGODB": self.state.mongodb,
            "SLIDEMILL_DATABASE": DATABASE,
            "SLIDEMILL_DATABASES": ",".join(self.state.databases),
            "SLIDEMILL_AMQP": self.state.amqp,
            "SLIDEMILL_PREFIX": PREFIX,
            "SLIDEMILL_HTTP_HOST": "127.0.0.1",
            "SLIDEMILL_HTTP_PORT": str(port),
            "SLIDEMILL_SCRATCH": str(self.data / "scratch"),
            "SLIDEMILL_PUBLIC_URL": self.state.url,
            "SLIDEMILL_LOG": "json",
        }
        return Program(name, [sys.executable, "-m", module], environment, folder=self.data, grace=SERVICE_GRACE)

    async def _services_ready(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            waiting = list(self.state.services)
            while waiting:
                answers = await asyncio.gather(*(answers_ready(http, part.url) for part in waiting))
                waiting = [part for part, ready in zip(waiting, answers, strict=True) if not ready]
                self._awaited = [part.name for part in waiting]
                await asyncio.sleep(0.1)

    async def _stop(self, phase: Literal["stopped", "failed"], reason: str | None) -> None:
        if self._state is not None:
            self._save(phase="stopping")
            # Services first: they hand back what they hold as long as the servers answer.
            await self._supervisor.stop([name for name, _ in self._names])
            await self._supervisor.stop([server.name for server in self._state.servers])
            self._save(phase=phase, reason=reason)
        if self._lock is not None:
            os.close(self._lock)

    def _why(self, error: BaseException) -> str:
        """One sentence for a failed start."""
        if isinstance(error, StackError | OSError) and not isinstance(error, TimeoutError):
            return str(error)
        if isinstance(error, TimeoutError) and self._awaited:
            last = [_last_line(self.data / "log" / f"{name}.log") for name in self._awaited]
            told = "; ".join(
                f"{name} (its log ends with: {line})" for name, line in zip(self._awaited, last, strict=True)
            )
            return f"Not ready within {START_LIMIT:.0f} s: {told}. Read {self.data / 'log'}."
        if isinstance(error, TimeoutError) and self._refusal:
            return f"Not ready within {START_LIMIT:.0f} s: {self._refusal} Read {self.data / 'log'}."
        if isinstance(error, asyncio.CancelledError):
            return "Stopped before it was ready."
        return f"The start failed with {type(error).__name__}: {error}. Read {self.data / 'log'}."

    def _save(self, **changes: object) -> None:
        """Write the state with the processes of this moment; the supervisor calls it whenever one came or went."""
        running = self._supervisor.identities()

        def with_process(parts: list[Part]) -> list[Part]:
            return [part.model_copy(update={"process": running.get(part.name)}) for part in parts]

        self._state = self.state.model_copy(
            update={
                **changes,
                "services": with_process(self.state.services),
                "servers": with_process(self.state.servers),
            }
        )
        self._state.write(self.data)


async def run_until_signalled(stack: Stack, work: Callable[[Stack], Awaitable[None]]) -> None:
    """Start the stack, do `work` beside it, and stop all on SIGINT, SIGTERM or SIGHUP; raises StackError.

    Raises asyncio.CancelledError when it was signalled, after everything has stopped; what `work` raises passes.
    """
    this = asyncio.current_task()
    signalled = False

    def stop() -> None:
        nonlocal signalled
        if not signalled and this is not None:
            signalled = True
            this.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    async with stack:
        await work(stack)


async def _until(look: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(look):
        await asyncio.sleep(0.1)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    return lines[-1][:300] if lines else "nothing"
