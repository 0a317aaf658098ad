"""`python -m models.migrations`: bring the database that DATABASE_URL names to the newest revision, once, and end."""

import os
import sys

from models.migrate import is_current, upgrade
from models.settings import DatabaseSettings, SettingsError, resolve_files


def main() -> int:
    try:
        settings = DatabaseSettings.from_env(resolve_files(os.environ))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not is_current(settings):
        upgrade(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
