"""`kling-ledger verify`."""

from __future__ import annotations

from ledger.cli.books import many, open_ledger
from ledger.cli.options import DEFAULT_DB, BookOption, DbOption, Format, FormatOption


def verify(
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Check a book against itself.

    Every entry is replayed: sequence, chain of hashes, running balances; wallets, holds, lots and
    budget windows must be what follows from them. Exits with 9 if something is not.
    """
    from ledger.cli.output import emit_json, print_csv, print_table, print_text
    from ledger.documents import verification_document
    from ledger.errors import VerificationFailed

    with open_ledger(db, book) as ledger:
        result = ledger.verify()
    document = verification_document(book, result)
    header = ["kind", "wallet", "row", "problem"]
    rows = [[item.kind, item.wallet, item.row, item.problem] for item in result.findings]
    if format_ is Format.JSON:
        emit_json("verification", document)
    elif format_ is Format.CSV:
        print_csv(header, rows)
    elif rows:
        print_table(header, rows, title=f"Findings in book {book}")
    else:
        print_text(
            f"book {book}: {many(result.wallets, 'wallet')},"
            f" {many(result.entries, 'entry', 'entries')} replayed;"
            " all hashes, balances, holds, lots and budget windows agree"
        )
    if result.findings:
        raise VerificationFailed(result.findings)
