"""What the factors of a suite do: effects beside a base, and main effects and interactions of a crossed design."""
