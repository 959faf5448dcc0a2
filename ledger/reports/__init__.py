"""Questions to a book, answered in rows: usage, variance, budgets, balances, and the month's pack.

Needs the extra `data`.
"""
