"""Row → the outside shape. Nothing goes out that is not named here."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, cast
from uuid import UUID

from msgspec import UNSET, UnsetType

from api import passkeys, schemas
from api.operations import approval as approvals
from api.operations import device as devices
from api.operations import disabling
from api.operations.account import Known
from api.operations.activity import Recognized
from api.operations.code_send import CodeSent
from api.operations.contact import ContactBegun
from api.operations.edit import Result
from api.operations.member import Guest
from api.operations.organization import PrivacyOfMine
from api.operations.passkey import Asked, AskedAlone, Begun
from api.operations.recovery import Shown, Started
from api.operations.roster_file import Shown as RosterFile
from api.operations.terms import Answered, Reading
from api.operations.terms_keeping import Kept
from api.passkeys import Party
from api.texts import Texts
from models import place, role
from models.app import App
from models.browser import Browser
from models.contact import Linked
from models.delivery import Attempt, Delivery
from models.device import LEAST_PROOF, LEAST_STRENGTH, Device
from models.event import Line
from models.export import Export
from models.invitation import Invitation
from models.job import Job
from models.leaving import Former
from models.notification import Notification
from models.organization import Belonging, RecoverySettings
from models.organization_change import Decided
from models.organization_picture import PictureKind
from models.organization_policy import SEEN, UNSEEN, Branding, Leaving, Privacy, contact_block
from models.passkey import CHALLENGE_LIFE
from models.profile import Editor, Master, Profile
from models.re_sign_in import ReSignIn
from models.recovery import Registrations
from models.recovery_policy import Standing
from models.sent_code import SentCode
from models.session import Session, Who
from models.settings import ACCOUNT_KEPT
from models.sheet import RowOutcome
from models.sign_in import SignIn
from models.sign_out import Call
from models.standing import Version
from models.terms import Given, Mine
from models.throttle import Count
from models.verification import Verification, VerificationKind
from models.vocabulary import Act, JobState, Ownership, Reason
from platforms.base import Reach

_PASSKEY_TIMEOUT: Final = int(CHALLENGE_LIFE.total_seconds() * 1000)
"""What a browser is told, in its milliseconds."""


def account(who: Who) -> schemas.Account:
    return schemas.Account(
        id=who.account_id,
        sign_in_name=who.sign_in_name,
        display_name=UNSET if who.hides_identity else who.display_name,
        language=who.language,
        organization=schemas.Organization(id=who.organization_id, name=who.organization_name),
        roles=roles(who),
    )


def roles(who: Who) -> list[str]:
    """Operators belong to the installation, so that role stands on the account and not on a membership."""
    return [*who.roles, "operator"] if who.is_operator else list(who.roles)


def belonging(one: Belonging, who: Who) -> schemas.Belonging:
    home = one.organization_id == who.home_id
    reason: Literal["home_organization", "switched_off"] | None = None
    if home or not one.settings.leaving.allowed:
        reason = "home_organization" if home else "switched_off"
    return schemas.Belonging(
        id=one.organization_id,
        name=one.name,
        home=home,
        current=one.organization_id == who.organization_id,
        roles=list(one.roles),
        since=one.since,
        leaving=schemas.Leaving(available=reason is None, reason=reason, contact=one.settings.whom_to_ask),
    )


def invitation(one: Invitation, state: str) -> schemas.GuestInvitation:
    return schemas.GuestInvitation(
        id=one.id,
        hint=one.hint,
        state=cast("Literal['open', 'expired', 'accepted', 'withdrawn', 'replaced']", state),
        created_at=one.created_at,
        expires_at=one.expires_at,
    )


def member(guest: Guest) -> schemas.Member:
    row = guest.row
    return schemas.Member(
        etag=guest.mark,
        id=row.id,
        account_id=row.account_id,
        sign_in_name=row.sign_in_name,
        display_name=row.display_name,
        roles=list(row.roles),
        since=row.created_at,
    )


def former_member(row: Any) -> schemas.FormerMember:
    return schemas.FormerMember(
        id=row.id,
        account_id=row.account_id,
        sign_in_name=row.sign_in_name,
        display_name=row.display_name,
        roles=list(row.roles),
        since=row.joined_at,
        left_at=row.left_at,
        by=row.by,
        restorable_until=Former.of(row).until,
    )


def session(held: Session, who: Who) -> schemas.Session:
    """One of the person's sessions, seen from the one that asks."""
    return schemas.Session(
        id=held.id,
        account=account(who),
        signed_in_at=held.signed_in_at,
        proven_at=held.proven_at,
        strength=held.strength,
        current=held.id == who.session.id,
        where=held.address,
        client=held.client,
        device_id=held.device_id,
    )


