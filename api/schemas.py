"""The outside shape: what is sent in and what goes out. Names here are promises; fields are added, never renamed."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from api import passkeys
from models.access_pass import LONGEST, SHORTEST, USUAL
from models.app import LONGEST_CLIENT_ID, LONGEST_URI
from models.delivery import AttemptOutcome, Channel, DeliveryState
from models.device import NAME, NAME_LIMIT
from models.errors import Invalid
from models.organization_policy import (
    HIDDEN_MOST,
    NAME_MOST,
    NOTES_MOST,
    PHONE_MOST,
    PRIVACY_SITE_MOST,
    SIGHT_MOST,
    SITE_MOST,
    STRENGTH_MOST,
)
from models.password_policy import BANNED_WORDS, SHORTEST_WORD
from models.recovery_policy import Purpose
from models.role import Role
from models.roster import EDITED_AT_ONCE
from models.settings import DEVICES_PER_ACCOUNT_MOST
from models.terms import LANGUAGES_AT_MOST, LONGEST_TEXT, TAG
from models.vocabulary import Act, JobState, Ownership, PasscodeKind, Proof, Task

Moment = Annotated[datetime, Meta(tz=True)]
# Both patterns are read alike by Python and by JSON Schema. PostgreSQL stores no NUL.
NO_NUL = r"^(?![\s\S]*\x00)"
SAID = r"^(?=[\s\S]*\S)(?![\s\S]*\x00)"
Name = Annotated[str, Meta(min_length=1, max_length=NAME_LIMIT, pattern=NAME)]
Token = Annotated[str, Meta(min_length=1, max_length=128)]
NewPassword = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description="15 to 256 characters, from 8 on where a second factor is asked for; any of them, spaces too.",
    ),
]
Limit = Annotated[int, Meta(ge=1, le=100, description="How many at most.")]


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a client sends: a field that nobody knows is refused."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is told."""


class Paging(Given, frozen=True, kw_only=True):
    cursor: UUID | None = None
    limit: Limit = 25


# Your own page


class ProfileField(Answer, frozen=True, kw_only=True):
    value: str | list[str] | None
    master: Annotated[
        Literal["local", "directory", "hr", "user"],
        Meta(description="Where it comes from. What a directory or a personnel system masters is changed there."),
    ]
    editable: Annotated[bool, Meta(description="Whether you may change it, here and now.")]
    editable_by: Literal["person", "administrator"]
    last_synced_at: Moment | None
    next_sync_at: Annotated[
        Moment | None, Meta(description="Of what is mastered elsewhere: when a change over there should have arrived.")
    ] = None


class Photo(Answer, frozen=True, kw_only=True):
    url: str
    changed_at: Moment


class ProfilePhoto(Answer, frozen=True, kw_only=True):
    url: Annotated[str | None, Meta(description="Null: there is none yet.")]
    changed_at: Moment | None
    master: Literal["user"]
    editable: bool
    editable_by: Literal["person"]
    last_synced_at: None


class LinkedAddress(Answer, frozen=True, kw_only=True):
    """A mail address that is linked to the account: it proves who you are, and notices go there."""

    method_id: Annotated[UUID, Meta(description="Under `/security/methods`, where it is changed, with a fresh proof.")]
    value: Annotated[str, Meta(description="Masked, as everywhere.")]
    master: Literal["user"]
    editable: Annotated[Literal[False], Meta(description="Not on this page.")]
    editable_by: Literal["person"]
    last_synced_at: None
    confirmed_at: Moment


class Profile(Answer, frozen=True, kw_only=True):
    account_id: UUID
    sign_in_name: str
    fields: Annotated[
        dict[str, ProfileField], Meta(description="By name. What your organization does not show is absent.")
    ]
    photo: Annotated[ProfilePhoto | UnsetType, Meta(description="Absent: your organization shows none.")] = UNSET
    linked_addresses: Annotated[
        list[LinkedAddress] | UnsetType,
        Meta(description="On one's own page. Absent where the organization does not show how people are reached."),
    ] = UNSET


Line = Annotated[str, Meta(max_length=1024, pattern=NO_NUL)]


class ProfileChanged(Given, frozen=True, kw_only=True):
    """The fields to change, all of them or none; null empties one. Those that are not yours to change are refused."""

    display_name: Line | UnsetType | None = UNSET
    given_name: Line | UnsetType | None = UNSET
    surname: Line | UnsetType | None = UNSET
    job_title: Line | UnsetType | None = UNSET
    department: Line | UnsetType | None = UNSET
    company_name: Line | UnsetType | None = UNSET
    manager: Line | UnsetType | None = UNSET
    office: Line | UnsetType | None = UNSET
    street: Line | UnsetType | None = UNSET
    postal_code: Line | UnsetType | None = UNSET
    city: Line | UnsetType | None = UNSET
    state: Line | UnsetType | None = UNSET
    country: Line | UnsetType | None = UNSET
    business_phone: Line | UnsetType | None = UNSET
    mobile_phone: Line | UnsetType | None = UNSET
    mail_nickname: Line | UnsetType | None = UNSET
    usage_location: Line | UnsetType | None = UNSET
    language: Line | UnsetType | None = UNSET
    preferred_languages: Annotated[list[Line], Meta(max_length=10)] | UnsetType | None = UNSET
    regional_format: Line | UnsetType | None = UNSET
    time_zone: Line | UnsetType | None = UNSET


# Signing in


_ON_DEVICE: Final = (
    "The device of yours on which this is done, where the app on it knows it: the session ends when it is disabled."
)


class SignIn(Given, frozen=True, kw_only=True):
    account: Annotated[str, Meta(min_length=1, max_length=320, pattern=NO_NUL, description="The sign-in name.")]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]
    re_sign_in: Annotated[Token, Meta(description="The window's token, where there is no cookie.")] | None = None
    device_id: Annotated[UUID | None, Meta(description=_ON_DEVICE)] = None


Base64Url = r"^[A-Za-z0-9_-]*$"
CredentialId = Annotated[str, Meta(min_length=1, max_length=1364, pattern=Base64Url)]
"""1023 bytes, as everything below in base64url without padding."""
ClientData = Annotated[str, Meta(min_length=1, max_length=4096, pattern=Base64Url)]


class AssertionResponse(msgspec.Struct, frozen=True, kw_only=True):
    client_data: ClientData = field(name="clientDataJSON")
    authenticator_data: Annotated[str, Meta(min_length=1, max_length=2048, pattern=Base64Url)] = field(
        name="authenticatorData"
    )
    signature: Annotated[str, Meta(min_length=1, max_length=1024, pattern=Base64Url)]
    user_handle: Annotated[str, Meta(max_length=88, pattern=Base64Url)] | None = field(name="userHandle", default=None)


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """What `navigator.credentials.get()` gave, as its `toJSON()` says it. Other fields are the browser's affair."""

    id: CredentialId
    type: Literal["public-key"]
    response: AssertionResponse

    def read(self) -> passkeys.Assertion:
        """Its bytes. Raises Invalid."""
        handle = self.response.user_handle
        return passkeys.Assertion(
            credential_id=passkeys.bytes_of(self.id, "id"),
            client_data=passkeys.bytes_of(self.response.client_data, "clientDataJSON"),
            authenticator_data=passkeys.bytes_of(self.response.authenticator_data, "authenticatorData"),
            signature=passkeys.bytes_of(self.response.signature, "signature"),
            user_handle=None if handle is None else passkeys.bytes_of(handle, "userHandle"),
        )


class AttestationResponse(msgspec.Struct, frozen=True, kw_only=True):
    client_data: ClientData = field(name="clientDataJSON")
    attestation_object: Annotated[str, Meta(min_length=1, max_length=16384, pattern=Base64Url)] = field(
        name="attestationObject"
    )
    transports: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(max_length=16)] = field(default_factory=list)


class Attestation(msgspec.Struct, frozen=True, kw_only=True):
    """What `navigator.credentials.create()` gave, as its `toJSON()` says it. Other fields are the browser's affair."""

    id: CredentialId
    type: Literal["public-key"]
    response: AttestationResponse

    def read(self) -> passkeys.Attestation:
        """Its bytes. Raises Invalid."""
        return passkeys.Attestation(
            credential_id=passkeys.bytes_of(self.id, "id"),
            client_data=passkeys.bytes_of(self.response.client_data, "clientDataJSON"),
            attestation_object=passkeys.bytes_of(self.response.attestation_object, "attestationObject"),
            transports=tuple(self.response.transports),
        )


