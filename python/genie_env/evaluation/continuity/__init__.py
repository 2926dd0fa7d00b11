"""What a world keeps of what it was shown: errors, labelled objects and drift by age of its dreams."""
