"""What a recording is called: known before anything is dialled, so that it is in the log whatever becomes of the file.

A name is a path below the PBX's folder of recordings, such as `summer-24/2026-03-07/<call id>.wav`: letters, digits, `_`
and `-` between the slashes. It reaches a dialplan application that takes a comma for the next argument, and a file
system; what a campaign's ref may hold beyond that is written as `_`, and the call's id keeps the name unique.
"""

DAY_MS = 86_400_000
PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
SUFFIX = ".wav"


def name_of(campaign: str, at: int, call: str) -> str:
    """The recording of a call that is dialled at `at` (epoch ms; its day is that of UTC)."""
    folder = "".join(one if one in PLAIN else "_" for one in campaign)
    return f"{folder}/{day(at)}/{call}{SUFFIX}"


def day(at: int) -> str:
    """The UTC day of `at`, as yyyy-mm-dd. Reckoned from 1 March, so that a leap day comes last in its year."""
    era, of_era = divmod(at // DAY_MS + 719_468, 146_097)  # eras of 400 years, all equally long
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return f"{era * 400 + year + (month <= 2):04}-{month:02}-{of_year - (153 * shifted + 2) // 5 + 1:02}"
