"""What a passcode reset means on Windows 10 Mobile: the phone makes a temporary PIN and tells it once.

https://learn.microsoft.com/windows/client-management/mdm/remotelock-csp
"""

from typing import Final

from models.vocabulary import PasscodeKind
from platforms.base import PasscodeRule

RULE: Final = PasscodeRule(
    kind=PasscodeKind.TEMPORARY_ALPHANUMERIC,
    done_key="windows10mobile.reset_passcode.succeeded",
    reveal_key="windows10mobile.reveal.next",
)
