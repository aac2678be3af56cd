"""What an operator of containers runs once, without a local stack: `python -m services.ops.cluster init|signin`.

`init` makes collections and indexes, the broker's queues and, the first time, an administrator whose token it prints;
harmless when repeated. `signin` prints a one-time link to the page. Both read the `SLIDEMILL_…` settings.
"""

import argparse
import asyncio
import secrets
import sys
from datetime import timedelta

from shared.bootstrap import bootstrap
from shared.clock import SystemClock
from shared.errors import SlidemillError
from shared.http.identity import fingerprint
from shared.mongo import connect
from shared.settings import Settings
from shared.store.documents.accounts import SignIn
from shared.store.mongo import MongoStore

LINK_HOURS = 1


async def init(settings: Settings) -> str | None:
    """Prepares database and broker; returns the first administrator's token if there was no administrator before."""
    client = connect(settings.mongodb)
    try:
        known = await MongoStore(client, settings.database).accounts.count({"admin": True}, limit=1)
    finally:
        client.close()
    token = None if known else secrets.token_urlsafe(32)
    await bootstrap(
        mongodb=settings.mongodb,
        database=settings.database,
        amqp=settings.amqp,
        prefix=settings.prefix,
        scratch=settings.scratch,
        token=token,
    )
    return token


async def signin(settings: Settings) -> str:
    """A link that signs its first visitor in as the administrator, within an hour."""
    client = connect(settings.mongodb)
    try:
        store = MongoStore(client, settings.database)
        admins = await store.accounts.find({"admin": True}, sort="created", limit=1)
        if not admins:
            raise SlidemillError("There is no administrator yet: run init first.")
        code = secrets.token_urlsafe(24)
        expires = SystemClock().now() + timedelta(hours=LINK_HOURS)
        await store.signins.insert(SignIn(id=fingerprint(code), account=admins[0].id, expires=expires))
        return f"{settings.public_url.rstrip('/')}/signin/{code}"
    finally:
        client.close()


def main() -> int:
    """Exit status 0 done, 1 with one sentence why not."""
    parser = argparse.ArgumentParser(prog="python -m services.ops.cluster", description=__doc__)
    parser.add_argument("command", choices=("init", "signin"))
    command = parser.parse_args().command
    try:
        if command == "signin":
            print(asyncio.run(signin(Settings())))
            return 0
        token = asyncio.run(init(Settings()))
    except SlidemillError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The administrator's token, shown this once: {token}" if token else "Database and broker are ready.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