class SecondFactor(Given, frozen=True, kw_only=True):
    """Either a method and its code, or what a passkey said; a method beside it must be that passkey."""

    method_id: UUID | None = None
    code: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    assertion: Assertion | None = None
    remember_browser: Annotated[
        bool, Meta(description="Skip the second factor in this browser for 30 days; it needs its cookie for that.")
    ] = False


class ProofGiven(Given, frozen=True, kw_only=True):
    """Either the password, or a method and its code, or what a passkey said; a method beside it must be that one."""

    password: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    method_id: UUID | None = None
    code: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    assertion: Assertion | None = None


class PasskeySignIn(Given, frozen=True, kw_only=True):
    assertion: Assertion
    token: Annotated[Token, Meta(description="The challenge's own, where there is no cookie.")] | None = None
    re_sign_in: Annotated[Token, Meta(description="The window's token, where there is no cookie.")] | None = None
    device_id: Annotated[UUID | None, Meta(description=_ON_DEVICE)] = None


class Confirmation(Given, frozen=True, kw_only=True):
    confirm: Annotated[bool, Meta(description="Must be true: a clear yes.")]

    def must_be_yes(self) -> None:
        if not self.confirm:
            raise Invalid(errors=[{"field": "confirm", "rule": "confirm"}])


class SignOutEverywhere(Confirmation, frozen=True, kw_only=True):
    keep_this: Annotated[
        bool,
        Meta(description="All but this sign-in, which goes on with a new token; takes a proof of fifteen minutes."),
    ] = False


Why = Annotated[
    str, Meta(min_length=1, max_length=200, pattern=SAID, description="For the record; no secret belongs here.")
]


class AccountClosing(Confirmation, frozen=True, kw_only=True):
    pass


class AccountClosed(Answer, frozen=True, kw_only=True):
    restorable_until: Annotated[Moment, Meta(description="By an administrator; then the person is erased.")]


class Export(Answer, frozen=True, kw_only=True):
    id: Annotated[UUID, Meta(description="Of the job that makes it.")]
    state: Literal["being_made", "ready"]
    ready_at: Moment | None
    readable_until: Moment | None
    size: Annotated[int | None, Meta(description="In bytes.")]


class ExportList(Answer, frozen=True, kw_only=True):
    items: list[Export]


class SignInsRevoked(Given, frozen=True, kw_only=True):
    reason: Why


class NotMe(Given, frozen=True, kw_only=True):
    token: Annotated[Token, Meta(description="From the notice's link, behind its `#`.")]


class InLanguage(Given, frozen=True, kw_only=True):
    language: Literal["en", "nl"] = "en"


class ReSignInAsked(Given, frozen=True, kw_only=True):
    device_id: UUID
    act: Act
    token: (
        Annotated[Token, Meta(description="The window's own, to be told of it again; where there is no cookie.")] | None
    ) = None


class Organization(Answer, frozen=True, kw_only=True):
    id: UUID
    name: str


class Leaving(Answer, frozen=True, kw_only=True):
    available: bool
    reason: Annotated[
        Literal["home_organization", "switched_off"] | None, Meta(description="Why not; empty where it is.")
    ]
    contact: Annotated[
        dict[str, str], Meta(description="Whom the organization names for what it knows of you, and for leaving.")
    ]


class Belonging(Answer, frozen=True, kw_only=True):
    """One of your organizations."""

    id: UUID
    name: str
    home: Annotated[bool, Meta(description="Whether it owns your account.")]
    current: Annotated[bool, Meta(description="Whether this sign-in is there.")]
    roles: list[str]
    since: Moment
    leaving: Leaving


class BelongingPage(Answer, frozen=True, kw_only=True):
    items: list[Belonging]
    next_cursor: UUID | None


class Membership(Answer, frozen=True, kw_only=True):
    id: Annotated[UUID, Meta(description="Of the membership; whoever joins anew has another.")]
    account_id: UUID
    sign_in_name: str
    display_name: str
    roles: list[str]
    since: Moment


class Member(Membership, frozen=True, kw_only=True):
    """Somebody who belongs to your organization and is at home elsewhere."""

    etag: Annotated[str, Meta(description="For the `If-Match` of an edit of their roles.")]


class MemberPage(Answer, frozen=True, kw_only=True):
    items: list[Member]
    next_cursor: UUID | None


class FormerMember(Membership, frozen=True, kw_only=True):
    left_at: Moment
    by: Annotated[Literal["person", "administrator"], Meta(description="Who ended it.")]
    restorable_until: Annotated[Moment, Meta(description="Up to this moment it can be taken back, this one included.")]


class FormerMemberPage(Answer, frozen=True, kw_only=True):
    items: list[FormerMember]
    next_cursor: UUID | None


class InvitationAsked(Given, frozen=True, kw_only=True):
    mail: Annotated[str, Meta(min_length=1, max_length=320, pattern=NO_NUL, description="Where the link goes.")]
    language: Literal["en", "nl"] = "en"


class InvitationAccepted(Given, frozen=True, kw_only=True):
    token: Annotated[Token, Meta(description="Of the link that was mailed.")]


class GuestInvitation(Answer, frozen=True, kw_only=True):
    """Of somebody who has an account elsewhere, or has none: which of the two is not told before they accept."""

    id: UUID
    hint: Annotated[str, Meta(description="Where it went, masked.")]
    state: Literal["open", "expired", "accepted", "withdrawn", "replaced"]
    created_at: Moment
    expires_at: Annotated[Moment, Meta(description="The last moment at which its link works.")]


class InvitationPage(Answer, frozen=True, kw_only=True):
    items: list[GuestInvitation]
    next_cursor: UUID | None


class OrganizationChosen(Given, frozen=True, kw_only=True):
    organization_id: UUID


class Account(Answer, frozen=True, kw_only=True):
    id: UUID
    sign_in_name: str
    display_name: Annotated[
        str | UnsetType, Meta(description="Left out where the organization hides who somebody is to it.")
    ] = UNSET
    language: str
    organization: Organization
    roles: list[str]


class Session(Answer, frozen=True, kw_only=True):
    id: UUID
    account: Account
    signed_in_at: Moment
    proven_at: Moment
    strength: Annotated[
        int, Meta(description="1: one factor; 2: two different ones; 3: a passkey that made sure who holds it.")
    ]
    current: Annotated[bool, Meta(description="Whether it is the one that asks.")]
    where: Annotated[str | None, Meta(description="The address from which it was opened.")]
    client: str | None
    device_id: Annotated[UUID | None, Meta(description="The device of yours on which it was opened, as it said.")]


class CurrentSession(Session, frozen=True, kw_only=True):
    csrf_token: Annotated[str, Meta(description="For `X-CSRF-Token`, where the session is in a cookie.")]


class SessionPage(Answer, frozen=True, kw_only=True):
    items: list[Session]
    next_cursor: UUID | None


class ReSignIn(Answer, frozen=True, kw_only=True):
    id: UUID
    state: Literal["open", "proven", "used", "lapsed", "cancelled"]
    device_id: UUID
    act: Act
    opened_at: Moment
    closes_at: Moment
    usable_until: Moment | None
    server_time: Moment


class ReSignInOpened(ReSignIn, frozen=True, kw_only=True):
    token: str


class SignedIn(Answer, tag_field="state", tag="signed_in", frozen=True, kw_only=True):
    token: str
    csrf_token: str
    session: Session
    re_sign_in: ReSignIn | None = None


Hint = Annotated[str, Meta(description="Where its codes go, masked.")]


class Method(Answer, frozen=True, kw_only=True):
    id: UUID
    kind: str
    label: str
    default: bool
    hint: Hint | UnsetType = UNSET


class CodeSent(Answer, frozen=True, kw_only=True):
    """It is under way; an older one for the same is dead."""

    method_id: UUID
    hint: Hint | None
    sent_at: Moment
    expires_at: Moment
    again_at: Annotated[Moment, Meta(description="No other is sent to this address before then.")]


class SecondFactorRequired(Answer, tag_field="state", tag="second_factor_required", frozen=True, kw_only=True):
    token: str
    csrf_token: str
    methods: list[Method]
    code_sent: (
        Annotated[CodeSent, Meta(description="Where the default is a phone, and its number had not as many as it may.")]
        | UnsetType
    ) = UNSET


class PasswordChangeRequired(Answer, tag_field="state", tag="password_change_required", frozen=True, kw_only=True):
    """Every factor was right; `POST /password` is all that is open until another password is chosen."""

    token: str
    csrf_token: str


