"""What each act is on an iPhone or iPad: what stands against it, how it is spelled, what an acknowledgement means.

https://developer.apple.com/documentation/devicemanagement/commands-and-queries
"""

from collections.abc import Mapping
from typing import Final

from models.vocabulary import Act, JobState, Join, Outcome, Ownership, Reason
from platforms.base import EnrollmentState, Facts, Management
from platforms.errors import Refused
from platforms.ios import passcode, wire
from platforms.ios.memory import Memory

# What a person's button may look at without a secret.
UNLOCK_TOKEN: Final = "unlock_token"
BY_PERSON: Final = "enrolled_by_person"
RIGHTS: Final = "rights"
SUPERVISED: Final = "supervised"
DEVICE_NAME: Final = "device_name"

REQUEST_TYPES: Final[Mapping[Act, str]] = {
    Act.RESET_PASSCODE: "ClearPasscode",
    Act.REMOTE_LOCK: "DeviceLock",
    Act.WIPE: "EraseDevice",
    Act.REMOVE: "RemoveProfile",
    Act.RESTART: "RestartDevice",
    Act.REFRESH: "DeviceInformation",
}
_RIGHT: Final[Mapping[Act, int]] = {
    Act.RESET_PASSCODE: wire.LOCK_RIGHT,
    Act.REMOTE_LOCK: wire.LOCK_RIGHT,
    Act.WIPE: wire.ERASE_RIGHT,
    Act.REMOVE: 0,  # its own profile a server may always take away
    Act.RESTART: wire.LOCK_RIGHT,
    Act.REFRESH: wire.INFORMATION_RIGHT,
}
_NOT_BY_PERSON: Final = frozenset({Act.RESET_PASSCODE, Act.WIPE})
"""User Enrollment leaves the device itself to its person."""


def why_not(act: Act, facts: Facts) -> Reason | None:
    if facts.state is not EnrollmentState.ENROLLED:
        return Reason.NOT_ENROLLED
    if act in _NOT_BY_PERSON and facts.traits.get(BY_PERSON) == "yes":
        return Reason.ENROLLMENT_TYPE
    if _RIGHT[act] & ~_granted(facts):
        return Reason.MISSING_RIGHT
    if act is Act.RESET_PASSCODE and facts.traits.get(UNLOCK_TOKEN) != "yes":
        return Reason.UNLOCK_TOKEN_MISSING
    if act is Act.RESTART and facts.traits.get(SUPERVISED) != "yes":
        return Reason.NOT_SUPERVISED
    return None


def management(facts: Facts) -> Management:
    """Of compliance a device tells nothing that it was not asked, and no rules of ours are on it."""
    own = facts.traits.get(BY_PERSON) == "yes" or facts.ownership is Ownership.PERSONAL
    return Management(Join.REGISTERED if own else Join.JOINED)


def _granted(facts: Facts) -> int:
    said = facts.traits.get(RIGHTS, "")
    if said.isascii() and said.isdecimal() and len(said) <= 5:
        return int(said)
    return wire.rights(facts.ownership)


def spell(act: Act, ref: str, memory: Memory, *, profile: str, organization: str) -> bytes:
    """Raises Refused: the device took away what this needs."""
    match act:
        case Act.RESET_PASSCODE:
            if memory.unlock_token is None:
                raise Refused(Reason.UNLOCK_TOKEN_MISSING)
            return wire.clear_passcode(ref, memory.unlock_token)
        case Act.REMOTE_LOCK:
            return wire.device_lock(ref, organization)
        case Act.WIPE:
            return wire.erase_device(ref)
        case Act.REMOVE:
            return wire.remove_profile(ref, profile)
        case Act.RESTART:
            return wire.restart_device(ref)
        case Act.REFRESH:
            return wire.device_information(ref)


def done(act: Act, answer: wire.Result) -> Outcome:
    """An acknowledgement is the deed, but for a lock that locks nothing."""
    if act is Act.RESET_PASSCODE:
        return Outcome(JobState.SUCCEEDED, passcode_kind=passcode.RULE.kind)
    if act is Act.REMOTE_LOCK and answer.message_result not in {None, "Success"}:
        none_set = answer.message_result == "NoPasscodeSet"
        return Outcome(
            JobState.FAILED,
            Reason.NO_PASSCODE_SET if none_set else Reason.DEVICE_REFUSED,
            detail=(("message_result", answer.message_result or ""),),
        )
    return Outcome(JobState.SUCCEEDED)
