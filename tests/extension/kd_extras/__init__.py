"""Components of one's own for autodistill."""