class TermsRequired(Answer, tag_field="state", tag="terms_required", frozen=True, kw_only=True):
    """The sign-in is done; terms of use come before anything else. Once the last are accepted the same token opens all
    that a sign-in opens. The five minutes of a re-sign-in run meanwhile."""

    token: str
    csrf_token: str
    version_id: Annotated[UUID, Meta(description="What is to be read and answered first.")]
    re_sign_in: ReSignIn | None = None


class PasswordChange(Given, frozen=True, kw_only=True):
    current: Annotated[str, Meta(min_length=1, max_length=1024)]
    new: NewPassword


class PasswordChanged(Answer, frozen=True, kw_only=True):
    """This sign-in goes on under another id and token; every other one is over."""

    token: str
    csrf_token: str
    session: Session
    terms: Annotated[UUID | None, Meta(description="The version that must be accepted before anything else opens.")]


class Proven(Answer, frozen=True, kw_only=True):
    """The token was changed: the old one is dead."""

    token: str
    csrf_token: str
    proven_at: Moment


# The way back in

RecoveryKind = Literal["totp", "phone", "email", "recovery_codes"]


class RecoveryAsked(Given, frozen=True, kw_only=True):
    account: Annotated[str, Meta(min_length=1, max_length=320, pattern=NO_NUL, description="The sign-in name.")]
    purpose: Annotated[
        Purpose, Meta(description="Choose another password, or open a road that too many failures shut.")
    ] = Purpose.RESET


class RecoveryMethod(Answer, frozen=True, kw_only=True):
    id: Annotated[UUID, Meta(description="For the next two steps; of this account name and kind alone.")]
    kind: RecoveryKind
    sent: Annotated[bool, Meta(description="Whether a code must be sent first, to the address typed in full.")]


class Recovery(Answer, frozen=True, kw_only=True):
    """The same for a name that nobody has: only whoever passes a gate learns that there was one."""

    id: UUID
    state: Literal["started", "gate1", "gate2", "proven", "done", "expired", "blocked", "cancelled"]
    purpose: Purpose
    methods: Annotated[
        list[RecoveryMethod],
        Meta(description="Of which one passes the gate where it stands. At the first everybody is offered each kind."),
    ]
    started_at: Moment
    closes_at: Moment
    server_time: Moment


class RecoveryStarted(Recovery, frozen=True, kw_only=True):
    token: Annotated[str, Meta(description="As Bearer with every further step, where there is no cookie.")]


class RecoveryCodeAsked(Given, frozen=True, kw_only=True):
    method_id: UUID
    address: Annotated[
        str, Meta(min_length=1, max_length=320, pattern=NO_NUL, description="In full: nothing of it is shown.")
    ]


class RecoveryCodeSent(Answer, frozen=True, kw_only=True):
    """The same whether the address was the method's or another: nothing is sent to another."""

    sent_at: Moment
    expires_at: Moment
    again_at: Annotated[Moment, Meta(description="No other is sent before.")]


class GateTried(Given, frozen=True, kw_only=True):
    method_id: UUID
    code: Annotated[str, Meta(min_length=1, max_length=64)]


class PasswordChosen(Given, frozen=True, kw_only=True):
    new: NewPassword


class ResetAsked(Given, frozen=True, kw_only=True):
    reason: Why
    end_sessions: Annotated[
        bool,
        Meta(
            description="Whether every sign-in ends now, and what opens the account now opens it no more; for whenever "
            "somebody else may know it."
        ),
    ] = False


# The accounts of an organization, for its administrators


class AccountQuery(Given, frozen=True, kw_only=True):
    cursor: UUID | None = None
    limit: Limit = 25
    begins_with: Annotated[
        str, Meta(max_length=256, pattern=NO_NUL, description="How the sign-in name begins, or the display name.")
    ] = ""
    deleted: Annotated[bool, Meta(description="Those that were deleted and can be restored, in place of the rest.")] = (
        False
    )


class KnownAccount(Answer, frozen=True, kw_only=True):
    id: UUID
    sign_in_name: str
    display_name: str
    language: str
    roles: list[str]
    state: Literal["active", "blocked", "deleted"]
    created_at: Moment
    blocked_at: Moment | None
    deleted_at: Moment | None
    restorable_until: Moment | None


class AccountPage(Answer, frozen=True, kw_only=True):
    items: list[KnownAccount]
    next_cursor: UUID | None


class AccountAsked(Given, frozen=True, kw_only=True):
    sign_in_name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            pattern=NO_NUL,
            description="Unique in the installation, 113 characters at most. Where it is a mail address, the link to "
            "choose a password goes there.",
        ),
    ]
    display_name: Annotated[
        str, Meta(min_length=1, max_length=1024, pattern=NO_NUL, description="1 to 256 characters.")
    ]
    language: Literal["en", "nl"] = "en"


class Invitation(Answer, frozen=True, kw_only=True):
    sent: Annotated[bool, Meta(description="Whether a link to choose a password went to the person.")]
    expires_at: Moment
    password: Annotated[
        str | None,
        Meta(
            description="Told once, where the person has no address: to be handed over. It opens nothing but choosing "
            "another."
        ),
    ]


class AccountCreated(Answer, frozen=True, kw_only=True):
    account: KnownAccount
    invitation: Invitation


class RolesGiven(Given, frozen=True, kw_only=True):
    roles: Annotated[list[Role], Meta(max_length=len(Role), description="These, and no others any more.")]
    reason: Annotated[
        str, Meta(min_length=1, max_length=200, pattern=NO_NUL, description="For the record; no secret belongs here.")
    ]


class AccountProfileChanged(ProfileChanged, frozen=True, kw_only=True):
    """The fields to change, all of them or none; null empties one. What is the person's own is refused, and so is what
    another system is the master of."""

    sign_in_name: Annotated[str, Meta(min_length=1, max_length=256, pattern=NO_NUL)] | UnsetType = UNSET


class ProfileEdit(Given, frozen=True, kw_only=True):
    account_id: UUID
    etag: Annotated[str, Meta(max_length=100, description="Of the profile that the edit was made from; `*`: of any.")]
    changes: AccountProfileChanged


class ProfilesChanged(Given, frozen=True, kw_only=True):
    rows: Annotated[list[ProfileEdit], Meta(min_length=1, max_length=EDITED_AT_ONCE, description="Each account once.")]


class ProfileEdited(Answer, frozen=True, kw_only=True):
    account_id: UUID
    result: Literal["changed", "unchanged", "refused"]
    etag: Annotated[str | None, Meta(description="Of the profile as it is now; null where it was refused.")]
    code: Annotated[str | None, Meta(description="Why it was refused, as a problem's `code`.")]
    facts: Annotated[dict[str, Any], Meta(description="What a problem of that code would carry.")]


class ProfilesEdited(Answer, frozen=True, kw_only=True):
    """In the order in which they were sent."""

    items: list[ProfileEdited]
    next_cursor: None


class AuthenticationContactGiven(Given, frozen=True, kw_only=True):
    kind: Literal["phone", "email"]
    address: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=320,
            pattern=NO_NUL,
            description="A number with a space behind its country's code, as in +31 612345678; or a mail address.",
        ),
    ]
    label: Annotated[str, Meta(min_length=1, max_length=NAME_LIMIT, pattern=NAME)] | None = None
    replaces: Annotated[UUID | None, Meta(description="One of the same kind, whose place it takes.")] = None


class AuthenticationContact(Answer, frozen=True, kw_only=True):
    id: UUID
    kind: Literal["phone", "email"]
    label: str
    hint: str | None
    default: bool
    created_at: Moment


class AuthenticationContacts(Answer, frozen=True, kw_only=True):
    items: list[AuthenticationContact]
    next_cursor: None


class ImportQuery(Given, frozen=True, kw_only=True):
    dry_run: Annotated[bool, Meta(description="Every row is judged, and nothing is changed.")] = False
    invite: Annotated[
        bool, Meta(description="Whoever is new and has an address is sent a link to choose a password.")
    ] = True


class AccountImport(Answer, frozen=True, kw_only=True):
    """How far it is, and what became of the rows so far; of a dry run, what would have."""

    job_id: UUID
    state: JobState
    reason: str | None
    dry_run: bool
    invite: bool
    size: Annotated[int, Meta(description="Of the file, in bytes.")]
    done: Annotated[int, Meta(description="Of these.")]
    rows: int
    created: int
    changed: int
    unchanged: int
    refused: int
    created_at: Moment
    ended_at: Moment | None
    report_until: Annotated[Moment | None, Meta(description="So long the report can be read, once it has ended.")]


