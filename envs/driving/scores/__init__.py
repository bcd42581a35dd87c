"""What a drive is worth: CaRL's reward, the leaderboard's score, comfort."""
