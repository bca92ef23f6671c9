"""The results of a study for people: answer, leaderboard, verdict, importance, the numbers behind the figures, and trackers."""
