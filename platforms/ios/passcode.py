"""What a passcode reset means on iOS: the passcode is taken away, and the server can set no other.

https://developer.apple.com/documentation/devicemanagement/clear-passcode-command
"""

from typing import Final

from models.vocabulary import PasscodeKind
from platforms.base import PasscodeRule

RULE: Final = PasscodeRule(
    kind=PasscodeKind.REMOVED, done_key="ios.reset_passcode.succeeded", reveal_key="ios.reveal.nothing"
)