def current_session(who: Who, csrf_token: str) -> schemas.CurrentSession:
    held = who.session
    return schemas.CurrentSession(
        id=held.id,
        account=account(who),
        signed_in_at=held.signed_in_at,
        proven_at=held.proven_at,
        strength=held.strength,
        current=True,
        where=held.address,
        client=held.client,
        device_id=held.device_id,
        csrf_token=csrf_token,
    )


def method(held: Verification, codes_left: int | None = None) -> schemas.SecurityMethod:
    return schemas.SecurityMethod(
        id=held.id,
        kind=held.kind.value,
        label=held.label,
        state="active",
        default=held.is_default,
        usable_for=[use.value for use in held.usable_for],
        created_at=held.created_at,
        used_at=held.used_at,
        expires_at=held.expires_at,
        codes_left=UNSET if codes_left is None else codes_left,
        signs_in_alone=held.verifies_person if held.kind is VerificationKind.PASSKEY else UNSET,
        hint=hint(held),
    )


def hint(held: Verification) -> str | UnsetType:
    return UNSET if held.hint is None else held.hint


def code_sent(sent: CodeSent) -> schemas.CodeSent:
    return schemas.CodeSent(method_id=sent.method_id, hint=sent.hint, **_times(sent.code))


def contact_begun(begun: ContactBegun) -> schemas.ContactBegun:
    code = schemas.CodeSent(method_id=begun.id, hint=begun.hint, **_times(begun.code))
    return schemas.ContactBegun(
        id=begun.id, label=begun.label, hint=begun.hint, expires_at=begun.expires_at, code_sent=code
    )


def _times(sent: SentCode) -> dict[str, datetime]:
    return {"sent_at": sent.sent_at, "expires_at": sent.expires_at, "again_at": sent.again_at}


def profile(
    held: Profile, *, administrator: bool = False, addresses: Sequence[Linked] | None = None
) -> schemas.Profile:
    """For the person themselves, or for who keeps it for them."""
    editor, here = Editor.PERSON, "/api/v1/profile"
    if administrator:
        editor, here = Editor.ADMINISTRATOR, f"/api/v1/accounts/{held.account_id}/profile"
    fields = {
        name: schemas.ProfileField(
            value=list(one.value) if isinstance(one.value, tuple) else one.value,
            master=one.master.value,
            editable=one.editable(editor),
            editable_by=one.editable_by.value,
            last_synced_at=one.last_synced_at,
            next_sync_at=one.next_sync_at,
        )
        for name, one in held.fields.items()
    }
    photo = schemas.ProfilePhoto(
        url=None if held.photo_changed_at is None else f"{here}/photo",
        changed_at=held.photo_changed_at,
        master=Master.USER.value,
        editable=True,
        editable_by=Editor.PERSON.value,
        last_synced_at=None,
    )
    return schemas.Profile(
        account_id=held.account_id,
        sign_in_name=held.sign_in_name,
        fields=fields,
        photo=photo if held.shows_photo else UNSET,
        linked_addresses=UNSET if addresses is None else [linked_address(one) for one in addresses],
    )


def linked_address(one: Linked) -> schemas.LinkedAddress:
    return schemas.LinkedAddress(
        method_id=one.method_id,
        value=one.hint,
        master=Master.USER.value,
        editable=False,
        editable_by=Editor.PERSON.value,
        last_synced_at=None,
        confirmed_at=one.confirmed_at,
    )


