"""What deploy/ says agrees with the code: every part is there, every setting exists, every image holds what it runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("upload", "dicer", "pyramid", "sync", "viewer", "ops")
SETTINGS = {f"SLIDEMILL_{name.upper()}" for name in Settings.model_fields}
# What compose itself fills in, besides the settings of the services.
COMPOSE_WORDS = {"SLIDEMILL_PASSWORD"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    return loaded


def test_compose_runs_every_part(compose: dict[str, Any]) -> None:
    parts = {"mongodb", "rabbitmq", "init", "upload", "dicer", "pyramid", "sync", "timer", "viewer", "nginx"}

    assert set(compose["services"]) == parts
    for part in compose["services"].values():
        if "build" in part:
            assert (ROOT / "deploy" / part["build"]["context"] / part["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize(
    "file", ["deploy/compose.yaml", "deploy/supervisor/slidemill.conf", "deploy/supervisor/environment.example"]
)
def test_every_setting_that_is_given_exists(file: str) -> None:
    given = set(re.findall(r"SLIDEMILL_[A-Z_]+", (ROOT / file).read_text()))

    assert given
    assert given <= SETTINGS | COMPOSE_WORDS


def test_nginx_forwards_the_same_paths_in_containers_as_on_one_machine() -> None:
    def paths(file: str) -> list[tuple[str, str]]:
        return re.findall(r"location ([^{@]+?) \{\s+proxy_pass http://(\w+);", (ROOT / file).read_text())

    assert paths("deploy/nginx.conf") == paths("deploy/local/nginx.conf.template")
    assert len(paths("deploy/nginx.conf")) == 3


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_holds_what_its_service_imports(service: str, tmp_path: Path) -> None:
    dockerfile = (ROOT / "services" / service / "Dockerfile").read_text()
    assert f"requirements/{service}.txt" in dockerfile
    for source, target in re.findall(r"^COPY ((?:shared|services)\S*) (\S+)$", dockerfile, re.MULTILINE):
        if source.endswith("/"):
            ignored = shutil.ignore_patterns("node_modules", "web", "__pycache__")
            shutil.copytree(ROOT / source, tmp_path / target, dirs_exist_ok=True, ignore=ignored)
        else:
            (tmp_path / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, tmp_path / target)
    found = re.search(r'ENTRYPOINT \["python", "-m", "([\w.]+)"\]', dockerfile)
    assert found is not None
    module = found[1] if service == "ops" else f"{found[1]}.__main__"

    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=tmp_path, check=True, timeout=60, env={})