class ImportRowQuery(Given, frozen=True, kw_only=True):
    cursor: Annotated[int, Meta(ge=0, le=2**62)] | None = None
    limit: Limit = 25
    outcome: Literal["created", "changed", "unchanged", "refused"] | None = None


class ImportRow(Answer, frozen=True, kw_only=True):
    number: int
    line: Annotated[int, Meta(description="Of the file, where the row begins.")]
    sign_in_name: str | None
    outcome: Literal["created", "changed", "unchanged", "refused"]
    reason: Annotated[str | None, Meta(description="Why it was refused: a problem's `code`, or what its text lacks.")]
    errors: Annotated[
        list[dict[str, str | int]],
        Meta(description="`field`, `rule`, and its words as `text`, in your language; never what stood there."),
    ]


class ImportRowPage(Answer, frozen=True, kw_only=True):
    items: list[ImportRow]
    next_cursor: int | None


class AccountExport(Answer, frozen=True, kw_only=True):
    job_id: UUID
    state: JobState
    reason: str | None
    accounts: Annotated[int, Meta(description="Written so far.")]
    created_at: Moment
    ended_at: Moment | None
    file_until: Annotated[Moment | None, Meta(description="So long the file can be fetched, once there is one.")]


class KnownDevicesQuery(Paging, frozen=True, kw_only=True):
    include: Annotated[Literal["disabled"] | None, Meta(description="Those that are trusted no more, too.")] = None


JoinKind = Annotated[
    Literal["registered", "joined", "hybrid"] | None,
    Meta(
        description="A device of its person's own, brought along; the organization's; or one that is joined to a "
        "directory in the house as well. Null: nothing is known of its platform."
    ),
]
Compliant = Annotated[
    bool | None,
    Meta(
        description="Whether it says that it keeps to its rules. Null: nothing tells us, as on every platform where we "
        "set none."
    ),
]
Managed = Annotated[bool, Meta(description="Whether it hears of what is asked of it.")]
Enabled = Annotated[bool, Meta(description="Not: somebody disabled it, or it has left.")]
RegisteredAt = Annotated[Moment | None, Meta(description="When it was enrolled; null: it has not finished.")]


class KnownDevice(Answer, frozen=True, kw_only=True):
    """A device as the administrators of its organization see it."""

    id: UUID
    name: str
    platform: str
    ownership: Ownership
    state: Literal["pending", "active", "disabled", "left"]
    last_seen_at: Moment | None
    os_name: str | None
    os_version: str | None
    maker: str | None
    model: str | None
    serial: str | None
    join: JoinKind
    managed: Managed
    compliant: Compliant
    enabled: Enabled
    registered_at: RegisteredAt
    last_sign_in_at: Annotated[
        Moment | None, Meta(description="In your organization, on this device, as its client said; known for a month.")
    ]
    created_at: Moment


class KnownDevicePage(Answer, frozen=True, kw_only=True):
    items: list[KnownDevice]
    next_cursor: UUID | None


class ResetStarted(Answer, frozen=True, kw_only=True):
    sent: Annotated[bool, Meta(description="Whether a link went to the person's addresses.")]
    expires_at: Moment
    password: Annotated[
        str | None,
        Meta(
            description="Told once, where the person has no address: to be handed over. It opens nothing but choosing "
            "another, and every sign-in has ended."
        ),
    ]


class ResetByLink(Given, frozen=True, kw_only=True):
    token: Annotated[Token, Meta(description="From the mail's link, behind its `#`.")]
    new: NewPassword


class RecoveryRegistration(Answer, frozen=True, kw_only=True):
    """Whether you could get back in by yourself, and what is missing."""

    offered: Annotated[bool, Meta(description="Whether your organization lets you.")]
    registered: Annotated[bool, Meta(description="Whether you have enough methods for it.")]
    unlock: Annotated[bool, Meta(description="Whether a shut road may be opened with the password kept.")]
    gates: Annotated[int, Meta(description="How many different kinds it takes.")]
    kinds: Annotated[list[RecoveryKind], Meta(description="That you have and that count.")]
    can_add: Annotated[list[RecoveryKind], Meta(description="That would count, too.")]


class RecoveryRules(Answer, frozen=True, kw_only=True):
    """What an organization lets its people do who forgot their password."""

    whom: Annotated[Literal["none", "group", "all"], Meta(description="`group`: those let in one by one.")]
    gates: int
    kinds: list[RecoveryKind]
    unlock: bool
    people: Annotated[int, Meta(description="Who may; everybody, while nobody may.")]
    registered: Annotated[int, Meta(description="Of those, who have as many kinds as they need.")]
    shut_out_by_two: Annotated[
        int, Meta(description="Who have one kind alone: so many are shut out when two gates are demanded.")
    ]


class RecoveryRulesChanged(Given, frozen=True, kw_only=True):
    whom: Literal["none", "group", "all"]
    gates: Literal[1, 2] = 1
    kinds: Annotated[
        list[RecoveryKind],
        Meta(min_length=1, max_length=4, description="Whoever has a role or a second factor needs two of them."),
    ]
    unlock: bool = True


Word = Annotated[str, Meta(min_length=SHORTEST_WORD, max_length=64, pattern=NAME)]


class BannedWords(Answer, frozen=True, kw_only=True):
    words: list[str]


class BannedWordsChanged(Given, frozen=True, kw_only=True):
    words: Annotated[
        list[Word],
        Meta(max_length=BANNED_WORDS, description="Written as they sound: look-alikes and case are undone."),
    ]


class LetRecover(Given, frozen=True, kw_only=True):
    may: Annotated[bool, Meta(description="Counts where the organization lets a group.")]


class Reason(Given, frozen=True, kw_only=True):
    reason: Why


# Your organization


class OrganizationContact(Answer, frozen=True, kw_only=True):
    """Whom to ask. Only what is filled in is here."""

    name: str | UnsetType = UNSET
    phone: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    site_name: Annotated[str, Meta(description="Of `url`; its address where it has no name.")] | UnsetType = UNSET
    url: str | UnsetType = UNSET
    notes: str | UnsetType = UNSET


class OrganizationBranding(Answer, frozen=True, kw_only=True):
    name: str
    colour: Annotated[str, Meta(description="Six hexadecimal digits behind a `#`.")]
    text_colour: Annotated[str, Meta(description="Black or white, whichever is read better on it.")]
    header: Literal["logo_and_name", "logo", "name"]
    logo_on_theme: Annotated[Photo | None, Meta(description="To be shown on the colour.")]
    logo_on_light: Photo | None
    image: Photo | None


class PrivacyQuery(Given, frozen=True, kw_only=True):
    platform: Annotated[str, Meta(min_length=1, max_length=64, pattern=NO_NUL)] | None = None
    ownership: Ownership = Ownership.PERSONAL


class PrivacyLine(Answer, frozen=True, kw_only=True):
    key: Annotated[str, Meta(description="For `/texts`.")]
    text: Annotated[str, Meta(description="The same in your language.")]


class ConnectedService(Answer, frozen=True, kw_only=True):
    app_id: UUID
    name: str
    first_used_at: Moment
    last_used_at: Moment


class PrivacyPage(Answer, frozen=True, kw_only=True):
    """What your organization can and cannot see of a device of this kind."""

    platform: str | None
    ownership: Ownership
    cannot_see: list[PrivacyLine]
    can_see: list[PrivacyLine]
    about_platform: Annotated[PrivacyLine | None, Meta(description="What is special about this kind of device.")]
    statement_url: Annotated[str | None, Meta(description="The organization's own statement.")]
    also_can_see: Annotated[
        str | None, Meta(description="The organization's own words: small markdown, to be shown as text.")
    ]
    also_cannot_see: str | None
    connected_services: Annotated[
        list[ConnectedService],
        Meta(description="Apps in which your sign-in here goes on, the lately used first; at most 100."),
    ]
    terms: Annotated[list["TermsToMe"], Meta(description="Those in force, with what you have accepted of them.")]


class OrganizationFront(Answer, frozen=True, kw_only=True):
    """What everybody in an organization is shown of it."""

    id: UUID
    name: str
    contact: OrganizationContact
    branding: OrganizationBranding
    privacy_url: Annotated[str | None, Meta(description="The organization's own statement.")]
    leaving_allowed: Annotated[bool, Meta(description="Whether people may leave by themselves.")]
    privacy_contact: Annotated[OrganizationContact, Meta(description="Whom they ask where they may not.")]


