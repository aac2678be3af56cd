"""Makes the root where it is missing; the package mirror is the one that this machine itself installs from."""

import os
import shutil
import sys
from pathlib import Path

from tests.containers.images import ROOT, mirror, run

SUITE = "trixie"
FOLDER = ROOT / "var" / "rabbitmq4"
PROGRAMS = ("rabbitmq-server", "rabbitmqctl")
LIMIT_SECONDS = 900


def main() -> int:
    """Prints the path of the server; 1, with one sentence, where it can't be made."""
    if os.geteuid() != 0:
        print("RabbitMQ 4.0 is not tried: its root is made and entered as root only.", file=sys.stderr)
        return 1
    root, fresh = FOLDER / "root", FOLDER / "root.new"
    if not root.exists():
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        packages = "--include=rabbitmq-server"
        run(["debootstrap", "--variant=minbase", packages, SUITE, str(fresh), mirror()], seconds=LIMIT_SECONDS)
        fresh.rename(root)
    entrance = Path(__file__).with_name("enter.sh")
    for program in PROGRAMS:
        link = FOLDER / "bin" / program
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(entrance)
    print(FOLDER / "bin" / "rabbitmq-server")
    return 0


if __name__ == "__main__":
    sys.exit(main())
