"""What a study came to, for people: the leaderboard, and the page."""
