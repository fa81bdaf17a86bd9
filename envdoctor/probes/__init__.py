"""What is run or read on the machine; every module observes one kind of thing."""
