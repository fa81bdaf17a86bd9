"""The doctor for agents: a server of the Model Context Protocol. Each call is a run of the program.

So what a call says is what the command says, filtered on the same one way out, bounded by the same
`--timeout`, and nothing of one call is left for the next.
"""