def profile_edited(done: Result, language: str, texts: Texts) -> schemas.ProfileEdited:
    facts = {} if done.refused is None else dict(done.refused.facts)
    if "errors" in facts:
        facts["errors"] = texts.broken(language, cast("list[dict[str, Any]]", facts["errors"]))
    result: Literal["changed", "unchanged", "refused"] = "changed" if done.changed else "unchanged"
    return schemas.ProfileEdited(
        account_id=done.account_id,
        result=result if done.refused is None else "refused",
        etag=None if done.page is None else done.page.mark,
        code=None if done.refused is None else done.refused.code,
        facts=facts,
    )


def account_import(shown: RosterFile) -> schemas.AccountImport:
    asked, held = shown.job, shown.sheet
    return schemas.AccountImport(
        job_id=asked.id,
        state=asked.state,
        reason=asked.reason,
        dry_run=held.dry_run,
        invite=held.invite,
        size=held.size,
        done=held.position,
        rows=held.rows,
        **{one.value: held.counts.get(one.value, 0) for one in RowOutcome},
        created_at=held.created_at,
        ended_at=asked.ended_at,
        report_until=held.erase_at,
    )


def account_export(shown: RosterFile) -> schemas.AccountExport:
    asked, held = shown.job, shown.sheet
    return schemas.AccountExport(
        job_id=asked.id,
        state=asked.state,
        reason=asked.reason,
        accounts=held.position,
        created_at=held.created_at,
        ended_at=asked.ended_at,
        file_until=held.erase_at if asked.state is JobState.SUCCEEDED else None,
    )


def import_row(row: Any, language: str, texts: Texts) -> schemas.ImportRow:
    return schemas.ImportRow(
        number=row.number,
        line=row.line,
        sign_in_name=row.name,
        outcome=row.outcome,
        reason=row.reason,
        errors=texts.broken(language, row.errors),
    )


def authentication_contact(held: Verification) -> schemas.AuthenticationContact:
    return schemas.AuthenticationContact(
        id=held.id,
        kind=held.kind.value,  # type: ignore[arg-type] # one of the two
        label=held.label,
        hint=held.hint,
        default=held.is_default,
        created_at=held.created_at,
    )


def recovery(shown: Shown) -> schemas.Recovery:
    return schemas.Recovery(**_recovery(shown))


def recovery_started(started: Started) -> schemas.RecoveryStarted:
    return schemas.RecoveryStarted(**_recovery(started), token=started.token)


def _recovery(shown: Shown) -> dict[str, Any]:
    return {
        "id": shown.flow.id,
        "state": shown.state.value,
        "purpose": shown.flow.purpose,
        "methods": [
            schemas.RecoveryMethod(
                id=one.id,
                kind=one.kind.value,  # type: ignore[arg-type] # one of the four
                sent=one.is_sent,
            )
            for one in shown.options
        ],
        "started_at": shown.flow.started_at,
        "closes_at": shown.flow.closes_at,
        "server_time": shown.now,
    }


def recovery_registration(standing: Standing) -> schemas.RecoveryRegistration:
    return schemas.RecoveryRegistration(
        offered=standing.offered,
        registered=standing.registered,
        unlock=standing.offered and standing.settings.unlock,
        gates=standing.gates,
        kinds=cast("list[schemas.RecoveryKind]", standing.kinds),
        can_add=cast("list[schemas.RecoveryKind]", standing.can_add),
    )


def recovery_rules(rules: RecoverySettings, counted: Registrations) -> schemas.RecoveryRules:
    return schemas.RecoveryRules(
        whom=rules.whom.value,
        gates=rules.gates,
        kinds=rules.as_json()["kinds"],
        unlock=rules.unlock,
        people=counted.people,
        registered=counted.registered,
        shut_out_by_two=counted.shut_out_by_two,
    )


