"""What a file, a row and a cell may hold, and how much is done at once."""

import msgspec

MAX_COLUMNS = 100
MAX_CELL_CHARS = 32_767
"""What a spreadsheet's cell holds at most; a CSV file's holds no more here."""
MAX_LINE_CHARS = 1_000_000
MAX_NUMBERS = 10
MAX_FIELDS = 50
"""Further columns that are kept for a contact."""
MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 1_000
MAX_NAME_CHARS = 200
MAX_TAGS = 20
"""Tags of one contact."""

MAX_ZIP_ENTRIES = 1_000
MAX_ZIP_RATIO = 200
"""Unpacked against packed; a spreadsheet has some tens."""
FREE_OF_RATIO_BYTES = 8 * 1024 * 1024
"""Unpacked, nothing that is smaller than this is a bomb."""

CHUNK_ROWS = 1_000
"""Rows between two notes of how far storing is."""
COMMAND_ROWS = 125
"""Contacts of one command: the engine's loop is busy for some milliseconds with each."""
NEW_ROWS = 250
"""The same where all of them are new: those cost less."""
LOOKED_AT_ROWS = 250
"""Refs that are looked up in one piece: that takes the loop two or three milliseconds."""
SETTLED_CHUNKS = 50
"""After so many the collector of cycles is told that what was stored stays."""
COMMANDS_AT_ONCE = 2
"""While one becomes durable the next is decided on."""
SEALED_FROM_ROWS = 10_000
"""From here on an import's people are sealed ahead: below it the process that does so takes longer to start."""
SEALED_AT_ONCE = 250
"""People who are sealed ahead: the loop is busy for about a millisecond with each list of them."""
PAUSE_SHARE = 0.05
"""How long nothing is stored after a command, against the time that the command took."""
RETRY_AFTER_S = 0.5
"""When what could not be stored (a full mailbox, an owner that changes) is tried again."""
SWEEP_EVERY_S = 3_600
SHOWN_ERRORS = 1_000
SHOWN_ROWS = 20
SHOWN_CHARS = 80
"""Of a value that is quoted in an error."""
MAX_LISTED_ERRORS = 2_000_000
"""In the list of all errors; those beyond it are counted only."""
PROGRESS_EVERY_ROWS = 5_000
LONG_FILE_BYTES = 2 * 1024 * 1024
"""From here on a file is checked by several processes: below it starting them takes longer."""
MAX_WORKERS = 4
"""Processes that check one file, where there are as many cores."""


class ImportLimits(msgspec.Struct, frozen=True, kw_only=True):
    max_file_bytes: int = 512 * 1024 * 1024
    max_unpacked_bytes: int = 2 * 1024 * 1024 * 1024
    """Of a workbook, all its parts together."""
    max_rows: int = 2_000_000
    max_check_s: int = 1_800
    """How long checking one file may take."""
    max_check_memory_bytes: int = 3 * 1024 * 1024 * 1024
    """Address space of the process that checks."""
    max_checks: int = 1
    """Files that are checked at the same time, each by a process of its own; the others wait."""
    max_uploads: int = 4
    max_upload_s: int = 900
    max_kept: int = 200
    """Imports that are remembered; the next upload is refused."""
    keep_s: int = 7 * 86_400
    """How long an import is remembered after the last thing that happened to it, with its file while it is not confirmed."""
