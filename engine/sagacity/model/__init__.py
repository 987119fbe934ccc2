"""The words of Sagacity as frozen records and closed unions: what a value knows of itself, and no more."""
