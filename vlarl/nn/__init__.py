"""Network parts that several policies share."""
