"""Google's end of the talk: the Android Management API, its token endpoint, its notices, and the phones behind them.

Written from the public description alone: what our own wire or passcode rule gets wrong must not be got wrong here too.
Not simulated: apps, lost mode, eSIMs, users of shared devices, web tokens, enterprise sign-up.
"""

from platforms.android.emulator.accounts import ServiceAccount, new_service_account
from platforms.android.emulator.emulator import Emulator, Failure
from platforms.android.emulator.notices import Road
from platforms.android.emulator.phone import Phone

__all__ = ["Emulator", "Failure", "Phone", "Road", "ServiceAccount", "new_service_account"]
