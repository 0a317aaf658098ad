"""Every address on one page: method, path, guard, handler, and all that it may be sent and may answer.

The OpenAPI document is made from this page, and the server answers from it: one cannot be changed without the other.
A path segment whose name ends in `_id` is an id; a text that is none names nothing (404).
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from api import schemas
from api.call import Call, Reply, StreamReply
from api.guards import Guard
from api.handlers import (
    delivery,
    device,
    document,
    enrollment,
    event,
    health,
    job,
    not_me,
    notification,
    passcode,
    password,
    profile,
    re_sign_in,
    recovery,
    recovery_rules,
    security,
    session,
    sign_in,
    text,
    throttle,
)
from api.pictures import BYTES_LIMIT, MEDIA_TYPE, MEDIA_TYPES
from models.errors import (
    ActionInProgress,
    Busy,
    CodeRefused,
    DeviceQuota,
    DomainError,
    FieldNotEditable,
    HiddenByAdmin,
    LabelTaken,
    LastMethod,
    MethodQuota,
    NoDefault,
    NotAllowed,
    NotFound,
    NothingToDisown,
    NothingToReveal,
    NotOffered,
    NotSignedIn,
    PasscodeGone,
    PasswordChanged,
    PasswordChangeRequired,
    PasswordRefused,
    PasswordRejected,
    PictureRefused,
    PreconditionFailed,
    PreconditionRequired,
    ProofRequired,
    RecoveryOver,
    RecoveryStep,
    ReSignInLapsed,
    ReSignInNotOpen,
    ReSignInRequired,
    ReSignInUsed,
    SecondFactorMissing,
    SecondFactorRequired,
    SignInFailed,
    TooLateToCancel,
    TooManyTries,
)
from models.vocabulary import Act, Proof


class Handler(Protocol):
    """A function of handlers/; `Call`'s two parameters are the route's `body` and `query`."""

    __module__: str
    __name__: str

    def __call__(self, call: Call[Any, Any], /) -> Awaitable[Reply | StreamReply]: ...


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that is a file, handed to the handler as bytes."""

    media_types: tuple[str, ...]
    limit: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Route:
    """`answers`: what each status of success carries: a Struct, a media type, or None for no content.

    `errors` are the route's own; what its guard and the reading of a request can raise goes without saying.
    """

    method: str
    path: str
    guard: Guard
    handler: Handler
    summary: str
    answers: Mapping[int, type[msgspec.Struct] | Any | str | None]
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    upload: Upload | None = None
    """In place of `body`."""
    errors: tuple[type[DomainError], ...] = ()
    needs_key: bool = False
    """Whether `Idempotency-Key` must be sent."""
    marked: bool = False
    """Whether the answer has an ETag, which `If-Match` must bring back with an edit."""
    public: bool = False
    """The answer holds nothing of anybody's and asks no database."""
    example: Mapping[str, Any] = field(default_factory=dict)
    """Of the body."""

    @property
    def name(self) -> str:
        return self.handler.__name__


_V1: Final = "/api/v1"

_PROOFS: Final[Mapping[Proof, tuple[type[DomainError], ...]]] = {
    Proof.NONE: (),
    Proof.FRESH: (ProofRequired,),
    Proof.RE_SIGN_IN: (ReSignInRequired, ReSignInLapsed, ReSignInUsed),
}
_SUMMARIES: Final[Mapping[Act, str]] = {
    Act.RESET_PASSCODE: "Replace or remove a forgotten passcode",
    Act.REMOTE_LOCK: "Lock the device",
    Act.WIPE: "Wipe the device; no undo",
    Act.REMOVE: "Remove the device from management; no undo",
    Act.RESTART: "Restart the device",
    Act.REFRESH: "Let the device check in and tell how it is",
}


def _act(act: Act) -> Route:
    return Route(
        "POST",
        f"{_V1}/devices/{{device_id}}/{act.replace('_', '-')}",
        Guard.SIGNED_IN,
        job.ask(act),
        _SUMMARIES[act],
        {202: schemas.Job},
        # An organization may demand more proof for an act, never less.
        errors=(
            *(error for proof in Proof for error in _PROOFS[proof]),
            NotFound,
            NotOffered,
            HiddenByAdmin,
            SecondFactorMissing,
            ActionInProgress,
            TooManyTries,
        ),
        needs_key=True,
    )


