"""What runs in the target interpreter: Python 3.8 or later with torch 1.13 or later, no more."""
