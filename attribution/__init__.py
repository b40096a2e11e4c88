"""What each contribution is worth: games, values with intervals, records and the report."""
