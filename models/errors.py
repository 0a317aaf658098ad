"""What went wrong, in our words: a stable code and facts, never a status. The front turns the code into HTTP.

Anything that is not a DomainError is a bug or an outage.
"""

from datetime import timedelta
from typing import ClassVar, Final

Broken = dict[str, str | int]
"""A rule that is broken: `field`, `rule` and what else stands in the rule's words (`rule.<rule>` in the texts). Never
what was typed."""


class BrokenRule(ValueError):
    """What a value breaks."""

    def __init__(self, rule: str, **facts: str | int) -> None:
        super().__init__(rule)
        self.rule = rule
        self.facts = facts

    def at(self, field: str) -> Broken:
        return {"field": field, "rule": self.rule, **self.facts}


class DomainError(Exception):
    """`facts` go to the client as they are: nothing secret, nothing of somebody else's."""

    code: ClassVar[str]

    def __init__(self, **facts: object) -> None:
        super().__init__(self.code)
        self.facts = facts


class Unreadable(DomainError):
    """The request cannot be read."""

    code = "unreadable"


class Invalid(DomainError):
    """The request was read, and breaks a rule; `errors` name field and rule, as `Broken` says."""

    code = "invalid"


class UnknownField(Invalid):
    """Sent along with what is expected: nothing of the whole is taken over."""

    def __init__(self, within: str, name: str) -> None:
        """`name` is empty where it is none that we would give."""
        named: Broken = {"rule": "unknown_field", "name": name} if name else {"rule": "unknown_fields"}
        super().__init__(errors=[{"field": within, **named}])
        self.name = name


class NotSignedIn(DomainError):
    code = "sign_in_required"


class SignInFailed(DomainError):
    """Unknown account, wrong password, blocked account: all the same outside."""

    code = "sign_in_failed"


class CodeRefused(DomainError):
    """Wrong, expired or already used."""

    code = "code_refused"


class PasswordRefused(DomainError):
    """The present password is wrong."""

    code = "password_refused"


class PasswordRejected(DomainError):
    """The new password breaks rules; `reasons` name each, and nothing of the password."""

    code = "password_rejected"


class PasswordChanged(DomainError):
    """Somebody else chose a new password at the same time, and was first."""

    code = "password_changed"


class NothingToDisown(DomainError):
    """Whoever it was did not know the password."""

    code = "nothing_to_disown"


class RecoveryOver(DomainError):
    """It has ended; `state` says how."""

    code = "recovery_over"


class RecoveryStep(DomainError):
    """Not this step, where it stands; `state` says where."""

    code = "recovery_step"


class PasswordChangeRequired(DomainError):
    """Nothing is open until a new password is chosen."""

    code = "password_change_required"


class TermsRequired(DomainError):
    """Nothing is open until terms of use are accepted; `version_id` names the first."""

    code = "terms_required"


class TermsChanged(DomainError):
    """It is not, or no longer, the version or the text that is to be accepted; `version_id` names the one that is."""

    code = "terms_changed"


class TermsAccepted(DomainError):
    """What was accepted is not taken back."""

    code = "terms_accepted"


class TermsQuota(DomainError):
    code = "terms_quota"


class TermsWithdrawn(DomainError):
    """Nobody is asked for them any more, and nothing about them changes."""

    code = "terms_withdrawn"


class SecondFactorRequired(DomainError):
    """Half a sign-in opens nothing."""

    code = "second_factor_required"


class NotAllowed(DomainError):
    code = "not_allowed"


class NotAtHome(DomainError):
    """It belongs to the account itself, and the session is in another organization than the one that owns the account;
    `home_id` names that."""

    code = "not_at_home"


class HomeOrganization(DomainError):
    """Nobody leaves the organization that owns their account."""

    code = "home_organization"


class SoleOwner(DomainError):
    """Something would be left without anybody who may give roles; `owns` lists it."""

    code = "sole_owner"


class LeavingSwitchedOff(DomainError):
    """The organization lets nobody leave by themselves; `contact` says whom to ask."""

    code = "leaving_switched_off"


class NoLongerRestorable(DomainError):
    """Whoever left longer ago than that joins anew."""

    code = "no_longer_restorable"


class AlreadyMember(DomainError):
    """They belong here, by another membership."""

    code = "already_member"


class CsrfRefused(DomainError):
    code = "csrf_refused"


class NotFound(DomainError):
    """It does not exist, or it is not yours: nobody can tell which."""

    code = "not_found"


FOR_EVER: Final = timedelta(days=36500)
"""No time opens it again."""