def organization_front(decided: Decided) -> schemas.OrganizationFront:
    settings = decided.settings
    leaving = Leaving.of(settings)
    return schemas.OrganizationFront(
        id=decided.organization_id,
        name=decided.name,
        contact=_organization_contact(settings.get("contact", {})),
        branding=_branding(decided),
        privacy_url=Privacy.of(settings).url,
        leaving_allowed=leaving.allowed,
        privacy_contact=_organization_contact(leaving.contact),
    )


def organization_settings(decided: Decided) -> schemas.OrganizationSettings:
    settings, rules = decided.settings, decided.rules
    leaving, privacy = Leaving.of(settings), Privacy.of(settings)
    return schemas.OrganizationSettings(
        contact=_organization_contact(settings.get("contact", {})),
        privacy=schemas.OrganizationPrivacy(url=privacy.url, can_see=privacy.can_see, cannot_see=privacy.cannot_see),
        branding=_branding(decided),
        hidden_acts=[
            schemas.HiddenAct(platform=platform, ownership=Ownership(ownership), act=act)  # type: ignore[arg-type] # as it was taken
            for platform, ownership, act in sorted(rules.hidden_acts)
        ],
        hidden_sections=sorted(rules.hidden_sections),
        acts=[
            schemas.ActSettings(
                act=act,
                proof=rules.proof_for(act, LEAST_PROOF[act]),
                least_proof=LEAST_PROOF[act],
                strength=rules.strength_for(act, LEAST_STRENGTH),
                second_approver=act in rules.second_approver,
                expires_after_seconds=decided.expires_after(act),
            )
            for act in Act
        ],
        unread_passcode_seconds=int(rules.unread_passcode.total_seconds()),
        readable_passcode_seconds=int(rules.readable_passcode.total_seconds()),
        device_quota="unlimited" if rules.device_quota is None else rules.device_quota,
        leaving_allowed=leaving.allowed,
        privacy_contact=_organization_contact(leaving.contact),
        sign_out_proof=rules.sign_out_proof.value,  # type: ignore[arg-type] # one of the two
    )


def _organization_contact(contact: Mapping[str, str]) -> schemas.OrganizationContact:
    return schemas.OrganizationContact(**contact_block(contact))


def _branding(decided: Decided) -> schemas.OrganizationBranding:
    branding = Branding.of(decided.settings)
    return schemas.OrganizationBranding(
        name=branding.name or decided.name,
        colour=branding.colour,
        text_colour=branding.text_colour,
        header=branding.header.value,
        **{kind.value: _picture(decided, kind) for kind in PictureKind},
    )


def approval(shown: approvals.Shown) -> schemas.Approval:
    held = shown.approval
    may: dict[Literal["approve", "refuse", "withdraw"], bool] = {
        "approve": shown.may_approve,
        "refuse": shown.may_refuse,
        "withdraw": shown.may_withdraw,
    }
    return schemas.Approval(
        id=held.id,
        act=held.act,
        state=shown.state.value,
        why=held.why,
        asked_by=schemas.ApprovalAsker(
            id=shown.asker.id, sign_in_name=shown.asker.sign_in_name, display_name=shown.asker.display_name
        ),
        device=schemas.ApprovalDevice(
            id=shown.device.id,
            name=shown.device.name,
            platform=shown.device.platform,
            ownership=Ownership(shown.device.ownership),
        ),
        created_at=held.created_at,
        lapses_at=held.lapses_at,
        ended_at=held.ended_at,
        decided_by=held.decided_by,
        reason=held.reason,
        job_id=held.job_id,
        available_actions=[one for one, allowed in may.items() if allowed],
    )


def _picture(decided: Decided, kind: PictureKind) -> schemas.Photo | None:
    changed_at = decided.pictures.get(kind)
    if changed_at is None:
        return None
    return schemas.Photo(url=f"/api/v1/organization/pictures/{kind.replace('_', '-')}", changed_at=changed_at)


