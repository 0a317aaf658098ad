"""Our codes against those of another's program, `oathtool` of Debian: installed where it must not be missing."""

import base64
import os
import secrets
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from models import verification
from models.sealed import Keyring
from models.verification import Verification, VerificationKind
from models.vocabulary import EPOCH, Secret

OATHTOOL = shutil.which("oathtool")
OWNER = tuple(UUID(int=n) for n in range(1, 4))
MOMENTS = [EPOCH + timedelta(seconds=s) for s in (59, 1111111109, 1234567890, 2000000000)] + [
    datetime(2026, 3, 1, 12, 0, 29, tzinfo=UTC),
    datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC),
]


def test_a7_oathtool_is_there_where_it_must_be() -> None:
    if OATHTOOL is None:
        assert not os.environ.get("NOTHING_MISSING"), "the vectors of RFC 6238 alone do not do here: install oathtool"


@pytest.mark.skipif(OATHTOOL is None, reason="oathtool is not installed; RFC 6238's own vectors are tried anyhow")
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment:%Y-%m-%dT%H%M%S}")
def test_a7_the_codes_that_oathtool_makes_are_accepted_at_their_time(keys: Keyring, moment: datetime) -> None:
    assert OATHTOOL is not None
    secret = base64.b32encode(secrets.token_bytes(20)).decode()
    method = Verification(
        id=OWNER[2],
        organization_id=OWNER[0],
        account_id=OWNER[1],
        kind=VerificationKind.TOTP,
        label="phone",
        last_step=-1,
        is_default=True,
        created_at=moment,
        sealed=keys.seal(Secret(secret.encode()), purpose=verification.PURPOSE, owner=OWNER),
    )
    command = [OATHTOOL, "--totp", "--base32", f"--now={moment:%Y-%m-%d %H:%M:%S} UTC", "--window=3", "-"]
    told = subprocess.run(command, input=secret, capture_output=True, text=True, check=True)  # noqa: S603 - as above
    codes = told.stdout.split()

    step = int(moment.timestamp()) // verification.PERIOD
    accepted = [method.step_of(code, keys, moment) for code in codes]
    assert accepted == [step, step + 1, None, None], "this step and the next, and no further"
