"""What the user wants torch to do here, and whether it does. Pure.

Outcomes decide, findings explain: what was seen to work is not broken, what was seen to fail is
never healthy, and what nobody looked at is neither.
"""

from envdoctor.outcomes.record import IMPORT_TORCH, Outcome, in_words
from envdoctor.outcomes.seen import outcomes_of
from envdoctor.outcomes.wanted import wanted_gpu

__all__ = ["IMPORT_TORCH", "Outcome", "in_words", "outcomes_of", "wanted_gpu"]
