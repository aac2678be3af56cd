"""Closes a CI run: refuses skips that nobody allowed, and counts what passed and failed.

Usage: summary.py ALLOWED_SKIPS RESULTS_FOLDER [FAILED_STEP...]
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree


def allowed_skips(lines: Iterable[str]) -> set[str]:
    """Names of tests that may be skipped; each line is `name: reason`, and a line without a reason is refused."""
    allowed = set()
    for line in lines:
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition(": ")
            if not reason.strip():
                raise ValueError(f"tests/allowed-skips.txt says no reason for {name.strip()}: add one after a colon.")
            allowed.add(name.strip())
    return allowed


def main(arguments: Sequence[str]) -> int:
    """Print the summary; 1 if a step or a test failed, a skip was not allowed, or no test ran."""
    allowed = allowed_skips(Path(arguments[0]).read_text().splitlines())
    steps = arguments[2:]
    passed = failed = 0
    skipped: list[str] = []
    for file in sorted(Path(arguments[1]).glob("*.xml")):
        for case in ElementTree.parse(file).iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
            name = f"{case.get('classname')}.{case.get('name')}"
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                print(f"failed: {name}")
            elif case.find("skipped") is not None:
                skipped.append(name)
            else:
                passed += 1
    refused = [name for name in skipped if name not in allowed]
    for name in refused:
        print(f"skipped, though tests/allowed-skips.txt does not name it: {name}")
    for step in steps:
        print(f"failed step: {step}")
    print(
        f"{passed} passed, {max(failed + len(refused), int(bool(steps)))} failed, {len(skipped) - len(refused)} skipped"
    )
    return 1 if failed or refused or steps or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
