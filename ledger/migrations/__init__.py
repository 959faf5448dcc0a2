"""How the tables of a book came to be, one revision a file; `ledger.store.schema` runs them."""
