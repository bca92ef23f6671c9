"""Recorded studies, as `autodistill studies add` writes them: one folder each."""
