"""What a person sees while a suite runs: what is known of it, how that is drawn, and where."""
