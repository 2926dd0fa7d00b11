"""Pictures, videos and progress bars."""
