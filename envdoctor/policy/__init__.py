"""What a machine is held to: a policy that somebody wrote, or that was recorded as a lock."""
