"""What this machine can do: rates of the operations that training is made of, repeated until their spread is known."""
