"""FOCUS: charges in the form that cost management reads, in versions 1.2 and 1.4.

What FOCUS asks and where we depart from it stands in `DEVIATIONS`, which goes with every export.
"""

from ledger.exports.focus.deviations import DEVIATIONS, Deviation, deviations_of
from ledger.exports.focus.files import (
    FOCUS_FORMATS,
    Focused,
    FocusFormat,
    focus_files,
    write_focus,
)
from ledger.exports.focus.frames import focus_rows
from ledger.exports.focus.selfcheck import Finding, check
from ledger.exports.focus.table import (
    BILLING_PERIOD,
    COST_AND_USAGE,
    CREDITS,
    FOCUS_VERSIONS,
    INVOICE_DETAIL,
    Column,
    FocusVersion,
)

__all__ = [
    "BILLING_PERIOD",
    "COST_AND_USAGE",
    "CREDITS",
    "DEVIATIONS",
    "FOCUS_FORMATS",
    "FOCUS_VERSIONS",
    "INVOICE_DETAIL",
    "Column",
    "Deviation",
    "Finding",
    "FocusFormat",
    "FocusVersion",
    "Focused",
    "check",
    "deviations_of",
    "focus_files",
    "focus_rows",
    "write_focus",
]
