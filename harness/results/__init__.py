"""From records to what is known of configs: runs that count, compared by `harness.statistics`."""
