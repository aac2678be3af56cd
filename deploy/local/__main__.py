"""The stack's own process when it was started with `--detach`: what `./slidemill up` does, without a terminal."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from deploy.local.stack import Stack, StackError, run_until_signalled


async def _stay(_stack: Stack) -> None:
    await asyncio.Event().wait()


def main() -> int:
    """Run until signalled; 1 with the reason on stderr when the stack can't be started."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--workers", type=json.loads, default={})
    arguments = parser.parse_args()
    try:
        asyncio.run(run_until_signalled(Stack(arguments.data, port=arguments.port, workers=arguments.workers), _stay))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
