"""What an auditor runs: verifying, auditing and replaying, from the bytes held here."""
