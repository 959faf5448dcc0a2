"""Files for other programs: spreadsheets, accounting, cost management, data frames."""
