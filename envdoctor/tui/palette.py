"""What the command palette offers: every action, with a line on what it does."""

PALETTE = (
    ("Re-run", "look at everything again", "app.rerun"),
    ("Re-check", "look again at what one check needs", "screen.rerun_check"),
    ("Watch", "look again whenever the environment changes, or stop it", "app.watch"),
    ("Copy fix", "put the commands of a fix on the clipboard", "screen.copy"),
    ("Search", "search in the list of this tab", "screen.filter"),
    ("Measure", "training speed of this machine", "app.measure"),
    ("Stop", "end the calibration; what was measured is kept", "app.stop"),
    ("Target", "examine another interpreter", "app.target"),
    ("Save", "JSON, Markdown, facts or a screenshot", "app.save"),
    ("Open", "a saved report or facts file", "app.open"),
    ("Dark or light", "change the colours", "app.dark"),
    ("Keys", "all keys on one page", "app.help"),
    ("Quit", "leave envdoctor", "app.quit"),
)
"""Title, help and action."""

TAB_HELP = {
    "overview": "verdict, root cause, and the chain from the GPU to PyTorch",
    "findings": "all findings, checks and probes",
    "libraries": "which file is loaded for each library, and why",
    "calibration": "training speed as measured here",
    "what-if": "what other GPUs would bring",
    "targets": "all targets of this session side by side",
}
