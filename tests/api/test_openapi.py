"""The description: valid, whole, and a page that everybody can read."""

import re
from html.parser import HTMLParser

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.guards import Guard
from api.middleware import PROBLEMS
from api.openapi import codes_of, describe
from api.routes import ROUTES, Route
from api.settings import ApiSettings
from tests.api.house import House

SETTINGS = ApiSettings(
    mode="production", host="", port=0, public_url="https://latchkey.example.org", throttle_key=b"secret"
)


@pytest.fixture(scope="module")
def description() -> dict[str, object]:
    return describe(ROUTES, SETTINGS)


def test_it_is_openapi_3_1(description: dict[str, object]) -> None:
    assert description["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) == []  # type: ignore[arg-type] # plain JSON


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_says_all_it_may_answer(route: Route, description: dict[str, object]) -> None:
    operation = description["paths"][route.path][route.method.lower()]  # type: ignore[index] # plain JSON
    statuses = {int(status) for status in operation["responses"]}

    assert statuses == set(route.answers) | {PROBLEMS[code][0] for code in codes_of(route)}
    assert bool(operation["security"]) == (route.guard is not Guard.OPEN)
    assert operation["summary"]
    if route.body is not None:
        assert route.example, "a body without an example"


def test_no_two_routes_have_one_name() -> None:
    names = [f"{route.handler.__module__}.{route.name}" for route in ROUTES]

    assert len(names) == len(set(names))


def test_a_fixed_segment_stands_before_a_parameter_in_its_place() -> None:
    for at, route in enumerate(ROUTES):
        pattern = re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", route.path))
        for later in ROUTES[at + 1 :]:
            shadowed = later.method == route.method and pattern.fullmatch(later.path) and later.path != route.path
            assert not shadowed, f"{later.path} is never reached"


def test_examples_are_what_their_routes_take() -> None:
    import msgspec

    for route in ROUTES:
        if route.body is not None:
            msgspec.convert(dict(route.example), route.body)


async def test_it_is_served_with_a_mark(house: House) -> None:
    async with house.client.get("/openapi.json") as response:
        assert response.status == 200
        assert (await response.json())["servers"] == [{"url": "https://latchkey.test"}]
        etag = response.headers["ETag"]
    async with house.client.get("/openapi.json", headers={"If-None-Match": etag}) as response:
        assert response.status == 304


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in {"meta", "link", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_page_needs_no_script_and_nothing_from_elsewhere(house: House) -> None:
    async with house.client.get("/docs") as response:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        text = await response.text()

    page = _Outline()
    page.feed(text)
    assert page.open == []
    assert "script" not in page.tags
    assert "style" not in page.tags
    names = {name for name, _ in page.attributes}
    assert "style" not in names
    assert not any(name.startswith("on") for name in names)
    anchors = {value for name, value in page.attributes if name == "id"}
    for name, value in page.attributes:
        if name in {"href", "src"}:
            assert value is not None
            assert value.startswith(("#", "/"))
            assert not value.startswith("#") or value[1:] in anchors, value
    assert ("lang", "en") in page.attributes
    assert {"main", "nav", "h1", "caption"} <= set(page.tags)
    for route in ROUTES:
        assert route.path in text


async def test_its_style_is_a_file_of_ours(house: House) -> None:
    async with house.client.get("/docs/style.css") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/css; charset=utf-8"