def privacy(
    page: PrivacyOfMine, platform: str | None, ownership: Ownership, language: str, texts: Texts
) -> schemas.PrivacyPage:
    own = Privacy.of(page.decided.settings)

    def lines(keys: Iterable[str]) -> list[schemas.PrivacyLine]:
        return [schemas.PrivacyLine(key=key, text=texts.say(language, key, {})) for key in keys]

    special = f"{platform}.privacy.{ownership}"
    return schemas.PrivacyPage(
        platform=platform,
        ownership=ownership,
        cannot_see=lines(UNSEEN),
        can_see=lines(SEEN[ownership]),
        about_platform=lines([special])[0] if texts.has(special) else None,
        statement_url=own.url,
        also_can_see=own.can_see,
        also_cannot_see=own.cannot_see,
        connected_services=[
            schemas.ConnectedService(
                app_id=one.app_id, name=one.name, first_used_at=one.first_used_at, last_used_at=one.last_used_at
            )
            for one in page.services
        ],
        terms=[my_terms(one, language) for one in page.terms],
    )


def passkey_begun(begun: Begun, party: Party, who: Who) -> schemas.PasskeyBegun:
    return schemas.PasskeyBegun(
        id=begun.id,
        label=begun.label,
        expires_at=begun.asked.expires_at,
        public_key=schemas.PasskeyCreation(
            rp=schemas.RelyingParty(id=party.id, name=passkeys.NAME),
            user=schemas.PasskeyUser(
                id=passkeys.text_of(begun.handle), name=who.sign_in_name, display_name=who.display_name
            ),
            challenge=passkeys.text_of(begun.asked.challenge),
            algorithms=[schemas.PasskeyAlgorithm(type="public-key", alg=one) for one in passkeys.ALGORITHMS],
            timeout=_PASSKEY_TIMEOUT,
            exclude=_descriptors(begun.asked),
            selection=schemas.PasskeySelection(
                resident_key="preferred", require_resident_key=False, user_verification="preferred"
            ),
            attestation="none",
        ),
    )


def passkey_asked(asked: Asked, party: Party) -> schemas.PasskeyAsked:
    return schemas.PasskeyAsked(expires_at=asked.expires_at, public_key=_request(asked, party, "preferred"))


def passkey_asked_alone(made: AskedAlone, party: Party) -> schemas.PasskeySignInAsked:
    return schemas.PasskeySignInAsked(
        token=made.token,
        expires_at=made.asked.expires_at,
        public_key=_request(made.asked, party, "required"),
    )


def _request(asked: Asked, party: Party, verification: Literal["preferred", "required"]) -> schemas.PasskeyRequest:
    return schemas.PasskeyRequest(
        challenge=passkeys.text_of(asked.challenge),
        rp_id=party.id,
        timeout=_PASSKEY_TIMEOUT,
        allow=_descriptors(asked),
        user_verification=verification,
    )


def _descriptors(asked: Asked) -> list[schemas.PasskeyDescriptor]:
    return [
        schemas.PasskeyDescriptor(
            type="public-key", id=passkeys.text_of(one.credential_id), transports=list(one.transports)
        )
        for one in asked.among
    ]


def sign_in(line: SignIn) -> schemas.SignInLine:
    return schemas.SignInLine(
        id=line.id,
        at=line.at,
        outcome=line.outcome.value,
        reason=line.reason,
        advice=line.advice,
        where=line.address,
        client=line.client,
        session_id=line.session_id,
        can_be_disowned=line.can_be_disowned and line.disowned_at is None,
        disowned_at=line.disowned_at,
    )


def known_account(known: Known) -> schemas.KnownAccount:
    row = known.row
    state: Literal["active", "blocked", "deleted"] = "active" if row.blocked_at is None else "blocked"
    return schemas.KnownAccount(
        id=row.id,
        sign_in_name=row.sign_in_name,
        display_name=row.display_name,
        language=row.language,
        roles=list(known.roles),
        state=state if row.deleted_at is None else "deleted",
        created_at=row.created_at,
        blocked_at=row.blocked_at,
        deleted_at=row.deleted_at,
        restorable_until=None if row.deleted_at is None else row.deleted_at + ACCOUNT_KEPT,
    )