class HiddenAct(Given, frozen=True, kw_only=True):
    """What people are not offered on devices of this kind: every act of a device, and `rename`."""

    platform: Annotated[str, Meta(min_length=1, max_length=64, pattern=NO_NUL)]
    ownership: Ownership
    act: Literal["reset_passcode", "remote_lock", "wipe", "remove", "restart", "refresh", "rename"]


class ActSettings(Answer, frozen=True, kw_only=True):
    act: Act
    proof: Proof
    least_proof: Annotated[Proof, Meta(description="No organization asks for less.")]
    strength: Annotated[int, Meta(description="How strong the session must be, 1 to 3.")]
    second_approver: Annotated[bool, Meta(description="Whether another administrator must say yes.")]
    expires_after_seconds: Annotated[
        int | None, Meta(description="How long it waits for its device; null: until it is taken back.")
    ]


class OrganizationPrivacy(Answer, frozen=True, kw_only=True):
    url: str | None
    can_see: str | None
    cannot_see: str | None


ProfileSection = Literal["identity", "job", "contact", "preferences", "photo"]


class OrganizationSettings(Answer, frozen=True, kw_only=True):
    """What holds: the house's default where the organization decided nothing."""

    contact: OrganizationContact
    privacy: OrganizationPrivacy
    branding: OrganizationBranding
    hidden_acts: list[HiddenAct]
    hidden_sections: list[str]
    acts: list[ActSettings]
    unread_passcode_seconds: int
    readable_passcode_seconds: int
    device_quota: Annotated[
        int | Literal["unlimited"], Meta(description="How many devices one person may have, invited ones among them.")
    ]
    leaving_allowed: bool
    privacy_contact: OrganizationContact
    sign_out_proof: Annotated[Literal["none", "fresh"], Meta(description="What signing out everywhere takes.")]


ShortLine = Annotated[str, Meta(max_length=NAME_MOST, pattern=NO_NUL, description="One line.")]
PhoneLine = Annotated[str, Meta(max_length=PHONE_MOST, pattern=NO_NUL, description="As people dial it.")]
SiteLine = Annotated[str, Meta(max_length=SITE_MOST, pattern=NO_NUL, description="Begins with https://.")]
PrivacySiteLine = Annotated[
    str, Meta(max_length=PRIVACY_SITE_MOST, pattern=NO_NUL, description="Begins with https://.")
]
NotesLine = Annotated[str, Meta(max_length=NOTES_MOST, pattern=NO_NUL, description="One line.")]
SightText = Annotated[
    str,
    Meta(max_length=SIGHT_MOST, pattern=NO_NUL, description="Small markdown; it is sent as text and never as HTML."),
]
Seconds = Annotated[int, Meta(ge=1, le=31_536_000)]


class ContactChanged(Given, frozen=True, kw_only=True):
    """Whom people ask. Null empties, what is absent stays."""

    name: ShortLine | UnsetType | None = UNSET
    phone: PhoneLine | UnsetType | None = UNSET
    email: ShortLine | UnsetType | None = UNSET
    site_name: ShortLine | UnsetType | None = UNSET
    url: SiteLine | UnsetType | None = UNSET
    notes: NotesLine | UnsetType | None = UNSET


class PrivacyContactChanged(Given, frozen=True, kw_only=True):
    """Whom people ask who may not leave by themselves. Null empties, what is absent stays."""

    name: ShortLine | UnsetType | None = UNSET
    phone: PhoneLine | UnsetType | None = UNSET
    email: ShortLine | UnsetType | None = UNSET


class PrivacyChanged(Given, frozen=True, kw_only=True):
    """The organization's statement, and its own words beside ours. Null empties, what is absent stays."""

    url: PrivacySiteLine | UnsetType | None = UNSET
    can_see: SightText | UnsetType | None = UNSET
    cannot_see: SightText | UnsetType | None = UNSET


class BrandingChanged(Given, frozen=True, kw_only=True):
    """How the portal looks. Null brings back the house's own, what is absent stays."""

    name: ShortLine | UnsetType | None = UNSET
    colour: (
        Annotated[
            str,
            Meta(max_length=7, pattern=NO_NUL, description="blue, green, purple, red, grey, or as #0f6cbd."),
        ]
        | UnsetType
        | None
    ) = UNSET
    header: Literal["logo_and_name", "logo", "name"] | UnsetType | None = UNSET


class ActChanged(Given, frozen=True, kw_only=True):
    """Null brings back what the house decides, what is absent stays."""

    act: Act
    proof: Annotated[Proof, Meta(description="More than the house asks for, never less.")] | UnsetType | None = UNSET
    strength: Annotated[int, Meta(ge=1, le=STRENGTH_MOST)] | UnsetType | None = UNSET
    second_approver: (
        Annotated[bool, Meta(description="Of a wipe or a removal; takes two administrators who can approve.")]
        | UnsetType
    ) = UNSET
    expires_after_seconds: (
        Annotated[
            Seconds, Meta(description="From 900 to 604800, of a restart to 86400; a removal and a wipe have none.")
        ]
        | UnsetType
        | None
    ) = UNSET


class OrganizationSettingsChanged(Given, frozen=True, kw_only=True):
    """What is absent stays as it is. All of it is taken over, or nothing."""

    contact: ContactChanged | UnsetType = UNSET
    privacy: PrivacyChanged | UnsetType = UNSET
    branding: BrandingChanged | UnsetType = UNSET
    hidden_acts: (
        Annotated[list[HiddenAct], Meta(max_length=HIDDEN_MOST, description="All of them; others are shown again.")]
        | UnsetType
    ) = UNSET
    hidden_sections: (
        Annotated[list[ProfileSection], Meta(max_length=5, description="Of a profile, from its person.")] | UnsetType
    ) = UNSET
    acts: Annotated[list[ActChanged], Meta(max_length=len(Act))] | UnsetType = UNSET
    unread_passcode_seconds: (
        Annotated[Seconds, Meta(description="How long a code is kept that nobody has read: 1800 to 604800.")]
        | UnsetType
        | None
    ) = UNSET
    readable_passcode_seconds: (
        Annotated[Seconds, Meta(description="How long it can be read from its first reading on: 300 to 1800.")]
        | UnsetType
        | None
    ) = UNSET
    device_quota: (
        Annotated[
            Annotated[int, Meta(ge=1, le=DEVICES_PER_ACCOUNT_MOST)] | Literal["unlimited"],
            Meta(description="How many devices one person may have. Who has more keeps them; null: 50."),
        ]
        | UnsetType
        | None
    ) = UNSET
    leaving_allowed: (
        Annotated[bool, Meta(description="No takes a privacy contact with an address or a number.")] | UnsetType
    ) = UNSET
    privacy_contact: PrivacyContactChanged | UnsetType = UNSET
    sign_out_proof: (
        Annotated[Literal["none", "fresh"], Meta(description="`fresh`: signing out everywhere takes a proof, too.")]
        | UnsetType
    ) = UNSET


# Security information

Label = Annotated[str, Meta(min_length=1, max_length=NAME_LIMIT, pattern=NAME, description="Your own name for it.")]
Code = Annotated[str, Meta(min_length=1, max_length=64)]


class SecurityMethod(Answer, frozen=True, kw_only=True):
    id: UUID
    kind: str
    label: str
    state: Literal["active"]
    default: Annotated[bool, Meta(description="Whether it is asked for by itself, after the password.")]
    usable_for: list[Literal["mfa", "recovery"]]
    created_at: Moment
    used_at: Moment | None
    expires_at: Annotated[Moment | None, Meta(description="Of what is temporary.")]
    codes_left: Annotated[int, Meta(description="Of saved codes; three or fewer are a warning.")] | UnsetType = UNSET
    signs_in_alone: (
        Annotated[bool, Meta(description="Of passkeys: whether it makes sure who holds it, and so needs no password.")]
        | UnsetType
    ) = UNSET
    hint: Hint | UnsetType = UNSET


class SecurityMethods(Answer, frozen=True, kw_only=True):
    items: list[SecurityMethod]


class MethodNamed(Given, frozen=True, kw_only=True):
    label: Label


