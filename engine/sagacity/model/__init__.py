"""The words of Sagacity as frozen records and closed unions; no behaviour beyond what a value knows of itself."""