def delivery(sent: Delivery, attempts: list[Attempt]) -> schemas.Delivery:
    return schemas.Delivery(
        id=sent.id,
        key=sent.key,
        channel=sent.channel,
        language=sent.language,
        state=sent.state,
        reason=sent.reason,
        created_at=sent.created_at,
        expires_at=sent.expires_at,
        ended_at=sent.ended_at,
        attempts=[schemas.DeliveryAttempt(at=one.at, outcome=one.outcome, error=one.error) for one in attempts],
    )


def throttle(count: Count) -> schemas.Throttle:
    return schemas.Throttle(
        kind=count.kind, lane=count.lane, tries=count.tries, limit=count.limit, shut_until=count.shut_until
    )


def browser(known: Browser, who: Who, current: UUID | None, now: datetime) -> schemas.Browser:
    skips = known.second_factor_done(who.session.generation, now) is not None
    return schemas.Browser(
        id=known.id,
        current=known.id == current,
        where=known.address,
        client=known.client,
        created_at=known.created_at,
        used_at=known.used_at,
        remembered_until=known.remembered_until if skips else None,
    )


def re_sign_in(window: ReSignIn, now: datetime) -> schemas.ReSignIn:
    return schemas.ReSignIn(
        id=window.id,
        state=window.seen_at(now).value,
        device_id=window.device_id,
        act=window.act,
        opened_at=window.opened_at,
        closes_at=window.closes_at,
        usable_until=window.usable_until,
        server_time=now,
    )


def re_sign_in_opened(window: ReSignIn, now: datetime, token: str) -> schemas.ReSignInOpened:
    return schemas.ReSignInOpened(
        id=window.id,
        state=window.seen_at(now).value,
        device_id=window.device_id,
        act=window.act,
        opened_at=window.opened_at,
        closes_at=window.closes_at,
        usable_until=window.usable_until,
        server_time=now,
        token=token,
    )


def device(shown: devices.Shown) -> schemas.Device:
    held, known, until = shown.device, shown.known, shown.passcode_until
    return schemas.Device(
        id=held.id,
        name=held.name,
        platform=held.platform,
        ownership=held.ownership,
        state=held.state.value,
        last_seen_at=held.last_seen_at,
        acts=[
            schemas.ActOffer(
                act=one.act,
                available=one.available,
                reason=one.reason,
                proof=one.proof,
                strength=one.strength,
                needs_approval=one.needs_approval,
            )
            for one in shown.acts
        ],
        passcode=None if until is None else schemas.PasscodeWaiting(available_until=until),
        os_name=held.os_name,
        os_version=held.os_version,
        maker=held.maker,
        model=held.model,
        serial=held.serial,
        join=_join(known),
        managed=known.managed,
        compliant=None if known.management is None else known.management.compliant,
        enabled=held.is_enabled,
        registered_at=known.registered_at,
        created_at=held.created_at,
        activity=schemas.DeviceActivity(
            check_in=_check_in(held), sign_in=_sign_in_on(known.sign_in), command=_command(known.command)
        ),
        reach=_reach(shown.reach),
        lock=None if shown.lock is None else lock(shown.lock),
        rename=schemas.Renaming(
            available=shown.may_rename, reason=None if shown.may_rename else Reason.HIDDEN_BY_ADMIN
        ),
    )


def _join(known: Recognized) -> Literal["registered", "joined", "hybrid"] | None:
    return None if known.management is None else known.management.join.value


def _check_in(held: Device) -> schemas.LastCheckIn | None:
    if held.last_seen_at is None:
        return None
    return schemas.LastCheckIn(at=held.last_seen_at, address=held.seen_from, network=_network(held.seen_from))


def _sign_in_on(opened: Session | None) -> schemas.LastSignIn | None:
    if opened is None:
        return None
    browser = place.browser(opened.client)
    return schemas.LastSignIn(
        at=opened.signed_in_at,
        address=opened.address,
        network=_network(opened.address),
        browser=None if browser == place.UNKNOWN else browser,
    )


def _network(address: str | None) -> str | None:
    return None if address is None else place.network(address)


