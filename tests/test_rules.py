"""Every rule has a test, and every test that claims one names it. Read from the source, without running any."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.rules import NOT_YET, RULES

TESTS = Path(__file__).parent


def claims() -> Iterator[tuple[str, str]]:
    """Each rule that a test claims, and the test."""
    for file in sorted(TESTS.rglob("test_*.py")):
        text = file.read_text("utf-8")
        if "mark.rule" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                where = f"{file.relative_to(TESTS)}::{node.name}"
                yield from ((rule, where) for rule in claimed_by(node))


def claimed_by(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule":
            assert decorator.args, f"{function.name} claims no rule by name"
            assert function.name.startswith("test_"), f"{function.name} is no test"
            yield from (ast.literal_eval(given) for given in decorator.args)


def test_every_rule_that_is_built_has_a_test() -> None:
    assert RULES.keys() - NOT_YET - {rule for rule, _ in claims()} == set()


def test_every_test_that_claims_a_rule_names_one() -> None:
    assert [(rule, where) for rule, where in claims() if rule not in RULES] == []


def test_what_has_a_test_is_no_longer_waited_for() -> None:
    assert [(rule, where) for rule, where in claims() if rule in NOT_YET] == []
    assert RULES.keys() >= NOT_YET


def test_items_of_a_section_are_counted_from_one() -> None:
    numbers: dict[str, list[int]] = {}
    for rule in RULES:
        section, number = rule.split(".")
        assert re.fullmatch(r"[AB]\d+", section)
        numbers.setdefault(section, []).append(int(number))

    for section, counted in numbers.items():
        assert counted == list(range(1, len(counted) + 1)), section


def test_a_mark_is_found_wherever_it_stands_among_others() -> None:
    source = """
@pytest.mark.parametrize("n", [1])
@pytest.mark.rule("A5.1", "A5.2")
async def test_it(n): ...
"""
    (function,) = ast.parse(source).body

    assert isinstance(function, ast.AsyncFunctionDef)
    assert list(claimed_by(function)) == ["A5.1", "A5.2"]
