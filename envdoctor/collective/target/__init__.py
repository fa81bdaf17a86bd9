"""What runs in the target interpreter: a node of the job, and its ranks."""