class ContactNamed(Given, frozen=True, kw_only=True):
    label: Label
    address: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=320,
            description="A mail address; or a phone's number with its country, as in +31 6 12345678.",
        ),
    ]
    replaces: Annotated[
        UUID | None, Meta(description="One of the same kind that goes when this one is confirmed: a change of address.")
    ] = None


class ContactBegun(Answer, frozen=True, kw_only=True):
    """It counts when the code that was sent there has come back."""

    id: UUID
    label: str
    hint: Hint
    expires_at: Moment
    code_sent: CodeSent


class CodeAsked(Given, frozen=True, kw_only=True):
    method_id: UUID


class MethodConfirmed(Given, frozen=True, kw_only=True):
    """Either a code of an authenticator app, or what a new passkey said."""

    code: Code | None = None
    credential: Attestation | None = None


class RelyingParty(Answer, frozen=True, kw_only=True):
    id: str
    name: str


class PasskeyUser(Answer, frozen=True, kw_only=True):
    id: Annotated[str, Meta(description="Random, and the same for all passkeys of the account.")]
    name: str
    display_name: str = field(name="displayName")


class PasskeyAlgorithm(Answer, frozen=True, kw_only=True):
    type: Literal["public-key"]
    alg: int


class PasskeyDescriptor(Answer, frozen=True, kw_only=True):
    type: Literal["public-key"]
    id: str
    transports: list[str]


class PasskeySelection(Answer, frozen=True, kw_only=True):
    resident_key: Literal["preferred"] = field(name="residentKey")
    require_resident_key: bool = field(name="requireResidentKey")
    user_verification: Literal["preferred"] = field(name="userVerification")


class PasskeyCreation(Answer, frozen=True, kw_only=True):
    """For `PublicKeyCredential.parseCreationOptionsFromJSON()`."""

    rp: RelyingParty
    user: PasskeyUser
    challenge: str
    algorithms: list[PasskeyAlgorithm] = field(name="pubKeyCredParams")
    timeout: int
    exclude: list[PasskeyDescriptor] = field(name="excludeCredentials")
    selection: PasskeySelection = field(name="authenticatorSelection")
    attestation: Literal["none"]


class PasskeyBegun(Answer, frozen=True, kw_only=True):
    """It counts when its device has answered the challenge, once."""

    id: UUID
    label: str
    expires_at: Moment
    public_key: PasskeyCreation


class PasskeyRequest(Answer, frozen=True, kw_only=True):
    """For `PublicKeyCredential.parseRequestOptionsFromJSON()`."""

    challenge: str
    rp_id: str = field(name="rpId")
    timeout: int
    allow: Annotated[list[PasskeyDescriptor], Meta(description="None: any that the device keeps for us.")] = field(
        name="allowCredentials"
    )
    user_verification: Literal["preferred", "required"] = field(name="userVerification")


class PasskeyAsked(Answer, frozen=True, kw_only=True):
    expires_at: Moment
    public_key: PasskeyRequest


class PasskeySignInAsked(PasskeyAsked, frozen=True, kw_only=True):
    token: Annotated[str, Meta(description="Also in a cookie; binds the challenge to whoever asked for it.")]


class MethodChanged(Given, frozen=True, kw_only=True):
    label: Label | None = None
    default: Annotated[Literal[True], Meta(description="Another takes its place; nothing is removed.")] | None = None


class TotpBegun(Answer, frozen=True, kw_only=True):
    """Told once. It counts when a code of it has come back."""

    id: UUID
    label: str
    expires_at: Moment
    uri: Annotated[str, Meta(description="For a link on the phone itself (`otpauth://`).")]
    key: Annotated[str, Meta(description="To be typed where no picture can be taken (base32).")]
    qr_svg: Annotated[str, Meta(description="A picture of `uri`.")]
    qr_png: Annotated[str, Meta(description="The same in base64.")]


class SignInLine(Answer, frozen=True, kw_only=True):
    id: UUID
    at: Moment
    outcome: Literal["succeeded", "password_failed", "passkey_failed", "second_factor_failed"]
    reason: str | None
    advice: Annotated[str, Meta(description="Words for it are at `/api/v1/texts/{language}`.")]
    where: str | None
    client: str | None
    session_id: UUID | None
    can_be_disowned: Annotated[bool, Meta(description="Whether there is anything to be said by `not-me`.")]
    disowned_at: Moment | None


class SignInPage(Answer, frozen=True, kw_only=True):
    items: list[SignInLine]
    next_cursor: UUID | None


class Browser(Answer, frozen=True, kw_only=True):
    id: UUID
    current: Annotated[bool, Meta(description="Whether it is the one that asks.")]
    where: str | None
    client: str | None
    created_at: Moment
    used_at: Moment
    remembered_until: Annotated[Moment | None, Meta(description="Until then it skips the second factor.")]


class Throttle(Answer, frozen=True, kw_only=True):
    kind: Annotated[
        str, Meta(description="`password`, or such as `second_factor`, `passkey`, `code`, `recovery` and its period.")
    ]
    lane: Annotated[
        str | None,
        Meta(
            description="`strangers`: all browsers that are not known together; `this_browser`, or for operators "
            "`browser:` and its id; `passkey:` and the method's id; `method:` and a kind; `address:` and the method's "
            "id: codes sent there, and with `:signed_in` behind it those that take the password; `organization`: all "
            "who act for it together."
        ),
    ]
    tries: Annotated[int, Meta(description="That failed, in a row or in its period; of codes, those that were sent.")]
    limit: int
    shut_until: Annotated[Moment | None, Meta(description="Until then every try is refused.")]


class ThrottleList(Answer, frozen=True, kw_only=True):
    items: list[Throttle]
    next_cursor: None


class DeliveryAttempt(Answer, frozen=True, kw_only=True):
    at: Moment
    outcome: Annotated[
        AttemptOutcome, Meta(description="`begun`: nothing more was heard of it. `unsure`: it may have been sent.")
    ]
    error: Annotated[str | None, Meta(description="A word of ours; never what the other side said.")]


class Delivery(Answer, frozen=True, kw_only=True):
    """Where it went and what it said are not told to anybody."""

    id: UUID
    key: Annotated[str, Meta(description="Which notice or message it is.")]
    channel: Channel
    language: str
    state: Annotated[DeliveryState, Meta(description="`sent`: the mail server or gateway took it.")]
    reason: str | None
    created_at: Moment
    expires_at: Annotated[Moment, Meta(description="So long it is tried.")]
    ended_at: Moment | None
    attempts: list[DeliveryAttempt]


class DeliveryPage(Answer, frozen=True, kw_only=True):
    items: list[Delivery]
    next_cursor: UUID | None


class BrowserList(Answer, frozen=True, kw_only=True):
    items: list[Browser]
    next_cursor: None


class RecoveryCode(Answer, frozen=True, kw_only=True):
    number: int
    code: Annotated[str, Meta(description="With its number before it, as it is typed.")]


class RecoveryCodes(Answer, frozen=True, kw_only=True):
    """Told once: to be printed or kept where the phone is not."""

    id: UUID
    codes: list[RecoveryCode]


class AccessPassAsked(Given, frozen=True, kw_only=True):
    lifetime_seconds: Annotated[int, Meta(ge=int(SHORTEST.total_seconds()), le=int(LONGEST.total_seconds()))] = int(
        USUAL.total_seconds()
    )
    one_use: bool = False


class AccessPass(Answer, frozen=True, kw_only=True):
    """Told once, to be handed to the person."""

    id: UUID
    code: str
    one_use: bool
    expires_at: Moment


# Apps


ClientId = Annotated[str, Meta(min_length=1, max_length=LONGEST_CLIENT_ID, pattern=r"^[\x21-\x7e]+$")]
Uri = Annotated[str, Meta(min_length=1, max_length=LONGEST_URI)]
_TOLD_AT: Final = (
    "Where a logout token is sent (OpenID Connect Back-Channel Logout 1.0); https. Null: it cannot be told."
)
_BY_NAME: Final = "Whether it wants each sign-in named by its `sid`; else one token ends all of a person's there."


class AppAdded(Given, frozen=True, kw_only=True):
    name: Name
    client_id: ClientId
    backchannel_logout_uri: Annotated[Uri | None, Meta(description=_TOLD_AT)] = None
    session_required: Annotated[bool, Meta(description=_BY_NAME)] = False


