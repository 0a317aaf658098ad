import ipaddress
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import guards
from api.call import CookieName
from api.settings import RELAXED, STRICT, ApiSettings, CookieRules
from models.errors import CsrfRefused

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def settings(rules: CookieRules = STRICT) -> ApiSettings:
    return ApiSettings(
        mode="embedded",
        host="127.0.0.1",
        port=0,
        public_url="https://latchkey.example.org",
        throttle_key=b"",
        cookie_rules=rules,
    )


# Where from


@pytest.mark.rule("A3.2")
@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        ("10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "203.0.113.9, 198.51.100.1, 10.2.2.2", "198.51.100.1"),
        ("10.1.1.1", "somebody", "10.1.1.1"),
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", None, "10.1.1.1"),
        ("::ffff:10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
    ],
)
def test_the_nearest_hop_that_is_no_proxy_of_ours_counts(peer: str, forwarded: str | None, expected: str) -> None:
    assert str(guards.address(peer, forwarded, PROXIES)) == expected


def test_an_unknown_peer_is_nobody() -> None:
    assert guards.address("", None, PROXIES) is None
    assert guards.group_of(None) == "unknown"


@pytest.mark.parametrize(
    ("here", "group"), [("192.0.2.7", "192.0.2.0/24"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64")]
)
def test_floods_are_counted_by_neighbourhood(here: str, group: str) -> None:
    assert guards.group_of(ipaddress.ip_address(here)) == group


@given(st.text())
def test_no_forwarded_header_breaks_anything(text: str) -> None:
    guards.address("10.1.1.1", text, PROXIES)


# Tokens


def test_bearer_wins_over_a_cookie() -> None:
    headers = {"Authorization": "Bearer abc", "Cookie": "__Host-latchkey-session=def"}

    given = guards.credentials(headers, settings())

    assert given is not None
    assert (given.token, given.by_cookie) == ("abc", False)


@pytest.mark.parametrize(
    ("rules", "header", "expected"),
    [
        (STRICT, "__Host-latchkey-session=abc", "abc"),
        (STRICT, "a=b; __Host-latchkey-session=abc; c=d", "abc"),
        (STRICT, "latchkey-session=abc", None),
        (RELAXED, "latchkey-session=abc", "abc"),
        (STRICT, "__Host-latchkey-session=", None),
        (STRICT, "__Host-latchkey-session=" + "a" * 129, None),
        (STRICT, "__Host-latchkey-re-sign-in=abc", None),
    ],
)
def test_a_cookie_is_read_under_its_full_name(rules: CookieRules, header: str, expected: str | None) -> None:
    assert guards.cookie({"Cookie": header}, CookieName.SESSION, settings(rules)) == expected


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer ", "Bearer " + "a" * 129, "Bearer \udcff", ""])
def test_what_is_no_token_of_ours_is_nothing(header: str) -> None:
    assert guards.credentials({"Authorization": header}, settings()) is None


@given(st.text(), st.text())
def test_no_header_breaks_the_reading_of_tokens(authorization: str, cookie: str) -> None:
    found = guards.credentials({"Authorization": authorization, "Cookie": cookie}, settings())
    if found is not None:
        assert len(found.token_hash) == 32


def test_a_token_is_in_no_printed_form() -> None:
    assert "abc" not in repr(guards.credentials({"Authorization": "Bearer abc"}, settings()))


# CSRF

ORIGIN = "https://latchkey.example.org"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.org"},
        {"Origin": "null"},
        {"Origin": ORIGIN + ":8443"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_origin_is_refused(headers: Mapping[str, str]) -> None:
    with pytest.raises(CsrfRefused):
        guards.check_origin(headers, settings())


@pytest.mark.parametrize("headers", [{}, {"Origin": ORIGIN}, {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}])
def test_our_own_origin_and_no_browser_at_all_pass(headers: Mapping[str, str]) -> None:
    guards.check_origin(headers, settings())


def test_the_csrf_token_is_the_sessions_own() -> None:
    mine, theirs = guards.csrf_token("mine"), guards.csrf_token("theirs")

    guards.check_csrf({"Origin": ORIGIN, "X-CSRF-Token": mine}, "mine", settings())
    for headers in (
        {"Origin": ORIGIN, "X-CSRF-Token": theirs},
        {"Origin": ORIGIN, "X-CSRF-Token": ""},
        {"Origin": ORIGIN, "X-CSRF-Token": "\udcff"},
        {"Origin": ORIGIN},
        {"X-CSRF-Token": mine},
    ):
        with pytest.raises(CsrfRefused):
            guards.check_csrf(headers, "mine", settings())