def _command(asked: Job | None) -> schemas.LastCommand | None:
    if asked is None:
        return None
    return schemas.LastCommand(
        job_id=asked.id,
        act=asked.act,
        state=asked.state,
        reason=asked.reason,
        at=asked.created_at if asked.ended_at is None else asked.ended_at,
    )


def known_device(seen: disabling.Seen) -> schemas.KnownDevice:
    held, known = seen.device, seen.known
    return schemas.KnownDevice(
        id=held.id,
        name=held.name,
        platform=held.platform,
        ownership=held.ownership,
        state=held.state.value,
        last_seen_at=held.last_seen_at,
        os_name=held.os_name,
        os_version=held.os_version,
        maker=held.maker,
        model=held.model,
        serial=held.serial,
        join=_join(known),
        managed=known.managed,
        compliant=None if known.management is None else known.management.compliant,
        enabled=held.is_enabled,
        registered_at=known.registered_at,
        last_sign_in_at=None if known.sign_in is None else known.sign_in.signed_in_at,
        created_at=held.created_at,
    )


def _reach(known: Reach | None) -> schemas.Reach | None:
    return None if known is None else schemas.Reach(road=known.road.value, expected_by=known.expected_by)


def lock(asked: Job) -> schemas.Lock:
    """The three states in which a lock is told, wherever it is told."""
    ended = "done" if asked.state is JobState.SUCCEEDED else "failed"
    return schemas.Lock(
        state="pending" if asked.is_open else ended,  # type: ignore[arg-type] # one of the three
        reason=asked.reason,
        at=asked.created_at if asked.ended_at is None else asked.ended_at,
        job_id=asked.id,
    )


def job(
    held: Job,
    timeline: Iterable[Any] | None = None,
    *,
    reach: Reach | None = None,
    calls: Iterable[Call] | None = None,
    for_operator: bool = False,
) -> schemas.Job:
    """`timeline`: rows of `job_move`, where one job is shown. What the device said is the operator's alone."""
    return schemas.Job(
        id=held.id,
        kind=held.kind,
        state=held.state,
        reason=held.reason,
        device_id=held.device_id,
        created_at=held.created_at,
        expires_at=held.expires_at,
        ended_at=held.ended_at,
        superseded_by=held.superseded_by,
        reach=_reach(reach),
        available_actions=cast("list[Literal['cancel']]", held.available_actions()),
        timeline=UNSET if timeline is None else [move(row) for row in timeline],
        apps=UNSET if calls is None else [told_app(one) for one in calls],
        late_result=held.late_result if for_operator else UNSET,
        detail=held.detail if for_operator else UNSET,
    )


def told_app(call: Call) -> schemas.ToldApp:
    return schemas.ToldApp(
        app_id=call.app_id,
        name=call.app_name,
        state=call.state.value,
        reason=call.reason,
        attempts=call.attempts,
        ended_at=call.ended_at,
    )


def app(held: App, who: Who) -> schemas.App:
    if not role.holds(who.roles, role.RULERS):
        return schemas.App(id=held.id, name=held.name)
    return schemas.App(
        id=held.id,
        name=held.name,
        client_id=held.client_id,
        backchannel_logout_uri=held.backchannel_logout_uri,
        session_required=held.session_required,
        created_at=held.created_at,
    )


def move(row: Any) -> schemas.Move:
    return schemas.Move(
        at=row.at,
        from_=None if row.from_state is None else JobState(row.from_state),
        to=JobState(row.to_state),
        by=row.by,
        why=row.why,
        attempt=row.attempt,
    )


def my_terms(one: Mine, language: str) -> schemas.TermsToMe:
    stands = one.standing
    version = stands.version
    return schemas.TermsToMe(
        id=one.terms.id,
        name=one.terms.called(language),
        status=stands.status.value,
        due_at=stands.due_at,
        version_id=None if version is None else version.id,
        version=None if version is None else version.number,
        effective_at=None if version is None else version.effective_at,
        accept_offered=stands.is_asked,
        accepted_at=one.accepted_at,
        accepted_version=one.accepted_version,
        expires_at=one.expires_at,
        must_scroll=one.terms.must_scroll,
        per_device=one.terms.per_device,
    )