class AppChanged(Given, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    client_id: ClientId | UnsetType = UNSET
    backchannel_logout_uri: Uri | UnsetType | None = UNSET
    session_required: bool | UnsetType = UNSET


class App(Answer, frozen=True, kw_only=True):
    """How it is told is shown to administrators alone."""

    id: UUID
    name: str
    client_id: str | UnsetType = UNSET
    backchannel_logout_uri: Annotated[str | UnsetType | None, Meta(description=_TOLD_AT)] = UNSET
    session_required: Annotated[bool | UnsetType, Meta(description=_BY_NAME)] = UNSET
    created_at: Moment | UnsetType = UNSET


class AppPage(Answer, frozen=True, kw_only=True):
    items: list[App]
    next_cursor: UUID | None


class AppUse(Answer, frozen=True, kw_only=True):
    """By what the app knows this sign-in: what a logout token will name."""

    app_id: UUID
    client_id: str
    iss: str
    sub: UUID
    sid: UUID


class KeySet(Answer, frozen=True, kw_only=True):
    """A JWK Set (RFC 7517)."""

    keys: list[dict[str, str]]


# Terms of use

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="Of the text in UTF-8, in hexadecimal.")]
LanguageTag = Annotated[str, Meta(max_length=35, pattern=TAG)]
TermsName = Annotated[str, Meta(min_length=1, max_length=NAME_LIMIT, pattern=NAME)]


class TermsToMe(Answer, frozen=True, kw_only=True):
    """Terms as they are to you."""

    id: UUID
    name: str
    status: Literal["none", "current", "due", "overdue", "declined"]
    due_at: Annotated[Moment | None, Meta(description="When it ends, or ended, that all is well.")]
    version_id: Annotated[UUID | None, Meta(description="The version in force, or the first that is announced.")]
    version: int | None
    effective_at: Moment | None
    accept_offered: Annotated[bool, Meta(description="Whether there is anything to accept; else *Done* is.")]
    accepted_at: Moment | None
    accepted_version: Annotated[int | None, Meta(description="Which one that was; it may be an older one.")]
    expires_at: Moment | None
    must_scroll: Annotated[bool, Meta(description="*Accept* only when the text was shown to its end.")]
    per_device: Annotated[bool, Meta(description="Asked once in every browser.")]


class MyTerms(Answer, frozen=True, kw_only=True):
    """In the order in which they are asked, one at a time."""

    items: list[TermsToMe]
    next_cursor: None
    only_done: Annotated[bool, Meta(description="Nothing is to be accepted: the page offers *Done* alone.")]
    csrf_token: Annotated[str, Meta(description="For `X-CSRF-Token`, where the session is in a cookie.")]


class TermsQuery(Given, frozen=True, kw_only=True):
    language: (
        Annotated[
            str,
            Meta(
                max_length=35, description="The exact tag is taken, else its base, else the default; left out, yours."
            ),
        ]
        | None
    ) = None


class TermsDocument(Answer, frozen=True, kw_only=True):
    """One version as plain text: it is shown as it is, with its line ends, and never read as markup."""

    version_id: UUID
    terms_id: UUID
    name: str
    version: int
    effective_at: Moment
    language: str
    languages: list[str]
    text: str
    hash: Sha256
    must_scroll: bool


class TermsAnswer(Given, frozen=True, kw_only=True):
    """Yes or no to the very text that was shown."""

    hash: Sha256
    language: LanguageTag
    accepted: Annotated[bool, Meta(description="False is a no: it is written down, and nothing is open.")]


class TermsAnswered(Answer, frozen=True, kw_only=True):
    id: UUID
    version_id: UUID
    accepted: bool
    language: str
    hash: Sha256
    at: Moment
    expires_at: Moment | None
    next_version_id: Annotated[UUID | None, Meta(description="What is to be answered next; null: everything is open.")]


class TermsSchedule(Given, frozen=True, kw_only=True):
    starts_at: Moment
    every_months: Annotated[Literal[1, 3, 6, 12], Meta(description="Counted from the start, to its day of the month.")]


class TermsSettings(Given, frozen=True, kw_only=True):
    name: Annotated[TermsName, Meta(description="For administrators.")]
    names: Annotated[
        dict[LanguageTag, TermsName],
        Meta(min_length=1, max_length=LANGUAGES_AT_MOST, description="For people, by language."),
    ]
    default_language: LanguageTag
    must_scroll: bool = False
    per_device: Annotated[bool, Meta(description="Asked once in every browser.")] = False
    schedule: Annotated[TermsSchedule | None, Meta(description="All acceptances end together.")] = None
    expires_after_days: Annotated[
        Annotated[int, Meta(ge=1, le=3650)] | None, Meta(description="Each acceptance ends so many days after it.")
    ] = None


class TermsScheduled(Answer, frozen=True, kw_only=True):
    starts_at: Moment
    every_months: int


class Terms(Answer, frozen=True, kw_only=True):
    id: UUID
    name: str
    names: dict[str, str]
    default_language: str
    must_scroll: bool
    per_device: bool
    schedule: TermsScheduled | None
    expires_after_days: int | None
    created_at: Moment
    withdrawn_at: Moment | None
    version_id: Annotated[UUID | None, Meta(description="The version in force.")]
    versions: int


class TermsPage(Answer, frozen=True, kw_only=True):
    items: list[Terms]
    next_cursor: UUID | None


class TermsPublished(Given, frozen=True, kw_only=True):
    documents: Annotated[
        dict[LanguageTag, Annotated[str, Meta(min_length=1, max_length=LONGEST_TEXT)]],
        Meta(
            min_length=1, max_length=LANGUAGES_AT_MOST, description="Plain text, by language; the default among them."
        ),
    ]
    major: Annotated[bool, Meta(description="Whether everybody is asked anew; a minor version asks nobody.")]
    effective_at: Annotated[Moment | None, Meta(description="Null: now. People hear of it 30 days before.")] = None


class TermsVersion(Answer, frozen=True, kw_only=True):
    id: UUID
    number: int
    major: bool
    effective_at: Moment
    published_at: Moment
    hashes: Annotated[dict[str, str], Meta(description="SHA-256 of each text, by language.")]


class TermsVersionPage(Answer, frozen=True, kw_only=True):
    items: list[TermsVersion]
    next_cursor: int | None


class VersionQuery(Given, frozen=True, kw_only=True):
    cursor: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    limit: Limit = 25


class TermsGiven(Answer, frozen=True, kw_only=True):
    """Who answered, as they were called then; null once that was erased."""

    id: UUID
    account_id: UUID
    sign_in_name: str | None
    display_name: str | None
    mail: str | None
    version_id: UUID
    version: int
    accepted: bool
    language: str
    hash: Sha256
    at: Moment
    expires_at: Moment | None
    session_id: UUID
    where: str | None
    client: str | None


class TermsAnswerPage(Answer, frozen=True, kw_only=True):
    items: list[TermsGiven]
    next_cursor: UUID | None


# Devices and what is asked of them


class ActOffer(Answer, frozen=True, kw_only=True):
    act: Act
    available: bool
    reason: Annotated[str | None, Meta(description="Why it is not available; a word for `/texts`.")]
    proof: Proof
    strength: Annotated[int, Meta(description="How strong the session must be, 1 to 3.")]
    needs_approval: Annotated[bool, Meta(description="Whether it waits for a second person's yes.")]


class Renaming(Answer, frozen=True, kw_only=True):
    available: bool
    reason: Annotated[str | None, Meta(description="Why it is not available; a word for `/texts`.")]


class PasscodeWaiting(Answer, frozen=True, kw_only=True):
    available_until: Moment


class Reach(Answer, frozen=True, kw_only=True):
    road: Annotated[
        Literal["push", "poll", "courier"],
        Meta(description="Woken at once; called by its own schedule; or handed over by its platform's company."),
    ]
    expected_by: Annotated[Moment | None, Meta(description="When it should call at the latest, where that is known.")]


class Lock(Answer, frozen=True, kw_only=True):
    state: Literal["pending", "done", "failed"]
    reason: str | None
    at: Moment
    job_id: UUID


class LastCheckIn(Answer, frozen=True, kw_only=True):
    at: Moment
    address: Annotated[
        str | None, Meta(description="From which it called; null where its platform's company calls for it.")
    ]
    network: Annotated[str | None, Meta(description="The place, as coarsely as it can be told.")]


class LastSignIn(Answer, frozen=True, kw_only=True):
    at: Moment
    address: str | None
    network: Annotated[str | None, Meta(description="The place, as coarsely as it can be told.")]
    browser: Annotated[str | None, Meta(description="As it calls itself, where we know it.")]


