"""No container engine is needed to hold docker-compose.yml and the Dockerfile to what they promise."""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from launch import secrets
from models.settings import resolve_files
from models.vocabulary import Secret
from platforms import registry
from platforms.identity import DeviceCA
from platforms.simulation import make_demo_keys

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("latchkey:")}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_every_process_of_production_is_there() -> None:
    assert set(SERVICES) == {"postgres", "redis", "migrate", "api", "worker", "tick"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_watched_or_runs_once(name: str) -> None:
    service = SERVICES[name]

    assert ("healthcheck" in service) != (service["restart"] == "no")
    assert service["restart"] in {"no", "unless-stopped"}
    assert name == "migrate" or "stop_grace_period" in service


@pytest.mark.parametrize("name", ["api", "worker", "tick"])
def test_nothing_starts_before_the_migrations_have_succeeded(name: str) -> None:
    needs = {needed: how["condition"] for needed, how in SERVICES[name]["depends_on"].items()}

    assert needs == {
        "migrate": "service_completed_successfully",
        "postgres": "service_healthy",
        "redis": "service_healthy",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_secret_is_a_file_and_is_mounted_where_it_is_read(name: str) -> None:
    service = SERVICES[name]
    told = service.get("environment", {})
    secret_words = re.compile("PASSWORD|SECRET|KEY|TOKEN|DATABASE_URL|REDIS_URL")

    for variable, value in told.items():
        if secret_words.search(variable):
            assert variable.endswith("_FILE"), variable
            assert value.removeprefix("/run/secrets/") in service["secrets"]
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])


def test_every_secret_file_is_one_that_the_command_writes(tmp_path: Path) -> None:
    written = {path.name for path in secrets.write(tmp_path, secrets.PRODUCTION, suffix=".txt")}

    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}.txt"}
    assert {f"{name}.txt" for name in COMPOSE["secrets"]} == written | {f"{name}.txt" for name in secrets.ISSUED}


def test_no_password_stands_in_the_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()

    assert not re.search(r"://[^/\s]*:[^/\s]*@", text)
    assert not re.search(r"(?i)password['\"]?\s*[:=]\s*['\"]?(?!\s*\{file:)[a-z0-9]", text.replace('="$$(cat', ""))


def test_the_addresses_in_the_secrets_name_the_services(tmp_path: Path) -> None:
    secrets.write(tmp_path, secrets.PRODUCTION, suffix=".txt")
    for name in secrets.ISSUED:
        (tmp_path / f"{name}.txt").write_text("")
    told = resolve_files(
        {name: value.replace("/run/secrets", str(tmp_path)) + ".txt" for name, value in _files_of("api").items()}
    )

    assert re.fullmatch(r"postgresql://latchkey:[\w-]+@postgres:5432/latchkey", told["DATABASE_URL"])
    assert re.fullmatch(r"redis://:[\w-]+@redis:6379/0", told["REDIS_URL"])


def _files_of(name: str) -> dict[str, str]:
    return {key: value for key, value in SERVICES[name]["environment"].items() if key.endswith("_FILE")}


def _left_out(value: str) -> str:
    """What compose makes of a variable that nobody sets."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_can_do_no_more_than_they_must(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service
    assert "privileged" not in service


def test_only_the_api_is_reached_from_outside_and_only_through_this_host() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"api": ["127.0.0.1:${PORT:-8080}:8080"]}
    assert COMPOSE["networks"]["data"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["data"]


def test_more_of_a_process_is_a_matter_of_a_number() -> None:
    """A fixed name, or a fixed port without a range to take its place, would stop the second one."""
    for name in ("api", "worker"):
        assert "container_name" not in SERVICES[name]
        assert "hostname" not in SERVICES[name]
        for port in SERVICES[name].get("ports", ()):
            host, published, inside = re.sub(r"\$\{PORT:-\d+\}", "8080-8082", port).split(":")
            assert (host, published, inside) == ("127.0.0.1", "8080-8082", "8080")
    readme = (ROOT / "README.md").read_text()
    assert "PORT=8080-8082 docker compose up --scale api=3" in " ".join(readme.split())


def test_the_address_that_people_use_has_no_default() -> None:
    assert SERVICES["api"]["environment"]["PUBLIC_URL"].startswith("${PUBLIC_URL:?")


@pytest.mark.parametrize("name", ["api", "worker"])
def test_what_production_mounts_is_what_the_platforms_ask_for(name: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    keys = make_demo_keys(tmp_path / "keys")
    secrets.write(tmp_path, secrets.PRODUCTION, suffix=".txt")
    shutil.copy(keys["IOS_PUSH_CERTIFICATE_FILE"], tmp_path / "ios_push_certificate.txt")
    shutil.copy(keys["IOS_PUSH_KEY_FILE"], tmp_path / "ios_push_key.txt")
    environment = {
        **{variable: _left_out(value) for variable, value in SERVICES[name]["environment"].items()},
        **{
            variable: value.replace("/run/secrets", str(tmp_path)) + ".txt"
            for variable, value in _files_of(name).items()
        },
        "PUBLIC_URL": "https://latchkey.example",
        "IOS_TOPIC": keys["IOS_TOPIC_FILE"].read_text(),
        "IOS_IDENTITY": "mdm_signature",
    }

    loaded = registry.load(resolve_files(environment))

    assert "ios" in loaded
    certificate = (tmp_path / "device_ca_certificate.txt").read_text()
    DeviceCA.from_pem(certificate, Secret((tmp_path / "device_ca_key.txt").read_bytes()))
    assert x509.load_pem_x509_certificate(certificate.encode()).not_valid_before_utc <= now


def test_redis_never_evicts_and_keeps_a_log() -> None:
    command = SERVICES["redis"]["command"][-1]

    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command


def test_every_image_is_pinned_to_a_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    for image in images:
        assert re.search(r":\d", image), image


def test_the_image_does_not_run_as_root() -> None:
    last_stage = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    users = re.findall(r"^USER (\d+):(\d+)$", last_stage, re.MULTILINE)

    assert users
    assert "0" not in users[-1]
    assert "RUN" not in last_stage


def test_the_image_takes_only_what_the_lock_names() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert "--only-binary :all:" in DOCKERFILE


def test_every_room_is_in_the_image() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    match = re.search(r"^packages = \[(.*)\]", pyproject, re.MULTILINE)
    assert match
    copied = set(re.findall(r"^COPY (\w+) /latchkey/", DOCKERFILE, re.MULTILINE))
    let_through = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))

    assert copied == set(re.findall(r'"(\w+)"', match[1]))
    assert copied <= let_through