ROUTES: Final[tuple[Route, ...]] = (
    # Signing in
    Route(
        "POST",
        f"{_V1}/sessions",
        Guard.OPEN,
        session.sign_in,
        "Sign in",
        {201: schemas.SignedIn, 202: schemas.SecondFactorRequired | schemas.PasswordChangeRequired},
        body=schemas.SignIn,
        errors=(SignInFailed, TooManyTries, Busy),
        example={"account": "sanne@example.org", "password": "correct horse battery staple"},
    ),
    Route(
        "POST",
        f"{_V1}/sessions/current/second-factor",
        Guard.HALF_SIGNED_IN,
        session.second_factor,
        "Finish the sign-in with a second factor",
        {201: schemas.SignedIn, 202: schemas.PasswordChangeRequired},
        body=schemas.SecondFactor,
        errors=(CodeRefused, TooManyTries, Busy),
        example={"method_id": "01930c2e-4b7a-7c1f-9a55-0d3f1c9be001", "code": "123456"},
    ),
    Route(
        "POST",
        f"{_V1}/sessions/current/proof",
        Guard.SIGNED_IN,
        session.prove,
        "Show again that it is you; the token is changed",
        {200: schemas.Proven},
        body=schemas.ProofGiven,
        errors=(CodeRefused, TooManyTries, Busy),
        example={"password": "correct horse battery staple"},
    ),
    Route(
        "GET",
        f"{_V1}/sessions",
        Guard.SIGNED_IN,
        session.page,
        "Where you are signed in, oldest first",
        {200: schemas.SessionPage},
        query=schemas.Paging,
    ),
    Route(
        "GET",
        f"{_V1}/sessions/current",
        Guard.SIGNED_IN,
        session.current,
        "The session that asks",
        {200: schemas.CurrentSession},
    ),
    Route(
        "DELETE",
        f"{_V1}/sessions/current",
        Guard.HALF_SIGNED_IN,
        session.sign_out,
        "Sign out",
        {204: None},
    ),
    Route(
        "DELETE",
        f"{_V1}/sessions/{{session_id}}",
        Guard.SIGNED_IN,
        session.end,
        "End one of your sessions; another than this takes a proof not older than fifteen minutes",
        {204: None},
        errors=(NotFound, ProofRequired),
    ),
    Route(
        "POST",
        f"{_V1}/password",
        Guard.MAY_OWE_PASSWORD,
        password.change,
        "Choose another password; every other sign-in ends, and this one goes on with a new token",
        {200: schemas.PasswordChanged},
        body=schemas.PasswordChange,
        errors=(ProofRequired, PasswordRefused, PasswordRejected, PasswordChanged, TooManyTries),
        example={"current": "correct horse battery staple", "new": "plain otter walks along the dyke"},
    ),
    Route(
        "GET",
        f"{_V1}/sign-ins",
        Guard.SIGNED_IN,
        sign_in.page,
        "Sign-ins to your account of the last 30 days, failed ones too, newest first",
        {200: schemas.SignInPage},
        query=schemas.Paging,
    ),
    Route(
        "POST",
        f"{_V1}/sign-ins/{{sign_in_id}}/not-me",
        Guard.SIGNED_IN,
        sign_in.not_me,
        "This wasn't me: every sign-in ends, this one too, and the next one takes another password",
        {200: schemas.SignInLine},
        errors=(NotFound, NothingToDisown),
    ),
    Route(
        "GET",
        f"{_V1}/browsers",
        Guard.SIGNED_IN,
        sign_in.browsers,
        "Browsers in which you have signed in, the last used first, and which skip the second factor",
        {200: schemas.BrowserList},
    ),
    Route(
        "GET",
        f"{_V1}/throttles",
        Guard.SIGNED_IN,
        throttle.mine,
        "What failed tries have counted up against your account, by strangers and in this browser",
        {200: schemas.ThrottleList},
    ),
    Route(
        "GET",
        f"{_V1}/accounts/{{account_id}}/throttles",
        Guard.OPERATOR,
        throttle.of_account,
        "What failed tries have counted up against an account, in each known browser, too; for operators",
        {200: schemas.ThrottleList},
        errors=(NotFound,),
    ),
    Route(
        "GET",
        f"{_V1}/accounts/{{account_id}}/deliveries",
        Guard.ADMINISTRATOR,
        delivery.page,
        "What became of the mails and messages about a person of the organization, newest first; for administrators",
        {200: schemas.DeliveryPage},
        query=schemas.Paging,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        f"{_V1}/browsers/{{browser_id}}",
        Guard.SIGNED_IN,
        sign_in.forget_browser,
        "Forget a browser: it takes the second factor again, and is a stranger's",
        {204: None},
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_V1}/sign-out-everywhere",
        Guard.SIGNED_IN,
        session.sign_out_everywhere,
        "End every session of the account at once",
        {204: None},
        body=schemas.Confirmation,
        example={"confirm": True},
    ),
    Route(
        "POST",
        f"{_V1}/re-sign-ins",
        Guard.MAYBE_SIGNED_IN,
        re_sign_in.open_window,
        "Sign out to sign in again within five minutes; repeated with the window's own token, the same window is shown",
        {200: schemas.ReSignInOpened, 201: schemas.ReSignInOpened},
        body=schemas.ReSignInAsked,
        errors=(
            NotSignedIn,
            SecondFactorRequired,
            PasswordChangeRequired,
            NotFound,
            NotOffered,
            HiddenByAdmin,
            SecondFactorMissing,
            ReSignInNotOpen,
            ReSignInLapsed,
            TooManyTries,
        ),
        example={"device_id": "01930c2e-4b7a-7c1f-9a55-0d3f1c9be002", "act": "reset_passcode"},
    ),
    Route(
        "GET",
        f"{_V1}/re-sign-ins/{{re_sign_in_id}}",
        Guard.SIGNED_IN,
        re_sign_in.show,
        "One of your re-sign-ins",
        {200: schemas.ReSignIn},
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_V1}/not-me",
        Guard.OPEN,
        not_me.report,
        "Answer a notice with its link's token: it was not you, so every session of the account ends",
        {204: None},
        body=schemas.NotMe,
        errors=(NotFound,),
        example={"token": "dGhlIHRva2VuIGZyb20gdGhlIG5vdGljZSdzIGxpbms"},
    ),
    Route(
        "GET",
        "/not-me",
        Guard.OPEN,
        not_me.page,
        "The page that a notice's link opens; its button does it, reading it does nothing",
        {200: "text/html"},
        query=schemas.InLanguage,
        public=True,
    ),
    Route(
        "GET",
        "/not-me/script.js",
        Guard.OPEN,
        not_me.script,
        "What that page's button does",
        {200: "text/javascript", 304: None},
        public=True,
    ),
    # Your own page
    Route(
        "GET",
        f"{_V1}/profile",
        Guard.SIGNED_IN,
        profile.show,
        "What your organization knows of you: each field with its master, and whether you may change it",
        {200: schemas.Profile},
        marked=True,
    ),
    Route(
        "PATCH",
        f"{_V1}/profile",
        Guard.SIGNED_IN,
        profile.change,
        "Set what is your own: language, regional format, time zone",
        {200: schemas.Profile},
        body=schemas.ProfileChanged,
        errors=(FieldNotEditable, PreconditionRequired, PreconditionFailed),
        marked=True,
        example={"language": "nl", "regional_format": "nl-NL", "time_zone": "Europe/Amsterdam"},
    ),
    Route(
        "GET",
        f"{_V1}/profile/photo",
        Guard.SIGNED_IN,
        profile.photo,
        "Your photo; its ETag spares the next transfer",
        {200: MEDIA_TYPE, 304: None},
        errors=(NotFound,),
    ),
    Route(
        "PUT",
        f"{_V1}/profile/photo",
        Guard.SIGNED_IN,
        profile.keep_photo,
        "Give a photo: made anew, upright and small, with nothing but its pixels",
        {200: schemas.Profile},
        upload=Upload(MEDIA_TYPES, BYTES_LIMIT),
        errors=(PictureRefused, FieldNotEditable, Busy),
    ),
    Route(
        "DELETE",
        f"{_V1}/profile/photo",
        Guard.SIGNED_IN,
        profile.remove_photo,
        "Take the photo away",
        {204: None},
    ),
    # The way back in
    Route(
        "POST",
        f"{_V1}/recoveries",
        Guard.OPEN,
        recovery.start,
        "Begin to get back in without the password; the answer is the same whether there is such an account or not",
        {201: schemas.RecoveryStarted},
        body=schemas.RecoveryAsked,
        errors=(TooManyTries, Busy),
        example={"account": "sanne@example.org", "purpose": "reset"},
    ),
    Route(
        "GET",
        f"{_V1}/recoveries/{{recovery_id}}",
        Guard.OPEN,
        recovery.show,
        "Where it stands; with its token, as every step from here on",
        {200: schemas.Recovery},
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        f"{_V1}/recoveries/{{recovery_id}}",
        Guard.OPEN,
        recovery.cancel,
        "Take it back",
        {204: None},
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_V1}/recoveries/{{recovery_id}}/gate",
        Guard.OPEN,
        recovery.gate,
        "Pass a gate with a code of one of the methods; a second gate takes another kind",
        {200: schemas.Recovery},
        body=schemas.GateTried,
        errors=(NotFound, CodeRefused, RecoveryOver, RecoveryStep, TooManyTries, Busy),
        example={"method_id": "01930c2e-4b7a-4c1f-9a55-0d3f1c9be001", "code": "123456"},
    ),
    Route(
        "POST",
        f"{_V1}/recoveries/{{recovery_id}}/password",
        Guard.OPEN,
        recovery.choose_password,
        "Choose another password; every session ends, nobody is signed in, and a second factor is asked for as before",
        {204: None},
        body=schemas.PasswordChosen,
        errors=(NotFound, RecoveryOver, RecoveryStep, PasswordRejected, Busy),
        example={"new": "plain otter walks along the dyke"},
    ),
    Route(
        "POST",
        f"{_V1}/recoveries/{{recovery_id}}/unlock",
        Guard.OPEN,
        recovery.unlock,
        "Open the road that too many failures shut; the password and every session stay",
        {204: None},
        errors=(NotFound, RecoveryOver, RecoveryStep),
    ),
    Route(
        "GET",
        f"{_V1}/security/recovery",
        Guard.SIGNED_IN,
        recovery_rules.mine,
        "Whether you could get back in by yourself, and what is missing",
        {200: schemas.RecoveryRegistration},
    ),
    Route(
        "GET",
        f"{_V1}/organization/recovery",
        Guard.ADMINISTRATOR,
        recovery_rules.show_rules,
        "Who may get back in by themselves and how, with the count of those whom two gates would shut out",
        {200: schemas.RecoveryRules},
        marked=True,
    ),
    Route(
        "PUT",
        f"{_V1}/organization/recovery",
        Guard.ADMINISTRATOR,
        recovery_rules.change_rules,
        "Say who may get back in by themselves and how",
        {200: schemas.RecoveryRules},
        body=schemas.RecoveryRulesChanged,
        errors=(ProofRequired, PreconditionRequired, PreconditionFailed),
        marked=True,
        example={"whom": "all", "gates": 2, "kinds": ["totp", "recovery_codes"], "unlock": True},
    ),
    Route(
        "PUT",
        f"{_V1}/accounts/{{account_id}}/recovery",
        Guard.ADMINISTRATOR,
        recovery_rules.let,
        "Let a person into the group that may get back in by itself, or out of it",
        {204: None},
        body=schemas.LetRecover,
        errors=(NotFound, NotAllowed, ProofRequired),
        example={"may": True},
    ),
    Route(
        "POST",
        f"{_V1}/accounts/{{account_id}}/recovery/allow-again",
        Guard.ADMINISTRATOR,
        recovery_rules.allow_again,
        "Open a person's way back in that wrong codes have shut",
        {204: None},
        body=schemas.Reason,
        errors=(NotFound, NotAllowed, ProofRequired),
        example={"reason": "identified by telephone, ticket 4711"},
    ),
    # Security information
    Route(
        "GET",
        f"{_V1}/security/methods",
        Guard.SIGNED_IN,
        security.page,
        "Your methods beside the password, the default first",
        {200: schemas.SecurityMethods},
    ),
    Route(
        "POST",
        f"{_V1}/security/methods/totp",
        Guard.SIGNED_IN,
        security.begin_totp,
        "Begin to add an authenticator app: its secret, told once; it takes the place of one that was not confirmed",
        {201: schemas.TotpBegun},
        body=schemas.MethodNamed,
        errors=(ProofRequired, MethodQuota, LabelTaken),
        example={"label": "My phone"},
    ),
    Route(
        "POST",
        f"{_V1}/security/methods/recovery-codes",
        Guard.SIGNED_IN,
        security.make_codes,
        "Ten codes for the day on which the phone is gone, told once; those made before are void",
        {201: schemas.RecoveryCodes},
        errors=(ProofRequired,),
    ),
    Route(
        "POST",
        f"{_V1}/accounts/{{account_id}}/access-pass",
        Guard.ADMINISTRATOR,
        security.issue_pass,
        "Lend a person a second factor for a while, told once; an earlier one ends",
        {201: schemas.AccessPass},
        body=schemas.AccessPassAsked,
        errors=(NotFound, NotAllowed, ProofRequired),
        example={"lifetime_seconds": 3600, "one_use": False},
    ),
    Route(
        "DELETE",
        f"{_V1}/accounts/{{account_id}}/access-pass",
        Guard.ADMINISTRATOR,
        security.withdraw_pass,
        "Take it back, and end what was opened with it",
        {204: None},
        errors=(NotFound, NotAllowed, ProofRequired),
    ),
    Route(
        "GET",
        f"{_V1}/security/methods/{{method_id}}",
        Guard.SIGNED_IN,
        security.show,
        "One of your methods; its ETag is of what you may edit",
        {200: schemas.SecurityMethod},
        errors=(NotFound,),
        marked=True,
    ),
    Route(
        "POST",
        f"{_V1}/security/methods/{{method_id}}/confirm",
        Guard.SIGNED_IN,
        security.confirm,
        "Confirm a method that was begun in this session, with a code of it; five wrong ones end it",
        {200: schemas.SecurityMethod},
        body=schemas.MethodConfirmed,
        errors=(NotFound, CodeRefused, MethodQuota, LabelTaken),
        marked=True,
        example={"code": "123456"},
    ),
    Route(
        "PATCH",
        f"{_V1}/security/methods/{{method_id}}",
        Guard.SIGNED_IN,
        security.change,
        "Name a method anew, or make it the default",
        {200: schemas.SecurityMethod},
        body=schemas.MethodChanged,
        errors=(NotFound, ProofRequired, LabelTaken, NoDefault, PreconditionRequired, PreconditionFailed),
        marked=True,
        example={"default": True},
    ),
    Route(
        "DELETE",
        f"{_V1}/security/methods/{{method_id}}",
        Guard.SIGNED_IN,
        security.remove,
        "Remove a method, for good; sessions elsewhere that were proven with it end",
        {204: None},
        errors=(NotFound, ProofRequired, LastMethod),
    ),
    # Your devices, and what you ask of them
    Route(
        "GET",
        f"{_V1}/devices",
        Guard.SIGNED_IN,
        device.page,
        "Your devices, each with every act and why one is not available",
        {200: schemas.DevicePage},
        query=schemas.Paging,
    ),
    Route(
        "GET",
        f"{_V1}/devices/{{device_id}}",
        Guard.SIGNED_IN,
        device.show,
        "One of your devices; its ETag is of what you may edit",
        {200: schemas.Device},
        errors=(NotFound,),
        marked=True,
    ),
    Route(
        "POST",
        f"{_V1}/devices/{{device_id}}/rename",
        Guard.SIGNED_IN,
        device.rename,
        "Give the device another label, in the portal alone",
        {200: schemas.Device},
        body=schemas.Renamed,
        errors=(NotFound, PreconditionRequired, PreconditionFailed),
        marked=True,
        example={"name": "Phone for work"},
    ),
    Route(
        "POST",
        f"{_V1}/devices/{{device_id}}/disable",
        Guard.SIGNED_IN,
        device.disable,
        "Trust the device no more: what was asked of it ends, and only an administrator can undo it",
        {200: schemas.Device},
        body=schemas.Confirmation,
        errors=(NotFound, NotOffered, ProofRequired, ActionInProgress),
        example={"confirm": True},
    ),
    *(_act(act) for act in Act),
    Route(
        "POST",
        f"{_V1}/devices/{{device_id}}/passcode/reveal",
        Guard.SIGNED_IN,
        passcode.reveal,
        "Read the temporary passcode; each reading is written down",
        {200: schemas.Revealed},
        errors=(NotFound, NothingToReveal, PasscodeGone, ProofRequired),
    ),
    Route(
        "POST",
        f"{_V1}/enrollments",
        Guard.SIGNED_IN,
        enrollment.invite,
        "Bring a device in: a link that opens once, on the device",
        {201: schemas.Enrollment},
        body=schemas.EnrollmentAsked,
        errors=(NotOffered, DeviceQuota, TooManyTries),
        example={"platform": "ios", "name": "My phone", "ownership": "personal"},
    ),
    Route(
        "GET",
        f"{_V1}/jobs",
        Guard.SIGNED_IN,
        job.page,
        "What was asked, newest first",
        {200: schemas.JobPage},
        query=schemas.JobQuery,
        errors=(NotAllowed,),
    ),
    Route(
        "GET",
        f"{_V1}/jobs/{{job_id}}",
        Guard.SIGNED_IN,
        job.show,
        "One job with its timeline",
        {200: schemas.Job},
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_V1}/jobs/{{job_id}}/cancel",
        Guard.SIGNED_IN,
        job.cancel,
        "Take it back, while the device does not have it",
        {200: schemas.Job},
        errors=(NotFound, TooLateToCancel),
    ),
    # What you were told
    Route(
        "GET",
        f"{_V1}/notifications",
        Guard.SIGNED_IN,
        notification.page,
        "What you were told, newest first",
        {200: schemas.NotificationPage},
        query=schemas.NotificationQuery,
    ),
    Route(
        "POST",
        f"{_V1}/notifications/read",
        Guard.SIGNED_IN,
        notification.mark_read_up_to,
        "Mark everything read up to a line",
        {200: schemas.Unread},
        body=schemas.ReadUpTo,
        example={"up_to": 12},
    ),
    Route(
        "GET",
        f"{_V1}/notifications/stream",
        Guard.SIGNED_IN,
        notification.stream,
        "Server-sent events: `unread` and `notification`; `Last-Event-ID` brings what was missed",
        {200: "text/event-stream"},
        errors=(TooManyTries,),
    ),
    Route(
        "POST",
        f"{_V1}/notifications/{{notification_id}}/read",
        Guard.SIGNED_IN,
        notification.mark_read,
        "Mark one read",
        {200: schemas.Notification},
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_V1}/notifications/{{notification_id}}/unread",
        Guard.SIGNED_IN,
        notification.mark_unread,
        "Mark one unread",
        {200: schemas.Notification},
        errors=(NotFound,),
    ),
    Route(
        "GET",
        f"{_V1}/events",
        Guard.SIGNED_IN,
        event.page,
        "Your own view of the record, newest first",
        {200: schemas.EventPage},
        query=schemas.Paging,
    ),
    # The house itself
    Route(
        "GET",
        f"{_V1}/texts/{{language}}",
        Guard.OPEN,
        text.show,
        "The words behind keys, reasons and problem codes: en, nl",
        {200: schemas.Texts, 304: None},
        errors=(NotFound,),
        public=True,
    ),
    Route(
        "GET", "/healthz", Guard.OPEN, health.alive, "Whether the process answers", {200: schemas.Health}, public=True
    ),
    Route(
        "GET",
        "/readyz",
        Guard.OPEN,
        health.ready,
        "Whether all that the process needs is there",
        {200: schemas.Health, 503: schemas.Health},
        public=True,
    ),
    Route(
        "GET",
        "/openapi.json",
        Guard.OPEN,
        document.openapi,
        "This description",
        {200: "application/json", 304: None},
        public=True,
    ),
    Route(
        "GET",
        "/docs",
        Guard.OPEN,
        document.docs,
        "This description, to be read",
        {200: "text/html", 304: None},
        public=True,
    ),
    Route(
        "GET",
        "/docs/style.css",
        Guard.OPEN,
        document.style,
        "How that page looks",
        {200: "text/css", 304: None},
        public=True,
    ),
)
"""A fixed segment stands before a parameter in its place: the first that fits answers."""