class LastCommand(Answer, frozen=True, kw_only=True):
    job_id: UUID
    act: Act
    state: JobState
    reason: str | None
    at: Annotated[Moment, Meta(description="When it ended; while it has not, when it was asked for.")]


class DeviceActivity(Answer, frozen=True, kw_only=True):
    """What it did last: is it yours, and was that you?"""

    check_in: Annotated[LastCheckIn | None, Meta(description="To the minute.")]
    sign_in: Annotated[
        LastSignIn | None, Meta(description="The newest on it, as its client said; they are known for a month.")
    ]
    command: Annotated[LastCommand | None, Meta(description="What was asked of it last, and how that ended.")]


class Device(Answer, frozen=True, kw_only=True):
    id: UUID
    name: str
    platform: str
    ownership: Ownership
    state: Literal["pending", "active", "disabled", "left"]
    last_seen_at: Moment | None
    acts: list[ActOffer]
    passcode: PasscodeWaiting | None
    os_name: str | None
    os_version: str | None
    maker: str | None
    model: str | None
    serial: str | None
    join: JoinKind
    managed: Managed
    compliant: Compliant
    enabled: Enabled
    registered_at: RegisteredAt
    created_at: Moment
    activity: DeviceActivity
    reach: Annotated[Reach | None, Meta(description="How it is reached, while it is enrolled.")]
    lock: Annotated[Lock | None, Meta(description="How the newest remote lock goes, unless it was taken back.")]
    rename: Annotated[Renaming, Meta(description="Whether you may give it a name of your own.")]


class Renamed(Given, frozen=True, kw_only=True):
    name: Annotated[Name, Meta(description="A label in the portal alone; on the device nothing changes.")]


class DevicePage(Answer, frozen=True, kw_only=True):
    items: list[Device]
    next_cursor: UUID | None


class EnrollmentAsked(Given, frozen=True, kw_only=True):
    platform: Annotated[str, Meta(min_length=1, max_length=64, pattern=NO_NUL)]
    name: Name | None = None
    ownership: Ownership = Ownership.PERSONAL


class Enrollment(Answer, frozen=True, kw_only=True):
    id: UUID
    device_id: UUID
    url: Annotated[str, Meta(description="To be opened once, on the device.")]
    expires_at: Moment


class Move(Answer, frozen=True, kw_only=True):
    at: Moment
    from_: JobState | None = field(name="from")
    to: JobState
    by: str
    why: str | None
    attempt: int


class ToldApp(Answer, frozen=True, kw_only=True):
    app_id: UUID
    name: str
    state: Literal["waiting", "told", "refused", "unreachable"]
    reason: Annotated[
        str | None,
        Meta(
            description="Why it was not told: `app_refused`, `app_unreachable`, `address_refused` (nobody is told "
            "there), `no_address` or `app_removed`; never the app's own text."
        ),
    ]
    attempts: int
    ended_at: Moment | None


class Job(Answer, frozen=True, kw_only=True):
    id: UUID
    kind: Annotated[str, Meta(extra_json_schema={"enum": [*Act, *Task]})]
    state: JobState
    reason: str | None
    device_id: UUID | None
    created_at: Moment
    expires_at: Moment | None
    ended_at: Moment | None
    superseded_by: Annotated[UUID | None, Meta(description="The removal or wipe that took its place.")]
    reach: Annotated[Reach | None, Meta(description="How its device is reached, while the job is open.")]
    available_actions: list[Literal["cancel"]]
    timeline: Annotated[list[Move] | UnsetType, Meta(description="Given where one job is shown.")] = UNSET
    apps: Annotated[
        list[ToldApp] | UnsetType, Meta(description="Of `sign_out`, where one job is shown: each app that is told.")
    ] = UNSET
    late_result: Annotated[
        dict[str, Any] | UnsetType | None, Meta(description="What came after the ending; for operators.")
    ] = UNSET
    detail: Annotated[dict[str, str] | UnsetType | None, Meta(description="The device's words; for operators.")] = UNSET


class ApprovalAsker(Answer, frozen=True, kw_only=True):
    id: UUID
    sign_in_name: str
    display_name: str


class ApprovalDevice(Answer, frozen=True, kw_only=True):
    id: UUID
    name: str
    platform: str
    ownership: Ownership


class Approval(Answer, frozen=True, kw_only=True):
    """A wipe or a removal that waits, or waited, for a second person."""

    id: UUID
    act: Act
    state: Literal["submitted", "approved", "refused", "withdrawn", "lapsed", "void"]
    why: Annotated[str | None, Meta(description="What made it void; a word for `/texts`.")]
    asked_by: ApprovalAsker
    device: ApprovalDevice
    created_at: Moment
    lapses_at: Annotated[Moment, Meta(description="Its last moment.")]
    ended_at: Moment | None
    decided_by: UUID | None
    reason: Annotated[str | None, Meta(description="In the words of whoever decided.")]
    job_id: Annotated[UUID | None, Meta(description="What came of the yes.")]
    available_actions: list[Literal["approve", "refuse", "withdraw"]]


class ApprovalPage(Answer, frozen=True, kw_only=True):
    items: list[Approval]
    next_cursor: UUID | None


class ApprovalQuery(Given, frozen=True, kw_only=True):
    cursor: UUID | None = None
    limit: Limit = 25
    state: Literal["submitted", "approved", "refused", "withdrawn", "lapsed", "void"] | None = None
    everyone: Annotated[bool, Meta(description="All of the organization's; for administrators.")] = False


class JobPage(Answer, frozen=True, kw_only=True):
    items: list[Job]
    next_cursor: UUID | None


class SignedOutElsewhere(Answer, frozen=True, kw_only=True):
    token: str
    csrf_token: str
    session: Session
    job: Job


class Revealed(Answer, frozen=True, kw_only=True):
    passcode: str
    kind: PasscodeKind
    readable_until: Moment


# What the person is told, and the record


class Notification(Answer, frozen=True, kw_only=True):
    id: UUID
    seq: Annotated[int, Meta(description="The line's place; the stream's event id.")]
    key: Annotated[str, Meta(description="Words for it are at `/api/v1/texts/{language}`.")]
    params: Annotated[
        dict[str, Any],
        Meta(
            description="What stands in the words. Of `fields`, a list, each name has words of its own: `field.<name>`."
        ),
    ]
    severity: Literal["info", "success", "warning", "error"]
    job_id: UUID | None
    device_id: UUID | None
    created_at: Moment
    read_at: Moment | None
    expires_at: Moment
    version: int


class NotificationPage(Answer, frozen=True, kw_only=True):
    items: list[Notification]
    next_cursor: int | None
    unread: Annotated[int, Meta(description="100 means more than 99.")]


class ReadUpTo(Given, frozen=True, kw_only=True):
    up_to: Annotated[int, Meta(ge=0, le=2**62, description="The `seq` of the newest line that the person saw.")]


class Unread(Answer, frozen=True, kw_only=True):
    unread: Annotated[int, Meta(description="100 means more than 99.")]


class Party(Answer, frozen=True, kw_only=True):
    kind: str
    id: UUID | None


class Event(Answer, frozen=True, kw_only=True):
    id: UUID
    at: Moment
    action: Annotated[str, Meta(description="source:subject:verb")]
    outcome: str
    reason: str | None
    actor: Party
    subject: Party | None
    where: str | None
    client: str | None
    facts: dict[str, Any]


class EventPage(Answer, frozen=True, kw_only=True):
    items: list[Event]
    next_cursor: UUID | None


# The house itself


class Check(Answer, frozen=True, kw_only=True):
    ok: bool
    says: str


class Health(Answer, frozen=True, kw_only=True):
    ok: bool
    checks: dict[str, Check]


class Texts(Answer, frozen=True, kw_only=True):
    language: str
    texts: dict[str, str]


# Query parameters


class JobQuery(Paging, frozen=True, kw_only=True):
    device_id: UUID | None = None
    state: JobState | None = None
    everyone: Annotated[bool, Meta(description="All jobs of the installation; for operators.")] = False


class NotificationQuery(Given, frozen=True, kw_only=True):
    cursor: Annotated[int, Meta(ge=0, le=2**62)] | None = None
    limit: Limit = 25
    unread: Annotated[bool, Meta(description="Only what is unread.")] = False


class OrganizationLeft(Answer, frozen=True, kw_only=True):
    job: Job
    signed_in: Annotated[
        SignedIn | TermsRequired | None,
        Meta(description="The sign-in that asked goes on in your home organization, under this token."),
    ]
