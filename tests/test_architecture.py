"""The plan of the house, held by machine: rooms, doors, names, words, and what the papers say about them."""

import ast
import os
import re
import shutil
import string
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from dramatiq.brokers.stub import StubBroker

from api.guards import Guard
from api.middleware import PROBLEMS
from api.routes import ROUTES
from api.texts import LANGUAGES, Texts, folders
from models.errors import DomainError, IllegalMove
from models.vocabulary import PlatformName, Queue, Reason
from platforms import identity
from platforms.ios import simulator
from workers.actors import declare
from workers.queue import Errand, actor_name

ROOT = Path(__file__).parent.parent
ROOMS = ("launch", "api", "workers", "platforms", "models")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BY_OTHERS = {"models.migrations.env", "models.migrations.versions.0001_first_schema"}
"""Alembic runs these, inside its own context."""

PLATFORMS = sorted(path.parent.name for path in (ROOT / "platforms").glob("*/__init__.py"))


def modules(room: str) -> list[str]:
    names = []
    for file in sorted((ROOT / room).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in names if name not in BY_OTHERS]


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def sources(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from sorted((ROOT / room).rglob("*.py"))


def python(*words: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, *words],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


# Rooms and doors


def test_the_rooms_are_the_ones_that_are_shipped_and_contracted() -> None:
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(ROOMS)
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == set(ROOMS)
    assert PROJECT["tool"]["importlinter"]["contracts"][0]["layers"] == list(ROOMS)
    assert all((ROOT / room / "__init__.py").read_text().startswith('"""') for room in ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_loads_from_this_repository(room: str) -> None:
    assert Path(str(import_module(room).__file__)).parent == ROOT / room


def lint_imports(at: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return python("-c", code, cwd=at, PYTHONPATH=str(at), PYTHONDONTWRITEBYTECODE="1")


def test_the_import_contracts_hold() -> None:
    told = lint_imports(ROOT)

    assert told.returncode == 0, told.stdout + told.stderr


EACH_ALONE = """
import importlib, sys
rooms = set(sys.argv[1].split(","))
for name in sys.argv[2:]:
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] in rooms]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except BaseException as error:
        raise SystemExit(f"{name} does not load alone: {error!r}")
"""


AT_ONCE = 20
"""Modules in one process: each loads all that it needs anew, and a crowded machine takes its time."""
SOME = [
    pytest.param(found[place : place + AT_ONCE], id=f"{room}-{place // AT_ONCE}")
    for room in ROOMS
    for found in (modules(room),)
    for place in range(0, len(found), AT_ONCE)
]


@pytest.mark.parametrize("some", SOME)
def test_every_module_of_a_room_loads_alone_and_without_a_warning(some: list[str]) -> None:
    told = python("-W", "error", "-c", EACH_ALONE, ",".join(ROOMS), *some, PYTHONPATH=str(ROOT))

    assert told.returncode == 0, told.stderr
    assert (told.stdout, told.stderr) == ("", "")


def _is_main(file: Path) -> bool:
    return file.name == "__main__.py" or 'if __name__ == "__main__":' in file.read_text("utf-8")


def test_only_mains_look_at_the_environment() -> None:
    looking = set()
    for file in sources(*ROOMS):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}:
                looking.add(file)
            elif isinstance(node, ast.ImportFrom) and node.module == "os":
                assert not {"environ", "environb", "getenv"} & {alias.name for alias in node.names}, file

    assert looking
    assert [file for file in looking if not _is_main(file)] == []


# Routes, actors, errors


def test_every_route_has_a_guard() -> None:
    assert ROUTES
    assert all(isinstance(route.guard, Guard) for route in ROUTES)


def test_every_open_route_is_one_that_is_meant_to_be() -> None:
    assert {(route.method, route.path) for route in ROUTES if route.guard is Guard.OPEN} == {
        ("POST", "/api/v1/sessions"),
        ("POST", "/api/v1/sessions/passkey/options"),
        ("POST", "/api/v1/sessions/passkey"),
        ("POST", "/api/v1/not-me"),
        ("POST", "/api/v1/recoveries"),
        ("GET", "/api/v1/recoveries/{recovery_id}"),
        ("DELETE", "/api/v1/recoveries/{recovery_id}"),
        ("POST", "/api/v1/recoveries/{recovery_id}/gate"),
        ("POST", "/api/v1/recoveries/{recovery_id}/send"),
        ("POST", "/api/v1/recoveries/{recovery_id}/password"),
        ("POST", "/api/v1/recoveries/{recovery_id}/unlock"),
        ("POST", "/api/v1/password-resets"),
        ("GET", "/reset-password"),
        ("GET", "/reset-password/script.js"),
        ("GET", "/join"),
        ("GET", "/join/script.js"),
        ("GET", "/not-me"),
        ("GET", "/not-me/script.js"),
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/api/v1/texts/{language}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/docs/style.css"),
    }


def test_no_two_routes_are_the_same() -> None:
    shapes = [(route.method, re.sub(r"\{[^}]*\}", "{}", route.path)) for route in ROUTES]
    names = [route.name for route in ROUTES if "{device_id}/" not in route.path]

    assert len(set(shapes)) == len(shapes)
    assert len({id(route.handler) for route in ROUTES}) == len(ROUTES)
    assert names


def test_the_names_that_the_queue_puts_are_declared_actors() -> None:
    async def run_job(needs: None, job_id: object) -> None: ...

    broker = StubBroker(middleware=[])
    declare(broker, lambda: None, run_job, run_job)  # type: ignore[arg-type] # nothing is run

    assert {name: actor.queue_name for name, actor in broker.actors.items()} == {
        actor_name(queue): queue.value for queue in Queue
    } | {actor_name(Queue.SYSTEM, Errand.DELIVER): Queue.SYSTEM.value}


def domain_errors(of: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    for error in of.__subclasses__():
        yield error
        yield from domain_errors(error)


def test_every_domain_error_has_one_code_and_every_code_a_status() -> None:
    # A kind of an error that says no code of its own is told as that error.
    codes = [error.code for error in domain_errors() if "code" in vars(error)]

    assert len(set(codes)) == len(codes)
    # A move that the table does not have is a bug of ours: it is answered as one.
    assert set(codes) - set(PROBLEMS) == {IllegalMove.code}
    assert set(PROBLEMS) - set(codes) == {"internal"}
    assert all(400 <= status < 600 for status, _ in PROBLEMS.values())


# Words


def words() -> dict[str, dict[str, str]]:
    texts = Texts(folders(PlatformName(name) for name in PLATFORMS))
    spoken = {language: texts.catalog(language) for language in LANGUAGES}
    return {language: dict(catalog.texts) for language, catalog in spoken.items() if catalog is not None}


def parameters(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_what_the_code_can_tell_has_words_in_both_languages_with_the_same_parameters() -> None:
    from models.job import ENDINGS, ROSTER_FILES
    from models.profile import FIELDS
    from models.roster import SIGN_IN_NAME
    from models.vocabulary import Act, Task

    wanted = {f"problem.{code}" for code in PROBLEMS}
    wanted |= {f"reason.{reason}" for reason in Reason}
    wanted |= {f"job.{act}.{ending}" for act in Act for ending in ENDINGS}
    wanted |= {f"job.{task}.{ending}" for task in Task for ending in ("succeeded", "failed", "expired")}
    wanted |= {f"job.{task}.cancelled" for task in ROSTER_FILES} | {"job.import_accounts.trial_stopped"}
    wanted |= {f"field.{name}" for name in (*FIELDS, SIGN_IN_NAME, "photo")}
    wanted |= {"re_sign_in.lapsed", "session.signed_out_everywhere", "passcode.replaced"}
    for name in PLATFORMS:
        wanted |= set(constants_named(name, "done_key", "reveal_key"))
    said = words()

    assert list(said) == ["en", "nl"]
    for key in sorted(wanted):
        assert parameters(said["en"][key]) == parameters(said["nl"][key]), key


def spelled(rule: ast.expr) -> list[str]:
    """The names of rules that stand here as they are."""
    if isinstance(rule, ast.IfExp):
        return [*spelled(rule.body), *spelled(rule.orelse)]
    return [rule.value] if isinstance(rule, ast.Constant) and isinstance(rule.value, str) else []


def rules_named() -> Iterator[tuple[str, set[str]]]:
    """Every rule that an answer may name, with what it gives for the rule's words."""
    for file in sources("api", "models", "workers"):
        for node in ast.walk(tree(file)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"BrokenRule", "_invalid"}
            ):
                for name in spelled(node.args[-1]):
                    yield name, {one.arg for one in node.keywords if one.arg is not None}
            elif isinstance(node, ast.Dict):
                given = {
                    key.value: value
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant)
                }
                rule = given.pop("rule", None)
                if isinstance(rule, ast.Constant):
                    yield str(rule.value), {str(name) for name in given} - {"field"}


def test_every_rule_that_can_be_broken_has_words_in_both_languages_and_what_stands_in_them() -> None:
    from api.app import _RULES

    said = words()
    found = [*rules_named(), *((name, set(pattern.groupindex)) for pattern, name in _RULES)]

    assert len(found) > 60
    for rule, given in found:
        for texts in said.values():
            assert parameters(texts[f"rule.{rule}"]) <= given, rule


def test_a_rule_is_a_name_wherever_it_is_broken_and_never_a_sentence_made_there() -> None:
    """What is handed on is spelled by whoever calls `_invalid`, or stands in the table of the reader's words."""
    unnamed = [
        f"{file}:{node.lineno}"
        for file in sources("api", "models", "workers")
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "BrokenRule"
        if not all(map(re.compile(r"[a-z0-9_]+").fullmatch, spelled(node.args[0]) or ["?"]))
        if not (isinstance(node.args[0], ast.Name) and file.name in {"app.py", "terms_keeping.py"})
    ]

    assert unnamed == []


def constants_named(platform: str, *names: str) -> Iterator[str]:
    for file in sources(f"platforms/{platform}"):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.keyword) and node.arg in names and isinstance(node.value, ast.Constant):
                yield str(node.value.value)


def test_a_notification_tells_only_parameters_that_it_is_given() -> None:
    given = {
        "job": {"device", "reason"},
        "sign_out": {"told", "apps", "missed"},
        "import_accounts": {"rows", "created", "changed", "unchanged", "refused"},
        "export_accounts": {"accounts"},
        "leave": set(),
        "re_sign_in": {"device", "act"},
        "session": set(),
    }
    for said in words().values():
        for key, text in said.items():
            topic = "job" if key.endswith(".succeeded") else key.partition(".")[0]
            task = key.split(".")[1] if key.startswith("job.") else ""
            topic = task if task in given else topic
            if topic in given and (key.count(".") == 2 or topic != "job"):
                assert parameters(text) <= given[topic], key


def test_every_reason_that_ends_a_job_has_words() -> None:
    known = {key.removeprefix("reason.") for key in words()["en"] if key.startswith("reason.")}
    found = set()
    for file in sources("workers", "platforms", "api", "models"):
        # What ends a delivery or a call to an app is a word for the operator: nobody is told of it.
        if file.name in {"simulator.py", "logout.py", "reach.py", "mail.py", "sms.py", "letters.py"}:
            continue
        for node in ast.walk(tree(file)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            place = {"Refused": 0, "Outcome": 1}.get(node.func.id)
            if place is not None and len(node.args) > place and isinstance(node.args[place], ast.Constant):
                found.add(node.args[place].value)  # type: ignore[attr-defined] # looked at the line before

    assert found - {None} <= known


# Growing


def _literals(file: Path) -> Iterator[str]:
    """All texts of a file but what is only shown to a reader: docstrings, and examples in the description."""
    shown = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.keyword) and node.arg == "example":
            shown |= {id(inner) for inner in ast.walk(node)}
        elif isinstance(node, ast.Expr):
            shown.add(id(node.value))
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in shown:
            yield node.value


NAMED_FOR_PEOPLE = {
    "launch/demo.py",  # the demo's own phones
    "launch/secrets.py",  # which files a person still has to bring to production
    "platforms/simulation.py",  # a word of help on the command line
}


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_platform_is_named_nowhere_but_in_its_folder(name: str) -> None:
    named = re.compile(rf"(?<![a-z]){name}(?![a-z])", re.IGNORECASE)
    found = {str(file.relative_to(ROOT)) for file in sources(*ROOMS) for text in _literals(file) if named.search(text)}
    inside = {file for file in found if file.startswith(f"platforms/{name}/")}

    assert inside
    assert found - inside <= NAMED_FOR_PEOPLE


SECOND = '''
"""A made-up platform: nothing but a name."""


class Handler:
    name = "pocketwatch"


def build(env):
    return Handler()
'''


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """A copy of the house with one folder more, and no other edit."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    folder = tmp_path / "platforms" / "pocketwatch"
    folder.mkdir()
    (folder / "__init__.py").write_text(SECOND)
    return tmp_path


def test_a_new_platform_is_a_new_folder_and_no_other_edit(grown: Path) -> None:
    now = datetime.now(UTC)
    files, _ = simulator.demo_keys(now)
    certificate, key = identity.make_ca("Devices", now).pem()
    environ = {
        "MODE": "embedded",
        "PUBLIC_URL": "http://127.0.0.1:8080",
        "DEVICE_CA_CERTIFICATE": certificate,
        "DEVICE_CA_KEY": key.text(),
        "IOS_PUSH_CERTIFICATE": files["push.crt"].decode(),
        "IOS_PUSH_KEY": files["push.key"].decode(),
        "IOS_PUSH_CA": files["push-ca.crt"].decode(),
        "IOS_TOPIC": files["push-topic.txt"].decode(),
        "IOS_PUSH_URL": "https://127.0.0.1:1",
    }
    code = "import os; from platforms.registry import load; print(*sorted(load(os.environ)))"

    told = python("-c", code, cwd=grown, PYTHONPATH=str(grown), **environ)

    assert told.stdout.split() == sorted([*PLATFORMS, "pocketwatch"]), told.stderr


@pytest.mark.parametrize("forbidden", ["platforms.ios", "models.job", "api.texts", "sqlalchemy", "aiohttp", "dramatiq"])
def test_the_import_contracts_hold_for_a_new_platform_unasked(grown: Path, forbidden: str) -> None:
    clean = lint_imports(grown)
    with (grown / "platforms" / "pocketwatch" / "__init__.py").open("a") as file:
        file.write(f"\nimport {forbidden}\n")
    told = lint_imports(grown)

    assert clean.returncode == 0, clean.stdout
    assert told.returncode != 0
    assert "platforms.pocketwatch" in told.stdout


# Papers


def _name(requirement: str) -> str:
    return re.split(r"[\[=<>;! ]", requirement, maxsplit=1)[0]


REQUIREMENTS = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=_name)
def test_a_dependency_is_pinned_locked_and_has_its_line_of_reason(requirement: str) -> None:
    name = _name(requirement)
    pinned = re.search(r"==([^;\s]+)", requirement)
    runs = requirement in PROJECT["project"]["dependencies"]
    lock = (ROOT / ("requirements.lock" if runs else "requirements-dev.lock")).read_text()
    reasons = [
        line
        for line in (ROOT / "docs/decisions/0001-dependencies.md").read_text().splitlines()
        if line.startswith("|") and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", line.split("|")[1])
    ]

    assert pinned is not None
    assert re.search(rf"^{re.escape(name)}(\[[^]]*\])?=={re.escape(pinned[1])}( |$)", lock, re.MULTILINE)
    assert len(reasons) == 1
    assert len(reasons[0].split("|")[-2].strip()) > 5


def tracked() -> list[Path]:
    git = shutil.which("git")
    if git is not None and (ROOT / ".git").exists():
        command = [git, "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - git itself
        return [ROOT / name for name in told.stdout.split("\0") if name and (ROOT / name).is_file()]
    hidden = re.compile(r"(^|/)(\.[^/]+|__pycache__|secrets)/")
    return [file for file in ROOT.rglob("*") if file.is_file() and not hidden.search(str(file.relative_to(ROOT)))]


# Spelled in two parts, so that this file is none of those that it looks for.
MACHINE = re.compile(
    "|".join(["/wo" + "rk/", "/ho" + "me/[a-z]", "/Us" + "ers/", "/ro" + "ot/", r"[A-Z]:\\Us" + "ers"])
)
AFTER_HOST = re.compile(r"https?://\S+$")


def test_no_file_holds_a_path_of_somebodys_machine() -> None:
    files = tracked()
    found = []
    for file in files:
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            match = MACHINE.search(line)
            if match is not None and not AFTER_HOST.search(line[: match.start()]):
                found.append(f"{file.relative_to(ROOT)}:{number}: {match[0]}")

    assert len(files) > 100
    assert found == []


@pytest.mark.parametrize(
    "name", ["README.md", "CHANGELOG.md", "LICENSE", "Dockerfile", "docker-compose.yml", ".ci/run"]
)
def test_a_paper_that_people_look_for_is_there(name: str) -> None:
    assert len((ROOT / name).read_text("utf-8")) > 100


def test_the_change_log_tells_of_the_version_that_is_built() -> None:
    assert (
        PROJECT["project"]["version"] in (ROOT / "CHANGELOG.md").read_text()
        or "Unreleased" in (ROOT / "CHANGELOG.md").read_text()
    )


def test_no_room_is_called_by_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "services", "misc", "shared"}

    assert [file for file in sources(*ROOMS) if {*file.relative_to(ROOT).with_suffix("").parts} & empty] == []