class TooManyTries(DomainError):
    code = "too_many_tries"

    def __init__(self, retry_after: timedelta, **facts: object) -> None:
        if retry_after > FOR_EVER / 2:
            super().__init__(**facts)
            return
        super().__init__(retry_after=max(1, -(-int(retry_after.total_seconds() * 1000) // 1000)), **facts)


class Busy(DomainError):
    """Something this answer needs is full or away."""

    code = "busy"

    def __init__(self, retry_after: timedelta = timedelta(seconds=2), **facts: object) -> None:
        super().__init__(retry_after=max(1, int(retry_after.total_seconds())), **facts)


class PreconditionRequired(DomainError):
    """An edit must say what it was made from."""

    code = "precondition_required"


class PreconditionFailed(DomainError):
    """It was changed since: look again before you change it."""

    code = "precondition_failed"


class FieldNotEditable(DomainError):
    """It is edited elsewhere, or by somebody else; `master` says where it comes from, as far as it is shown."""

    code = "field_not_editable"


class MasteredElsewhere(DomainError):
    """Another system is the master of it: it is changed there, and arrives with the next sync. `master`,
    `last_synced_at` and `next_sync_at` say which, and when."""

    code = "mastered_elsewhere"


class PictureRefused(DomainError):
    """It cannot be read as a picture, or it is too large; `reason` says which."""

    code = "picture_refused"


class NotOffered(DomainError):
    code = "not_offered"


class HiddenByAdmin(DomainError):
    code = "hidden_by_admin"


class ReSignInRequired(DomainError):
    code = "re_sign_in_required"


class ReSignInLapsed(DomainError):
    code = "re_sign_in_lapsed"


class ReSignInUsed(DomainError):
    code = "re_sign_in_used"


class ReSignInNotOpen(DomainError):
    code = "re_sign_in_not_open"


class ProofRequired(DomainError):
    code = "proof_required"


class SecondFactorMissing(DomainError):
    """What is asked takes more factors than the person has."""

    code = "second_factor_missing"


class KeyRequired(DomainError):
    code = "idempotency_key_required"


class KeyReused(DomainError):
    code = "idempotency_key_reused"


class ActionInProgress(DomainError):
    code = "action_in_progress"


class AwaitingApproval(DomainError):
    """The same was asked already, and waits for a second person; `approval_id` names it."""

    code = "awaiting_approval"


class ApprovalOver(DomainError):
    """It was decided already, or is no longer what it was asked for; `state` and `why` say how."""

    code = "approval_over"


class TooLateToCancel(DomainError):
    """The device has the order already, or it has ended."""

    code = "too_late_to_cancel"


class ExportNotReady(DomainError):
    """It is still being made, or was not; `state` says which."""

    code = "export_not_ready"


class ExportGone(DomainError):
    code = "export_gone"


class NothingToReveal(DomainError):
    code = "nothing_to_reveal"


class PasscodeGone(DomainError):
    code = "passcode_gone"


class DeviceDisabled(DomainError):
    """Nobody signs in on it: only an administrator gives it trust again. Told to whoever knew the password alone."""

    code = "device_disabled"


class DeviceQuota(DomainError):
    code = "device_quota"


class SignInNameTaken(DomainError):
    """Somebody has it; a deleted account keeps its own."""

    code = "sign_in_name_taken"


class AccountManagedElsewhere(DomainError):
    """A directory or a personnel system keeps it, and would bring it back. `master` says which."""

    code = "account_managed_elsewhere"


class LastAdministrator(DomainError):
    """Nobody would be left who may give roles."""

    code = "last_administrator"


class LabelTaken(DomainError):
    """Another of the person's methods is called so."""

    code = "label_taken"


class LastMethod(DomainError):
    """Whoever has a second factor keeps one: another is added first."""

    code = "last_method"


class MethodQuota(DomainError):
    code = "method_quota"


class PasskeysUnavailable(DomainError):
    """A browser ties a passkey to a name, and this address is a number."""

    code = "passkeys_unavailable"


class NoPasskey(DomainError):
    """The person has none to show."""

    code = "no_passkey"


class AddressInUse(DomainError):
    """The person has a method with this address already."""

    code = "address_in_use"


class AddressQuota(DomainError):
    """As many accounts as may share one address have it. Told to whoever reads what goes there, and to nobody else."""

    code = "address_quota"


class NoDefault(DomainError):
    """This kind is not asked for by itself."""

    code = "no_default"


class ClientIdTaken(DomainError):
    """Another app of the organization is known by it."""

    code = "client_id_taken"


class IllegalMove(DomainError):
    """A move that the table does not have: a bug of ours, never a person's mistake."""

    code = "illegal_move"
