"""The first schema: every table, and the triggers that keep the record insert-only."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from models.base import Folded, Id, Json, Moment
from models.event import insert_only

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:  # noqa: PLR0915 - a schema is one long list
    op.create_table(
        "duty",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until", Moment, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_duty")),
    )
    op.create_table(
        "heartbeat",
        sa.Column("process_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("process_id", name=op.f("pk_heartbeat")),
    )
    op.create_table(
        "organization",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("settings", Json, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organization")),
    )
    op.create_table(
        "throttle",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("since", Moment, nullable=False),
        sa.Column("shut_until", Moment, nullable=False),
        sa.Column("erase_at", Moment, nullable=False),
        sa.Column("shut_of", Id, nullable=True, comment="whose door this shut for good, until they are told of it"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_throttle")),
    )
    op.create_index(op.f("ix_throttle_erase_at"), "throttle", ["erase_at"], unique=False)
    op.create_index(
        "ix_throttle_shut_of",
        "throttle",
        ["shut_of"],
        unique=False,
        postgresql_where=sa.text("shut_of IS NOT NULL"),
        sqlite_where=sa.text("shut_of IS NOT NULL"),
    )
    op.create_table(
        "seen_message",
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("platform", "message_id", name=op.f("pk_seen_message")),
    )
    op.create_index(op.f("ix_seen_message_at"), "seen_message", ["at"], unique=False)
    op.create_table(
        "account",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("sign_in_name", Folded, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("looked_up_as", Folded, nullable=False, comment="how the display name begins, folded"),
        sa.Column("language", sa.Text, nullable=False, server_default="en"),
        sa.Column("password_hash", sa.Text, nullable=True),
        sa.Column("must_change_password", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("password_until", Moment, nullable=True, comment="of one that we made; empty: it has no end"),
        sa.Column("session_generation", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("notification_seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("is_operator", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("blocked_at", Moment, nullable=True),
        sa.Column("deleted_at", Moment, nullable=True, comment="whoever is deleted is blocked as well"),
        sa.Column("secured_at", Moment, nullable=True, comment="when its owner last said that it was somebody else"),
        sa.Column(
            "erased_at", Moment, nullable=True, comment="nobody any more: what is left is an id that others name"
        ),
        sa.Column(
            "person_key", sa.LargeBinary, nullable=True, comment="sealed; empty: nothing needed it yet, or erased"
        ),
        sa.Column("created_at", Moment, nullable=False),
        sa.CheckConstraint("deleted_at IS NULL OR blocked_at IS NOT NULL", name=op.f("ck_account_deleted")),
        sa.CheckConstraint(
            "erased_at IS NULL OR (deleted_at IS NOT NULL AND person_key IS NULL)", name=op.f("ck_account_erased")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_account_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("sign_in_name", name=op.f("uq_account_sign_in_name")),
        comment="organization_id is the home organization: it owns the account",
    )
    op.create_index("ix_account_sign_in_name", "account", ["organization_id", "sign_in_name"], unique=False)
    op.create_index("ix_account_looked_up_as", "account", ["organization_id", "looked_up_as", "id"], unique=False)
    op.create_index(
        "ix_account_deleted",
        "account",
        ["organization_id", "sign_in_name"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NOT NULL AND erased_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL AND erased_at IS NULL"),
    )
    op.create_index(
        "ix_account_to_erase",
        "account",
        ["deleted_at", "id"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NOT NULL AND erased_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL AND erased_at IS NULL"),
    )
    op.create_table(
        "event",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("action", sa.Text, nullable=False, comment="source:subject:verb"),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=True),
        sa.Column("actor_kind", sa.Text, nullable=False),
        sa.Column("actor_id", Id, nullable=True),
        sa.Column("account_id", Id, nullable=True, comment="whose record this is"),
        sa.Column("subject_kind", sa.Text, nullable=True),
        sa.Column("subject_id", Id, nullable=True),
        sa.Column("session_id", Id, nullable=True),
        sa.Column("request_id", sa.Text, nullable=True),
        sa.Column("origin", sa.LargeBinary, nullable=True, comment="from where; sealed under the key of whoever acted"),
        sa.Column(
            "private", sa.LargeBinary, nullable=True, comment="facts sealed under the key of whose record this is"
        ),
        sa.Column(
            "facts", Json, nullable=False, comment="by allow-list; never a secret, and nothing of a person but ids"
        ),
        sa.Column("schema_version", sa.SmallInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_event_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index(op.f("ix_event_account"), "event", ["organization_id", "account_id", "id"], unique=False)
    op.create_index(op.f("ix_event_at"), "event", ["at"], unique=False)
    op.create_table(
        "event_seal",
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("event_id", Id, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_event_seal_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("organization_id", "seq", name=op.f("pk_event_seal")),
        sa.UniqueConstraint("event_id", name=op.f("uq_event_seal_event_id")),
    )
    op.create_table(
        "device",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("ownership", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("os_version", sa.Text, nullable=True),
        sa.Column("os_name", sa.Text, nullable=True),
        sa.Column("maker", sa.Text, nullable=True),
        sa.Column("model", sa.Text, nullable=True),
        sa.Column("serial", sa.Text, nullable=True),
        sa.Column("last_seen_at", Moment, nullable=True),
        sa.Column(
            "seen_from", sa.Text, nullable=True, comment="the address it called from then, where it calls itself"
        ),
        sa.Column("created_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_device_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_device_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
    )
    op.create_index(op.f("ix_device_account"), "device", ["organization_id", "account_id", "id"], unique=False)
    op.create_table(
        "membership",
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("id", Id, nullable=False, comment="another one for whoever joins anew"),
        sa.Column("roles", Json, nullable=False),
        sa.Column("may_recover", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("guest", sa.Boolean, nullable=False, server_default=sa.false(), comment="at home elsewhere"),
        sa.Column("created_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_membership_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_membership_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("organization_id", "account_id", name=op.f("pk_membership")),
        sa.UniqueConstraint("id", name=op.f("uq_membership_id")),
    )
    op.create_index("ix_membership_account", "membership", ["account_id", "organization_id"], unique=False)
    op.create_index(
        "ix_membership_guest",
        "membership",
        ["organization_id", "account_id"],
        unique=False,
        sqlite_where=sa.text("guest"),
        postgresql_where=sa.text("guest"),
    )
    op.create_table(
        "invitation",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("address_hash", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False, comment="the address, masked"),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("invited_by", Id, nullable=False, comment="an account"),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("ended_at", Moment, nullable=True),
        sa.Column("outcome", sa.Text, nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_invitation_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitation_token_hash")),
    )
    op.create_index(op.f("ix_invitation_expires_at"), "invitation", ["expires_at"], unique=False)
    op.create_index("ix_invitation_organization", "invitation", ["organization_id", "id"], unique=False)
    op.create_index(
        "uq_invitation_open",
        "invitation",
        ["organization_id", "address_hash"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "former_membership",
        sa.Column("id", Id, nullable=False, comment="the membership's own"),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("roles", Json, nullable=False, comment="as they were, while it can be taken back"),
        sa.Column("may_recover", sa.Boolean, nullable=False),
        sa.Column("joined_at", Moment, nullable=False),
        sa.Column("left_at", Moment, nullable=False),
        sa.Column("by", sa.Text, nullable=False, comment="who ended it: the person, or an administrator there"),
        sa.Column("job_id", Id, nullable=False, comment="what ends the rest"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_former_membership_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_former_membership_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_former_membership")),
        sa.UniqueConstraint("job_id", name=op.f("uq_former_membership_job_id")),
    )
    op.create_index(op.f("ix_former_membership_left_at"), "former_membership", ["left_at"], unique=False)
    op.create_index(
        "ix_former_membership_account", "former_membership", ["account_id", "organization_id", "left_at"], unique=False
    )
    op.create_index("ix_former_membership_organization", "former_membership", ["organization_id", "id"], unique=False)
    op.create_table(
        "bygone",
        sa.Column("account_id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_bygone_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_bygone_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("account_id", "organization_id", name=op.f("pk_bygone")),
        comment="where somebody was a member long ago: by it what is theirs there is found when they ask or are erased",
    )
    op.create_index(
        "ix_membership_roles",
        "membership",
        ["organization_id"],
        unique=False,
        sqlite_where=sa.text("roles <> '[]'"),
        postgresql_where=sa.text("roles <> '[]'"),
    )
    op.create_table(
        "notification",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("subject_id", Id, nullable=False, comment="the job, or the window, that it tells of"),
        sa.Column("job_id", Id, nullable=True),
        sa.Column("device_id", Id, nullable=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("params", Json, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("read_at", Moment, nullable=True),
        sa.Column("expires_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notification_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_notification_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint("subject_id", name=op.f("uq_notification_subject_id")),
    )
    op.create_index(op.f("ix_notification_expires_at"), "notification", ["expires_at"], unique=False)
    op.create_index(
        op.f("ix_notification_unread"),
        "notification",
        ["organization_id", "account_id", "expires_at"],
        unique=False,
        sqlite_where=sa.text("read_at IS NULL"),
        postgresql_where=sa.text("read_at IS NULL"),
    )
    op.create_index(
        op.f("uq_notification_account_seq"), "notification", ["organization_id", "account_id", "seq"], unique=True
    )
    op.create_table(
        "session",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("strength", sa.SmallInteger, nullable=False),
        sa.Column("methods", Json, nullable=False, comment="the kinds of proof that opened it"),
        sa.Column("method_ids", Json, nullable=False, comment="the very methods, beside the password"),
        sa.Column("signed_in_at", Moment, nullable=False),
        sa.Column("proven_at", Moment, nullable=False, comment="when the last required factor was really done"),
        sa.Column("proven_strength", sa.SmallInteger, nullable=False, comment="what was shown then"),
        sa.Column("used_at", Moment, nullable=False),
        sa.Column("idle_at", Moment, nullable=False, comment="when it dies, unless it is used before"),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("ended_at", Moment, nullable=True),
        sa.Column("re_sign_in_id", Id, nullable=True, comment="the window that this sign-in was asked for"),
        sa.Column("address", sa.Text, nullable=True),
        sa.Column("client", sa.Text, nullable=True),
        sa.Column("device_id", Id, nullable=True, comment="the device of the account on which it was opened"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_session_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_session_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_session_token_hash")),
    )
    op.create_index(
        op.f("ix_session_account"), "session", ["organization_id", "account_id", "generation", "id"], unique=False
    )
    op.create_index(
        "ix_session_device",
        "session",
        ["device_id", "signed_in_at"],
        unique=False,
        postgresql_where=sa.text("device_id IS NOT NULL"),
        sqlite_where=sa.text("device_id IS NOT NULL"),
    )
    op.create_table(
        "password_history",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_password_history_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_password_history_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_password_history")),
        comment="the ones before the present one, as hashes; their ids sort by when they were replaced",
    )
    op.create_index(op.f("ix_password_history_account"), "password_history", ["account_id", "id"], unique=False)
    op.create_table(
        "browser",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column(
            "token_hash", sa.LargeBinary, nullable=False, comment="one token per browser, whoever signs in with it"
        ),
        sa.Column("address", sa.Text, nullable=True),
        sa.Column("client", sa.Text, nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("used_at", Moment, nullable=False, comment="the last sign-in"),
        sa.Column("remembered_until", Moment, nullable=True),
        sa.Column("proven_at", Moment, nullable=True, comment="when the second factor was done that it now skips"),
        sa.Column("proven_with", Id, nullable=True, comment="the method; with it goes what was remembered"),
        sa.Column("generation", sa.BigInteger, nullable=True, comment="of the account; with another it is forgotten"),
        sa.Column("forgotten_at", Moment, nullable=True, comment="known no more, but to say that there was one before"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_browser_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_browser_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_browser")),
    )
    op.create_index(op.f("ix_browser_account"), "browser", ["account_id"], unique=False)
    op.create_index(op.f("ix_browser_used_at"), "browser", ["used_at"], unique=False)
    op.create_index(op.f("uq_browser_token"), "browser", ["token_hash", "account_id"], unique=True)
    op.create_table(
        "sign_in",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=True),
        sa.Column("session_id", Id, nullable=True),
        sa.Column("address", sa.Text, nullable=True),
        sa.Column("client", sa.Text, nullable=True),
        sa.Column("disowned_at", Moment, nullable=True, comment="when its owner said that it was somebody else"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sign_in_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_sign_in_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in")),
    )
    op.create_index(op.f("ix_sign_in_account"), "sign_in", ["organization_id", "account_id", "id"], unique=False)
    op.create_index(op.f("ix_sign_in_session"), "sign_in", ["session_id"], unique=False)
    op.create_table(
        "verification",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=True, comment="sealed; erased with the method"),
        sa.Column("last_step", sa.BigInteger, nullable=False, comment="the newest time step that was accepted"),
        sa.Column(
            "tries", sa.SmallInteger, server_default="0", nullable=False, comment="wrong codes while it was pending"
        ),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column(
            "verifies_person",
            sa.Boolean,
            server_default=sa.false(),
            nullable=False,
            comment="a passkey that asked its device who holds it when it was added",
        ),
        sa.Column("begun_in", Id, nullable=True, comment="the session that may confirm it"),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("used_at", Moment, nullable=True),
        sa.Column("expires_at", Moment, nullable=True, comment="of what is pending, and of what is temporary"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_verification_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_verification_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verification")),
    )
    op.create_index(op.f("ix_verification_account"), "verification", ["account_id"], unique=False)
    op.create_index(
        op.f("ix_verification_pending"),
        "verification",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        op.f("uq_verification_default"),
        "verification",
        ["account_id"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )
    op.create_index(
        op.f("uq_verification_label"),
        "verification",
        ["account_id", "label"],
        unique=True,
        sqlite_where=sa.text("state IN ('active', 'suspended') AND kind NOT IN ('recovery_codes', 'access_pass')"),
        postgresql_where=sa.text("state IN ('active', 'suspended') AND kind NOT IN ('recovery_codes', 'access_pass')"),
    )
    op.create_table(
        "passkey",
        sa.Column("verification_id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("credential_id", sa.LargeBinary, nullable=False),
        sa.Column("public_key", sa.LargeBinary, nullable=False, comment="COSE"),
        sa.Column("sign_count", sa.BigInteger, nullable=False, comment="the newest that it told; 0: it keeps none"),
        sa.Column("aaguid", Id, nullable=False, comment="what it says its model is; nobody has vouched for that"),
        sa.Column("transports", Json, nullable=False),
        sa.Column("backup_eligible", sa.Boolean, nullable=False),
        sa.Column("backed_up", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_passkey_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_passkey_organization_id_organization")
        ),
        sa.ForeignKeyConstraint(
            ["verification_id"], ["verification.id"], name=op.f("fk_passkey_verification_id_verification")
        ),
        sa.PrimaryKeyConstraint("verification_id", name=op.f("pk_passkey")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkey_credential_id")),
    )
    op.create_index(op.f("ix_passkey_account"), "passkey", ["account_id"], unique=False)
    op.create_table(
        "passkey_handle",
        sa.Column("account_id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("handle", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_passkey_handle_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_passkey_handle_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_passkey_handle")),
        sa.UniqueConstraint("handle", name=op.f("uq_passkey_handle_handle")),
    )
    op.create_table(
        "passkey_challenge",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=True, comment="null: nobody's yet"),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("challenge_hash", sa.LargeBinary, nullable=False),
        sa.Column("session_id", Id, nullable=True, comment="whose it is, unless it is a browser's"),
        sa.Column("verification_id", Id, nullable=True, comment="what it may confirm"),
        sa.Column("token_hash", sa.LargeBinary, nullable=True, comment="of the browser that was given it"),
        sa.Column("expires_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_passkey_challenge_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkey_challenge")),
        sa.UniqueConstraint("challenge_hash", name=op.f("uq_passkey_challenge_challenge_hash")),
    )
    op.create_index(op.f("ix_passkey_challenge_expires_at"), "passkey_challenge", ["expires_at"], unique=False)
    op.create_index(op.f("ix_passkey_challenge_session"), "passkey_challenge", ["session_id", "purpose"], unique=False)
    op.create_table(
        "recovery_code",
        sa.Column("verification_id", Id, nullable=False),
        sa.Column("number", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("used_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_recovery_code_organization_id_organization")
        ),
        sa.ForeignKeyConstraint(
            ["verification_id"], ["verification.id"], name=op.f("fk_recovery_code_verification_id_verification")
        ),
        sa.PrimaryKeyConstraint("verification_id", "number", name=op.f("pk_recovery_code")),
    )
    op.create_table(
        "access_pass",
        sa.Column("verification_id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("one_use", sa.Boolean, nullable=False),
        sa.Column("issued_by", Id, nullable=False),
        sa.ForeignKeyConstraint(["issued_by"], ["account.id"], name=op.f("fk_access_pass_issued_by_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_access_pass_organization_id_organization")
        ),
        sa.ForeignKeyConstraint(
            ["verification_id"], ["verification.id"], name=op.f("fk_access_pass_verification_id_verification")
        ),
        sa.PrimaryKeyConstraint("verification_id", name=op.f("pk_access_pass")),
    )
    op.create_table(
        "enrollment",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("device_id", Id, nullable=False),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=True, comment="how the device is named on its platform"),
        sa.Column("certificate_hash", sa.LargeBinary, nullable=True),
        sa.Column("memory", sa.LargeBinary, nullable=True, comment="sealed; the platform's alone"),
        sa.Column("traits", Json, nullable=False),
        sa.Column("link_hash", sa.LargeBinary, nullable=True),
        sa.Column("link_expires_at", Moment, nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("enrolled_at", Moment, nullable=True),
        sa.Column("left_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_enrollment_device_id_device")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_enrollment_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrollment")),
        sa.UniqueConstraint("certificate_hash", name=op.f("uq_enrollment_certificate_hash")),
        sa.UniqueConstraint("link_hash", name=op.f("uq_enrollment_link_hash")),
    )
    op.create_index(op.f("ix_enrollment_device_id"), "enrollment", ["device_id"], unique=False)
    op.create_index(
        op.f("ix_enrollment_unfinished"),
        "enrollment",
        ["created_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('invited', 'pending')"),
        postgresql_where=sa.text("state IN ('invited', 'pending')"),
    )
    op.create_index(
        op.f("uq_enrollment_address"),
        "enrollment",
        ["platform", "address"],
        unique=True,
        sqlite_where=sa.text("left_at IS NULL"),
        postgresql_where=sa.text("left_at IS NULL"),
    )
    op.create_table(
        "job",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False, comment="whose it is, and who is told"),
        sa.Column("device_id", Id, nullable=True, comment="none: the subject is the account"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=True),
        sa.Column("moves", sa.Integer, nullable=False, server_default="0"),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column(
            "crashes", sa.Integer, nullable=False, server_default="0", comment="runs in a row whose lease ran out"
        ),
        sa.Column("wakes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("offers", sa.Integer, nullable=False, server_default="0", comment="hand-overs to the device"),
        sa.Column("rings", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lease_until", Moment, nullable=True),
        sa.Column("available_at", Moment, nullable=False),
        sa.Column("due_at", Moment, nullable=True),
        sa.Column("command_ref", sa.Text, nullable=True),
        sa.Column("plan", sa.LargeBinary, nullable=True, comment="sealed; what a resend must not change"),
        sa.Column("receipt", sa.Text, nullable=True, comment="a courier's name for the order"),
        sa.Column("sent_at", Moment, nullable=True, comment="a courier may hold the order since then"),
        sa.Column("looks", sa.Integer, nullable=False, server_default="0", comment="in a row, and it was not there"),
        sa.Column("idempotency_key", sa.Text, nullable=True),
        sa.Column("request_hash", sa.LargeBinary, nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=True, comment="when it ends by itself, as things stand"),
        sa.Column("ended_at", Moment, nullable=True),
        sa.Column("superseded_by", Id, nullable=True),
        sa.Column("detail", Json, nullable=True, comment="what the device said, for the operator"),
        sa.Column("late_result", Json, nullable=True, comment="what the device said after the ending"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_job_account_id_account")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_job_device_id_device")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_job_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index(op.f("ix_job_account"), "job", ["organization_id", "account_id", "id"], unique=False)
    op.create_index(op.f("ix_job_device"), "job", ["organization_id", "device_id", "id"], unique=False)
    op.create_index(
        "ix_job_task",
        "job",
        ["organization_id", "kind"],
        unique=False,
        postgresql_where=sa.text("device_id IS NULL AND state IN ('queued', 'waiting', 'delivered')"),
        sqlite_where=sa.text("device_id IS NULL AND state IN ('queued', 'waiting', 'delivered')"),
    )
    op.create_index(
        op.f("ix_job_due"),
        "job",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(op.f("ix_job_state"), "job", ["state", "id"], unique=False)
    op.create_index(op.f("uq_job_idempotency"), "job", ["account_id", "idempotency_key"], unique=True)
    op.create_index(
        op.f("uq_job_receipt"),
        "job",
        ["device_id", "receipt"],
        unique=True,
        sqlite_where=sa.text("receipt IS NOT NULL"),
        postgresql_where=sa.text("receipt IS NOT NULL"),
    )
    op.create_index(
        op.f("uq_job_open"),
        "job",
        ["device_id", "kind"],
        unique=True,
        sqlite_where=sa.text("state IN ('queued', 'waiting', 'delivered')"),
        postgresql_where=sa.text("state IN ('queued', 'waiting', 'delivered')"),
    )
    op.create_table(
        "recovery",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=True),
        sa.Column("account_id", Id, nullable=True, comment="empty: nobody has that name"),
        sa.Column("who", sa.Text, nullable=False, comment="the counter of the typed name"),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("decoy", sa.Text, nullable=True, comment="why nothing will be right; empty: something can be"),
        sa.Column("why", sa.Text, nullable=True, comment="what ended it, where that was not the person"),
        sa.Column(
            "shown",
            sa.Text,
            nullable=True,
            comment="the state that is told where the true one would tell of the account",
        ),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=True, comment="of the account when it began"),
        sa.Column("passed", Json, nullable=False, comment="kind and method of each gate that was passed"),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("proven_at", Moment, nullable=True),
        sa.Column("ended_at", Moment, nullable=True),
        sa.Column("due_at", Moment, nullable=True, comment="when the sweep expires it; empty once it has ended"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_recovery_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_recovery_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_recovery_token_hash")),
        comment="organization_id is empty where nobody has the typed name",
    )
    op.create_index(
        op.f("ix_recovery_due"),
        "recovery",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "reset_link",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("issued_by", Id, nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("ended_at", Moment, nullable=True, comment="when it was used, or a newer one took its place"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_reset_link_account_id_account")),
        sa.ForeignKeyConstraint(["issued_by"], ["account.id"], name=op.f("fk_reset_link_issued_by_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_reset_link_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reset_link")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_reset_link_token_hash")),
    )
    op.create_index(op.f("ix_reset_link_account_id"), "reset_link", ["account_id"], unique=False)
    op.create_index(op.f("ix_reset_link_expires_at"), "reset_link", ["expires_at"], unique=False)
    op.create_table(
        "re_sign_in",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("device_id", Id, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=True, comment="what ended it, where that was not the person"),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("session_id", Id, nullable=True, comment="the new session, the only one that may confirm"),
        sa.Column("job_id", Id, nullable=True),
        sa.Column("opened_at", Moment, nullable=False),
        sa.Column("proven_at", Moment, nullable=True),
        sa.Column("ended_at", Moment, nullable=True),
        sa.Column("due_at", Moment, nullable=True, comment="when the sweep lapses it; empty once it has ended"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_re_sign_in_account_id_account")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_re_sign_in_device_id_device")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_re_sign_in_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_re_sign_in")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_re_sign_in_token_hash")),
    )
    op.create_index(
        op.f("ix_re_sign_in_account"), "re_sign_in", ["organization_id", "account_id", "opened_at"], unique=False
    )
    op.create_index(
        op.f("ix_re_sign_in_due"),
        "re_sign_in",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(op.f("uq_re_sign_in_session"), "re_sign_in", ["session_id"], unique=True)
    op.create_table(
        "job_move",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("from_state", sa.Text, nullable=True),
        sa.Column("to_state", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_move_job_id_job")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_job_move_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_job_move")),
    )
    op.create_table(
        "passcode",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("device_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False, comment="who asked, and alone may read"),
        sa.Column("job_id", Id, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("first_read_at", Moment, nullable=True),
        sa.Column("readable_until", Moment, nullable=False),
        sa.Column("destroyed_at", Moment, nullable=True),
        sa.Column("why", sa.Text, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_passcode_account_id_account")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_passcode_device_id_device")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_passcode_job_id_job")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_passcode_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passcode")),
        sa.UniqueConstraint("job_id", name=op.f("uq_passcode_job_id")),
    )
    op.create_index(
        op.f("ix_passcode_device"), "passcode", ["organization_id", "device_id", "created_at"], unique=False
    )
    op.create_index(
        op.f("ix_passcode_due"),
        "passcode",
        ["readable_until"],
        unique=False,
        sqlite_where=sa.text("destroyed_at IS NULL"),
        postgresql_where=sa.text("destroyed_at IS NULL"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=True, comment="whom it is about"),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False, comment="names its text"),
        sa.Column("params", Json, nullable=False, comment="for the text; never a secret"),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("link", sa.Text, nullable=True, comment="the page its link opens; the secret is that link's token"),
        sa.Column(
            "content", sa.LargeBinary, nullable=True, comment="sealed: where to, and the secret; erased at the end"
        ),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=True),
        sa.Column("attempt", sa.Integer, server_default="0", nullable=False),
        sa.Column(
            "unsure", sa.Integer, server_default="0", nullable=False, comment="attempts that nobody saw the end of"
        ),
        sa.Column("rings", sa.Integer, server_default="0", nullable=False),
        sa.Column("lease_until", Moment, nullable=True),
        sa.Column("available_at", Moment, nullable=False),
        sa.Column("due_at", Moment, nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("ended_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_delivery_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_delivery_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
    )
    op.create_index(op.f("ix_delivery_account"), "delivery", ["organization_id", "account_id", "id"], unique=False)
    op.create_index(
        op.f("ix_delivery_due"),
        "delivery",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "delivery_attempt",
        sa.Column("delivery_id", Id, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=True, comment="a word of ours; never the other side's text"),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["delivery.id"], name=op.f("fk_delivery_attempt_delivery_id_delivery")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_delivery_attempt_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("delivery_id", "attempt", name=op.f("pk_delivery_attempt")),
    )
    op.create_table(
        "not_me",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("notice", sa.Text, nullable=False, comment="the key of what was told"),
        sa.Column("method_id", Id, nullable=True, comment="the method that came, or was used, where that was told"),
        sa.Column("gone_id", Id, nullable=True, comment="the address that was taken away, where that was told"),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("used_at", Moment, nullable=True),
        sa.Column(
            "answered_at",
            Moment,
            nullable=True,
            comment="when its owner first said, after it, that it was somebody else",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_not_me_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_not_me_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_not_me")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_not_me_token_hash")),
    )
    op.create_index(op.f("ix_not_me_expires_at"), "not_me", ["expires_at"], unique=False)
    op.create_index(
        "ix_not_me_open",
        "not_me",
        ["account_id"],
        unique=False,
        postgresql_where=sa.text("answered_at IS NULL"),
        sqlite_where=sa.text("answered_at IS NULL"),
    )
    op.create_table(
        "contact",
        sa.Column("id", Id, nullable=False, comment="its method's"),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("address", sa.LargeBinary, nullable=False, comment="sealed"),
        sa.Column("address_hash", sa.Text, nullable=False, comment="keyed"),
        sa.Column("replaces", Id, nullable=True, comment="the method whose place it takes when it is confirmed"),
        sa.Column("confirmed_at", Moment, nullable=True),
        sa.Column("replaced_by", Id, nullable=True, comment="the method that took its place"),
        sa.Column("kept_until", Moment, nullable=True, comment="it went, and so long it can be put back"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_contact_account_id_account")),
        sa.ForeignKeyConstraint(
            ["id"], ["verification.id"], name=op.f("fk_contact_id_verification"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_contact_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
    )
    op.create_index(
        "ix_contact_kept",
        "contact",
        ["kept_until"],
        unique=False,
        postgresql_where=sa.text("kept_until IS NOT NULL"),
        sqlite_where=sa.text("kept_until IS NOT NULL"),
    )
    op.create_index(op.f("ix_contact_account_id"), "contact", ["account_id"], unique=False)
    op.create_index(op.f("ix_contact_address_hash"), "contact", ["address_hash"], unique=False)
    op.create_table(
        "sent_code",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=True, comment="none of a decoy"),
        sa.Column("account_id", Id, nullable=True, comment="none of a decoy"),
        sa.Column("subject_id", Id, nullable=False, comment="a method, or what else the code speaks for"),
        sa.Column("method_id", Id, nullable=True, comment="whose address it went to, where the subject is no method"),
        sa.Column("flow_id", Id, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=True, comment="keyed, of the newest code; none fits a decoy"),
        sa.Column("sends", sa.SmallInteger, nullable=False),
        sa.Column("failures", sa.SmallInteger, nullable=False),
        sa.Column("begun_at", Moment, nullable=False),
        sa.Column("sent_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("used_at", Moment, nullable=True),
        sa.Column("erase_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sent_code_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_sent_code_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sent_code")),
        sa.UniqueConstraint("subject_id", "flow_id", "purpose", name=op.f("uq_sent_code_subject_id_flow_id_purpose")),
    )
    op.create_index(op.f("ix_sent_code_erase_at"), "sent_code", ["erase_at"], unique=False)
    op.create_table(
        "profile",
        sa.Column("account_id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("values", Json, nullable=False, comment="by field; an empty one is absent"),
        sa.Column("masters", Json, nullable=False, comment="by section: master, last_synced_at"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_profile_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_profile_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_profile")),
        comment="What the account's own row does not hold; made with the first edit.",
    )
    op.create_table(
        "photo",
        sa.Column("account_id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False, comment="JPEG"),
        sa.Column("changed_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_photo_account_id_account")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_photo_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_photo")),
    )
    op.create_table(
        "approval",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False, comment="who asked"),
        sa.Column("device_id", Id, nullable=False),
        sa.Column("enrollment_id", Id, nullable=True, comment="the device's life for which it was asked"),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=True, comment="what made it void"),
        sa.Column("decided_by", Id, nullable=True, comment="an account"),
        sa.Column("reason", sa.Text, nullable=True, comment="in that person's words"),
        sa.Column("job_id", Id, nullable=True),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("request_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("lapses_at", Moment, nullable=False),
        sa.Column("ended_at", Moment, nullable=True),
        sa.Column("told_at", Moment, nullable=True, comment="when those who can approve were told"),
        sa.Column("due_at", Moment, nullable=True, comment="when the sweep must look at it; empty once it has ended"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_approval_account_id_account")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_approval_device_id_device")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_approval_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
    )
    op.create_index("ix_approval_account", "approval", ["organization_id", "account_id", "id"], unique=False)
    op.create_index("ix_approval_device", "approval", ["device_id", "created_at"], unique=False)
    op.create_index(
        "ix_approval_due",
        "approval",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_approval_organization", "approval", ["organization_id", "id"], unique=False)
    op.create_index(
        "ix_approval_waiting",
        "approval",
        ["organization_id", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'submitted'"),
        postgresql_where=sa.text("state = 'submitted'"),
    )
    op.create_index("uq_approval_idempotency", "approval", ["account_id", "idempotency_key"], unique=True)
    op.create_index(
        "uq_approval_submitted",
        "approval",
        ["device_id", "act"],
        unique=True,
        sqlite_where=sa.text("state = 'submitted'"),
        postgresql_where=sa.text("state = 'submitted'"),
    )
    op.create_table(
        "organization_picture",
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False, comment="WebP"),
        sa.Column("changed_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organization.id"],
            name=op.f("fk_organization_picture_organization_id_organization"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "kind", name=op.f("pk_organization_picture")),
    )
    op.create_table(
        "app",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False, comment="whom its tokens are for"),
        sa.Column("backchannel_logout_uri", sa.Text, nullable=True, comment="none: it cannot be told"),
        sa.Column("session_required", sa.Boolean, nullable=False, comment="it wants each sign-in named"),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_app_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app")),
    )
    op.create_index(op.f("uq_app_client_id"), "app", ["organization_id", "client_id"], unique=True)
    op.create_index(op.f("ix_app_organization"), "app", ["organization_id", "id"], unique=False)
    op.create_table(
        "app_use",
        sa.Column("id", Id, nullable=False, comment="the sid that the app knows"),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("app_id", Id, nullable=False),
        sa.Column("session_id", Id, nullable=False, comment="the sign-in here that it was launched from"),
        sa.Column("generation", sa.BigInteger, nullable=False, comment="of that sign-in"),
        sa.Column("first_used_at", Moment, nullable=False),
        sa.Column("last_used_at", Moment, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_app_use_account_id_account")),
        sa.ForeignKeyConstraint(["app_id"], ["app.id"], name=op.f("fk_app_use_app_id_app")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_app_use_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_use")),
    )
    op.create_index(op.f("uq_app_use_session"), "app_use", ["session_id", "app_id"], unique=True)
    op.create_index(
        op.f("ix_app_use_account"), "app_use", ["organization_id", "account_id", "generation"], unique=False
    )
    op.create_index(op.f("ix_app_use_app"), "app_use", ["app_id"], unique=False)
    op.create_index(op.f("ix_app_use_last_used_at"), "app_use", ["last_used_at"], unique=False)
    op.create_table(
        "sign_out_call",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("job_id", Id, nullable=False),
        sa.Column("app_id", Id, nullable=False),
        sa.Column("app_name", sa.Text, nullable=False, comment="as it was called then"),
        sa.Column("sid", Id, nullable=True, comment="none: all of the person's sign-ins there"),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=True, comment="a word of ours; never the other side's text"),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        sa.Column("available_at", Moment, nullable=False),
        sa.Column("ended_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_sign_out_call_job_id_job"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_sign_out_call_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_out_call")),
    )
    op.create_index(op.f("ix_sign_out_call_job"), "sign_out_call", ["job_id", "state", "available_at"], unique=False)
    op.create_table(
        "sheet",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False, comment="who asked"),
        sa.Column("asked_from", Json, nullable=False, comment="session, request, address and client, for the record"),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.Column("invite", sa.Boolean, nullable=False),
        sa.Column("delimiter", sa.Text, nullable=False),
        sa.Column("columns", Json, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False, comment="bytes, or accounts of a file that is made"),
        sa.Column("position", sa.BigInteger, nullable=False, comment="bytes, or accounts"),
        sa.Column("line", sa.BigInteger, nullable=False),
        sa.Column("last_name", sa.Text, nullable=True, comment="of the last account that was written"),
        sa.Column("parts", sa.Integer, nullable=False, comment="of a file that is made"),
        sa.Column("counts", Json, nullable=False, comment="rows by what became of them"),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("erase_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sheet_account_id_account")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_sheet_job_id_job"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_sheet_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_sheet")),
    )
    op.create_index(
        "ix_sheet_erase",
        "sheet",
        ["erase_at"],
        unique=False,
        postgresql_where=sa.text("erase_at IS NOT NULL"),
        sqlite_where=sa.text("erase_at IS NOT NULL"),
    )
    op.create_table(
        "sheet_part",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False, comment="under the key of whoever asked"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["sheet.job_id"], name=op.f("fk_sheet_part_job_id_sheet"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_sheet_part")),
        comment="the file itself; erased when it was read, or can be fetched no more",
    )
    op.create_table(
        "sheet_row",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("line", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=True, comment="the sign-in name, where the row has one"),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=True),
        sa.Column("errors", Json, nullable=False, comment="fields and rules; never what was typed"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["sheet.job_id"], name=op.f("fk_sheet_row_job_id_sheet"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_sheet_row")),
    )
    op.create_index("ix_sheet_row_name", "sheet_row", ["name", "job_id"], unique=False)
    op.create_index("ix_sheet_row_outcome", "sheet_row", ["job_id", "outcome", "number"], unique=False)
    op.create_table(
        "signing_key",
        sa.Column("id", Id, nullable=False, comment="the kid"),
        sa.Column("serial", sa.Integer, nullable=False, comment="two that are made at once are one"),
        sa.Column("public", Json, nullable=False, comment="a JWK"),
        sa.Column("private", sa.LargeBinary, nullable=False, comment="sealed"),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("signs_from", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_key")),
        sa.UniqueConstraint("serial", name=op.f("uq_signing_key_serial")),
        comment="of the installation, not of an organization",
    )
    op.create_table(
        "terms",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("name", sa.Text, nullable=False, comment="for administrators"),
        sa.Column("names", Json, nullable=False, comment="for people, by language"),
        sa.Column("default_language", sa.Text, nullable=False),
        sa.Column("must_scroll", sa.Boolean, nullable=False),
        sa.Column("per_device", sa.Boolean, nullable=False),
        sa.Column("expires_from", Moment, nullable=True, comment="with expires_every_months: all end together"),
        sa.Column("expires_every_months", sa.SmallInteger, nullable=True),
        sa.Column("expires_after_days", sa.Integer, nullable=True, comment="each after its own acceptance"),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("withdrawn_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_terms_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terms")),
    )
    op.create_index(op.f("ix_terms_organization"), "terms", ["organization_id", "id"], unique=False)
    op.create_table(
        "terms_version",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("terms_id", Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("major", sa.Boolean, nullable=False),
        sa.Column("effective_at", Moment, nullable=False),
        sa.Column("published_at", Moment, nullable=False),
        sa.Column("published_by", Id, nullable=False, comment="an account"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_terms_version_organization_id_organization")
        ),
        sa.ForeignKeyConstraint(["terms_id"], ["terms.id"], name=op.f("fk_terms_version_terms_id_terms")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terms_version")),
    )
    op.create_index(op.f("uq_terms_version_number"), "terms_version", ["terms_id", "number"], unique=True)
    op.create_table(
        "terms_document",
        sa.Column("version_id", Id, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False, comment="of the text in UTF-8"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_terms_document_organization_id_organization")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["terms_version.id"], name=op.f("fk_terms_document_version_id_terms_version")
        ),
        sa.PrimaryKeyConstraint("version_id", "language", name=op.f("pk_terms_document")),
    )
    op.create_table(
        "terms_acceptance",
        sa.Column("id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("terms_id", Id, nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False, comment="no foreign key: it outlives the account"),
        sa.Column("number", sa.Integer, nullable=False, comment="of the account's answers to these terms"),
        sa.Column("accepted", sa.Boolean, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False, comment="of the text that was shown"),
        sa.Column("session_id", Id, nullable=False),
        sa.Column("browser_id", Id, nullable=True),
        sa.Column("at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=True, comment="as it was told then; what holds is worked out"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_terms_acceptance_organization_id_organization")
        ),
        sa.ForeignKeyConstraint(["terms_id"], ["terms.id"], name=op.f("fk_terms_acceptance_terms_id_terms")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["terms_version.id"], name=op.f("fk_terms_acceptance_version_id_terms_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terms_acceptance")),
    )
    op.create_index(
        op.f("uq_terms_acceptance_number"), "terms_acceptance", ["account_id", "terms_id", "number"], unique=True
    )
    op.create_index(op.f("ix_terms_acceptance_terms"), "terms_acceptance", ["terms_id", "id"], unique=False)
    op.create_table(
        "terms_signer",
        sa.Column("acceptance_id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("sign_in_name", sa.Text, nullable=True),
        sa.Column("display_name", sa.Text, nullable=True),
        sa.Column("mail", sa.Text, nullable=True),
        sa.Column("address", sa.Text, nullable=True),
        sa.Column("client", sa.Text, nullable=True),
        sa.Column("erased_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["acceptance_id"], ["terms_acceptance.id"], name=op.f("fk_terms_signer_acceptance_id_terms_acceptance")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_terms_signer_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("acceptance_id", name=op.f("pk_terms_signer")),
        comment="who somebody was when they answered",
    )
    op.create_index(op.f("ix_terms_signer_account_id"), "terms_signer", ["account_id"], unique=False)
    op.create_table(
        "terms_notice",
        sa.Column("version_id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("told_up_to", Id, nullable=True, comment="the last account that was told"),
        sa.Column("done_at", Moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_terms_notice_organization_id_organization")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["terms_version.id"], name=op.f("fk_terms_notice_version_id_terms_version")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_terms_notice")),
    )
    op.create_index(
        op.f("ix_terms_notice_due"),
        "terms_notice",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("done_at IS NULL"),
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_table(
        "export",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("section", sa.SmallInteger, nullable=False, comment="the one that is being told"),
        sa.Column("after", Id, nullable=True, comment="the last row of it that was told"),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False, comment="in bytes, so far"),
        sa.Column("ready_at", Moment, nullable=True),
        sa.Column("gone_at", Moment, nullable=True, comment="from then on it cannot be read any more"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_export_job_id_job"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_export_organization_id_organization")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_export_account_id_account")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_export")),
    )
    op.create_index(op.f("ix_export_account_id"), "export", ["account_id"], unique=False)
    op.create_index(op.f("ix_export_gone_at"), "export", ["gone_at"], unique=False)
    op.create_table(
        "export_part",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("organization_id", Id, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False, comment="under the key of its person"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["export.job_id"], name=op.f("fk_export_part_job_id_export"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organization.id"], name=op.f("fk_export_part_organization_id_organization")
        ),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_export_part")),
    )
    for table in ("event", "event_seal", "terms_version", "terms_document", "terms_acceptance"):
        for statement in insert_only(table, op.get_context().dialect.name):
            op.execute(statement)
