"""Building the services' images without a container engine: buildah in a chroot, on a base made by debootstrap."""

import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "var" / "containers"
BASE = "docker.io/library/debian:bookworm-slim"
SUITE = "bookworm"
# Where pip inside a build finds the host's settings, and the certificates that the host trusts. Not at the
# certificates' usual place, which the build itself fills when it installs them.
PIP_SETTINGS = "/etc/pip.conf"
CERTIFICATES = "/run/host-certificates.crt"


def buildah(*words: str) -> list[str]:
    """A buildah command with a storage of its own under var/."""
    storage = ["--root", str(STORE / "store"), "--runroot", str(STORE / "run"), "--storage-driver", "vfs"]
    return ["buildah", *storage, *words]


def run(command: list[str], seconds: float) -> str:
    """Runs it to its end; on failure raises with the last lines that it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:8])} … failed: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout.strip()


def build(service: str) -> str:
    """Builds a service's image by its Dockerfile and returns the image's name. Layers are kept for the next time."""
    _ensure_base()
    mounts = [word for mount in _host_mounts() for word in ("--volume", mount)]
    name = f"localhost/slidemill-{service}"
    options = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers", "--format", "docker"]
    dockerfile = ROOT / "services" / service / "Dockerfile"
    run(
        buildah("bud", *options, *mounts, "--file", str(dockerfile), "--tag", name, str(ROOT)),
        seconds=1200,
    )
    return name


def _host_mounts() -> list[str]:
    """What a build needs to know of the host to reach package registries, mounted read-only."""
    settings = STORE / "pip.conf"
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    # Lines such as `global.index-url='…'` and `:env:.cert='…'`; what names the host's own folders is of no use inside.
    found = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", told, re.M))
    kept = {name: value for name, value in found.items() if name in ("index-url", "extra-index-url", "trusted-host")}
    mounts = []
    certificates = Path(found.get("cert") or ssl.get_default_verify_paths().openssl_cafile)
    if certificates.is_file():
        kept["cert"] = CERTIFICATES
        mounts.append(f"{certificates.resolve()}:{CERTIFICATES}:ro")
    settings.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in kept.items()), ""]))
    return [*mounts, f"{settings}:{PIP_SETTINGS}:ro"]


def _ensure_base() -> None:
    if BASE in run(buildah("images", "--format", "{{.Name}}:{{.Tag}}"), seconds=60):
        return
    root = STORE / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    run(["debootstrap", "--variant=minbase", SUITE, str(root), mirror()], seconds=900)
    container = run(buildah("from", "scratch"), seconds=60)
    run(buildah("add", "--quiet", container, str(root), "/"), seconds=300)
    run(buildah("commit", "--quiet", container, BASE), seconds=300)
    run(buildah("rm", container), seconds=60)
    shutil.rmtree(root, ignore_errors=True)


def mirror() -> str:
    """The package mirror that this machine itself installs from."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for source in sources:
        if source.is_file() and (found := re.search(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\S+)", source.read_text(), re.M)):
            return found.group(1)
    raise RuntimeError("This machine names no package mirror in /etc/apt: debootstrap needs one.")
