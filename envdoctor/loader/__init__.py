"""What the dynamic loader will do, worked out from files alone: nothing is loaded or executed."""
