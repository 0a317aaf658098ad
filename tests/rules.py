"""The rules of the sheet on accounts that come with a test of their own: its T lines, item by item.

A section has its letter, an item its place in that section's T lines, counted from 1. A test that shows one says
`@pytest.mark.rule("A5.1")`; `pytest -m rule` runs them all. Each has at least one (tests/test_rules.py).
"""

from typing import Final

RULES: Final = {
    "A1.1": "roles, blocked and master in the body change nothing, and that they were tried is written down",
    "A1.2": "a section that is hidden is absent from the JSON",
    "A2.1": "a request under way with a disabled device's token is 401 at its next call",
    "A2.2": "somebody else's device is not there to be disabled: 404",
    "A2.3": "one enrolment above the quota is 403",
    "A3.1": "a place that cannot be looked up, or none at all, never blocks a sign-in",
    "A3.2": "the address is taken from the trusted proxy's hop alone",
    "A4.1": "whoever leaves twice gets the same answer: 200",
    "A4.2": "what was left is taken back after 29 days and 23 hours, and after 30 days no more: 410",
    "A4.3": "whoever leaves one organization stays signed in in the others",
    "A4.4": "of the last two owners who leave at once exactly one does",
    "A5.1": "an old cookie is 401 after the change was 200",
    "A5.2": "half a sign-in that was made with the old password is refused",
    "A5.3": "of two parallel changes one is 200 and one 409",
    "A5.4": "the same password again is 422",
    "A5.5": "256 characters are taken, 257 are 422",
    "A5.6": "a composed and a decomposed é sign in alike",
    "A6.1": "the fifth wrong code is allowed, the sixth try is refused even if it is right",
    "A6.2": "a block ends exactly 24 hours after the last try that counted",
    "A6.3": "a code of one method is refused for another",
    "A6.4": "a code from before a resend is refused",
    "A6.5": "a password that breaks the policy does not use up the proof",
    "A6.6": "a person who is blocked meanwhile ends the flow as cancelled",
    "A7.1": "the codes of RFC 6238, appendix B, are accepted at their times",
    "A7.2": "the same code in two parallel requests succeeds once",
    "A7.3": "after step s was accepted, step s-1 is refused",
    "A7.4": "a clock off by one step is taken either way, by two it is refused",
    "A7.5": "when the default is removed, the strongest takes its place, and of equals the oldest",
    "A7.6": "the last second factor is not removed: 409",
    "A7.7": "of authenticator apps there are five at most",
    "A8.1": "31 January and a month is the last day of February",
    "A8.2": "two documents that are due are asked in order, one at a time",
    "A8.3": "a language that is missing falls to the default",
    "A8.4": "when a person is erased the record stays, of nobody in particular",
    "A9.1": "No changes no row",
    "A9.2": "a second Yes, from a session that is dead by then, is 401",
    "A9.3": "a sign-in that raced with a Yes is dead if it was made under the old generation",
    "A10.1": "who may act on whom: the tables cell by cell, and the worst of somebody's roles decides",
    "A10.2": "a role that is granted between the read and the write counts",
    "A10.3": "256 characters are taken, 257 are refused",
    "A10.4": "uk is no country: it is GB",
    "A10.5": "a country in lower case is taken as in upper case",
    "A10.6": "a telephone number without its space is refused",
    "A10.7": "of two administrators who edit at once, the one who saw the older state is told so: 412",
    "A10.8": "one field of ours and one that is mastered elsewhere in a request: 409, and neither is changed",
    "A14.1": "both windows are open at 0, 299.999 and 300 s, and shut at 300.001 and -0.001 s",
    "A14.2": "twenty parallel confirmations are one job",
    "A14.3": "a worker that runs twice sends the device one order",
    "A14.4": "a confirmation after the window was cancelled makes no job",
    "A14.5": "another person who signs in gets a plain session, and the window is cancelled",
    "A14.6": "a clock that is put back an hour shuts a window and never makes it longer",
    "A14.7": "a Redis that is emptied in the middle changes nothing",
    "B5.1": "refusals of each kind of name take the same time: 200 samples each, medians within 5 %",
    "B7.1": "a row of the record that is altered, dropped, put elsewhere or cut off is found",
    "B7.2": "of fifty parallel writers each one's event is sealed, without a gap",
    "B7.3": "a person sees the part of the record that is theirs, and who looked at the secret of their device",
}

NOT_YET: Final[frozenset[str]] = frozenset()
"""What waits for its section to be built. A test for one of these takes it out of here."""