def terms_document(shown: Reading, language: str) -> schemas.TermsDocument:
    return schemas.TermsDocument(
        version_id=shown.version.id,
        terms_id=shown.terms.id,
        name=shown.terms.called(language),
        version=shown.version.number,
        effective_at=shown.version.effective_at,
        language=shown.text.language,
        languages=list(shown.languages),
        text=shown.text.text,
        hash=shown.text.sha256,
        must_scroll=shown.terms.must_scroll,
    )


def terms_answered(done: Answered) -> schemas.TermsAnswered:
    row = done.row
    return schemas.TermsAnswered(
        id=row.id,
        version_id=row.version_id,
        accepted=row.accepted,
        language=row.language,
        hash=row.sha256,
        at=row.at,
        expires_at=row.expires_at,
        next_version_id=done.next_version_id,
    )


def terms(kept: Kept) -> schemas.Terms:
    held, schedule = kept.terms, kept.terms.expiry.schedule
    return schemas.Terms(
        id=held.id,
        name=held.name,
        names=dict(held.names),
        default_language=held.default_language,
        must_scroll=held.must_scroll,
        per_device=held.per_device,
        schedule=None
        if schedule is None
        else schemas.TermsScheduled(starts_at=schedule.starts_at, every_months=schedule.every_months),
        expires_after_days=held.expiry.days,
        created_at=held.created_at,
        withdrawn_at=held.withdrawn_at,
        version_id=None if kept.version is None else kept.version.id,
        versions=kept.versions,
    )


def terms_version(version: Version, hashes: Mapping[str, str]) -> schemas.TermsVersion:
    return schemas.TermsVersion(
        id=version.id,
        number=version.number,
        major=version.major,
        effective_at=version.effective_at,
        published_at=version.published_at,
        hashes=dict(hashes),
    )


def terms_given(one: Given) -> schemas.TermsGiven:
    row = one.row
    return schemas.TermsGiven(
        id=row.id,
        account_id=row.account_id,
        sign_in_name=row.sign_in_name,
        display_name=row.display_name,
        mail=row.mail,
        version_id=row.version_id,
        version=row.version_number,
        accepted=row.accepted,
        language=row.language,
        hash=row.sha256,
        at=row.at,
        expires_at=row.expires_at,
        session_id=row.session_id,
        where=row.address,
        client=row.client,
    )


def notification(line: Notification) -> schemas.Notification:
    return schemas.Notification(
        id=line.id,
        seq=line.seq,
        key=line.key,
        params=dict(line.params),
        severity=line.severity.value,
        job_id=line.job_id,
        device_id=line.device_id,
        created_at=line.created_at,
        read_at=line.read_at,
        expires_at=line.expires_at,
        version=line.version,
    )


def unread(count: int) -> schemas.Unread:
    return schemas.Unread(unread=count)


def export(made: Export) -> schemas.Export:
    return schemas.Export(
        id=made.job_id,
        state="ready" if made.is_ready else "being_made",
        ready_at=made.ready_at,
        readable_until=made.gone_at,
        size=made.size if made.is_ready else None,
    )


def event(line: Line) -> schemas.Event:
    """A line of the record as the person whom it is about may see it: from where others acted is not theirs to know."""
    row = line.row
    others = row.actor_id is not None and row.actor_id != row.account_id
    return schemas.Event(
        id=row.id,
        at=row.at,
        action=row.action,
        outcome=row.outcome,
        reason=line.reason,
        actor=schemas.Party(kind=row.actor_kind, id=row.actor_id),
        subject=None if row.subject_kind is None else schemas.Party(kind=row.subject_kind, id=row.subject_id),
        where=None if others else line.address,
        client=None if others else line.client,
        facts=line.facts,
    )


def next_cursor(ids: list[UUID], limit: int) -> UUID | None:
    """A full page may be followed by another."""
    return ids[-1] if len(ids) == limit else None
