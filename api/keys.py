"""Typed keys of what hangs on the application and on a request; nothing else."""

from typing import Final
from uuid import UUID

from aiohttp import web

from api.call import Needs

NEEDS: Final = web.AppKey("needs", Needs)

REQUEST_ID: Final = web.RequestKey("request_id", str)
ACCOUNT_ID: Final = web.RequestKey("account_id", UUID)
"""Who turned out to ask; for the log line."""
PROBLEM_CODE: Final = web.RequestKey("problem_code", str)
"""Why it was refused; for the log line."""
LANGUAGE: Final = web.RequestKey("language", str)
"""The account's, once it is known."""
