"""The built-in plugin: the probes and checks that ship with envdoctor, found like any other."""
