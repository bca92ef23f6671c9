"""What autodistill reads: every file here."""
