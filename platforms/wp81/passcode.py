"""What a passcode reset means on Windows Phone 8.1: the phone makes a temporary PIN and tells it once.

https://learn.microsoft.com/windows/client-management/mdm/remotelock-csp
"""

from typing import Final

from models.vocabulary import PasscodeKind
from platforms.base import PasscodeRule

RULE: Final = PasscodeRule(
    kind=PasscodeKind.TEMPORARY_NUMERIC,
    done_key="wp81.reset_passcode.succeeded",
    reveal_key="wp81.reveal.next",
)
